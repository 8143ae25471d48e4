"""
Decide whether a TOOL that starts inside a framework's tool event is the call of that event, or a call of a helper.

The event is the current observation in both cases. It is the same call if the framework's function of the tool is the
recorded function, or calls it through decorators. If that function is unknown, names and frames decide.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from functools import partial
from inspect import CO_VARARGS, CO_VARKEYWORDS, unwrap
from sys import _getframe
from types import CodeType, FrameType, FunctionType, MethodType
from typing import Any, NamedTuple

from ..enums import Status
from .recorder import NOTHING

_THREAD_PACKAGES = frozenset({"anyio", "asyncio", "concurrent", "threading"})
"""Packages at the bottom of the stack of a thread or task. The caller is not visible there."""

MAX_LAYERS = 50
"""The limit of functions examined per tool, far above the usual number of decorators."""


class ToolMatcher(NamedTuple):
    """Identifies the tool of a framework's tool event."""

    names: Callable[[], Collection[str]]
    """Returns the names of the tool and of its function."""
    packages: frozenset[str] = frozenset()
    """The top-level packages of the framework that call the tool. If empty, the first TOOL inside the event matches."""
    functions: Callable[[], Collection[object]] = tuple
    """Returns the functions that the framework may call for the tool; empty if they are unknown."""

    def matches(self, names: tuple[str, ...], func: object = None) -> bool:
        """
        Return whether the TOOL that the calling frames start is the call of this event.

        Args:
            names: The names of the TOOL's function and of its observation.
            func: The recorded function; None for a TOOL that the function pushes with manual instrumentation.
        """
        if not self.packages:
            return True
        caller = _outside(_getframe(1))
        if layers := [*_layers(self.functions())]:
            if func is not None:
                innermost = unwrap(func)  # type: ignore[arg-type]
                return any(layer is innermost for layer in layers)
            return caller is not None and any(_code_of(layer) is caller.f_code for layer in layers)
        if func is None and caller is not None:
            names = (*names, caller.f_code.co_name)
            caller = _outside(caller.f_back)
        package = _package(caller) if caller is not None else "threading"
        if package in self.packages:
            return True
        if package not in _THREAD_PACKAGES:
            return False
        known = self.names()
        return any(name.rpartition(".")[2] in known for name in names)


def _layers(functions: Collection[object]) -> Iterator[Any]:
    """Yield *functions* and what they wrap: decorated functions, partials, methods, and callable objects."""
    found: dict[int, object] = {}
    waiting = [*functions]
    while waiting and len(found) < MAX_LAYERS:
        layer = waiting.pop(0)
        if id(layer) not in found:
            found[id(layer)] = layer
            yield layer
            waiting += _wrapped_by(layer)


def _wrapped_by(layer: Any) -> list[Any]:
    if isinstance(layer, partial):
        return [layer.func]
    if isinstance(layer, MethodType):
        return [layer.__func__]
    held = vars(layer) if hasattr(layer, "__dict__") else {}
    if "__wrapped__" in held:
        return [held["__wrapped__"]]
    if not isinstance(layer, FunctionType):
        # A callable object has the function in an attribute, such as one that retries, or in its class.
        return [
            item
            for item in (*held.values(), type(layer).__call__)
            if isinstance(item, FunctionType | MethodType | partial)
        ]
    if layer.__code__.co_flags & CO_VARARGS and layer.__code__.co_flags & CO_VARKEYWORDS:
        # The wrapper of a decorator without functools.wraps accepts any arguments, and has the function in its closure.
        return [item for cell in layer.__closure__ or () if callable(item := _content(cell))]
    return []


def _content(cell: Any) -> object:
    try:
        return cell.cell_contents
    except ValueError:  # still empty
        return None


def _code_of(layer: Any) -> CodeType | None:
    return layer.__code__ if isinstance(layer, FunctionType) else None


def _outside(frame: FrameType | None) -> FrameType | None:
    """Return the first frame from *frame* outwards that is not one of FluxLoop's."""
    while frame is not None and _package(frame).startswith("fluxloop"):
        frame = frame.f_back
    return frame


def _package(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", "")).partition(".")[0]


SUPPRESSED = object()
"""Marks the output of a claimed result as not to be recorded, even if the framework's event has an output."""

ClaimedResult = tuple[Status, object, str | None]
"""The status, output and error of a call, as the instrumented function observed them."""


def merged(claimed: ClaimedResult, status: Status, output: object, error: str | None) -> ClaimedResult:
    """
    Return the result of a framework's observation whose call was matched to an instrumented function.

    The result of the function is preferred: the framework may report only a text made of the value or the exception.
    A failure after the function returned is reported by the framework only.
    """
    inner_status, inner_output, inner_error = claimed
    result = inner_output if inner_output is not NOTHING else output
    if result is SUPPRESSED:
        result = NOTHING
    if inner_status is Status.SUCCESS and status is not Status.SUCCESS:
        return status, result, error
    return inner_status, result, inner_error
