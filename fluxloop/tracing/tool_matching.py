"""
Match the TOOL that begins inside a framework's tool event with the event: is it the same call, or a helper's?

The event is the current observation in both cases. The tool's function, which the framework knows, decides: it is the
recorded function itself, or calls it through decorators. Where the function is unknown, names and frames decide.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from functools import partial
from inspect import CO_VARARGS, CO_VARKEYWORDS, unwrap
from sys import _getframe
from types import CodeType, FrameType, FunctionType, MethodType
from typing import Any, NamedTuple

_THREAD_PACKAGES = frozenset({"anyio", "asyncio", "concurrent", "threading"})
"""Packages at the bottom of the stack of a thread or task, where the caller is not visible."""

MAX_LAYERS = 50
"""Functions examined per tool: far more than a tool has decorators."""


class ToolMatcher(NamedTuple):
    """The facts an adapter has about the tool of an event."""

    names: Callable[[], Collection[str]]
    """Returns the names of the tool and of its function."""
    packages: frozenset[str] = frozenset()
    """The framework's top-level packages, which call the tool. If empty, the first TOOL inside the event matches."""
    functions: Callable[[], Collection[object]] = tuple
    """Returns the functions that the framework may call for the tool; empty if they are unknown."""

    def matches(self, names: tuple[str, ...], func: object = None) -> bool:
        """
        Whether the TOOL that begins in the calling frames is the call of this event.

        Args:
            names: The names of the TOOL: of its function, of its observation.
            func: The function whose call the TOOL is; None for a TOOL that is pushed by hand, which is recorded by
                the function that pushes it.
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
        # An object that is called like a function has it in an attribute, as a retrying one, or in its class.
        return [
            item
            for item in (*held.values(), type(layer).__call__)
            if isinstance(item, FunctionType | MethodType | partial)
        ]
    if layer.__code__.co_flags & CO_VARARGS and layer.__code__.co_flags & CO_VARKEYWORDS:
        # A decorator without functools.wraps: it passes on any arguments, and has the function in a closure.
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
    """Return the first frame from *frame* outwards that is not in FluxLoop."""
    while frame is not None and _package(frame).startswith("fluxloop"):
        frame = frame.f_back
    return frame


def _package(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", "")).partition(".")[0]
