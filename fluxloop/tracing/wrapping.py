"""
Wrap a function so that each call is recorded: four call shapes, one recording path.

The start and the end of a call are the same for all shapes, see `fluxloop.tracing.calls`; a shape only decides when
the function's own code runs. One frame of FluxLoop's stays on the stack while it does.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial, wraps
from threading import get_ident
from types import FunctionType
from typing import Any, ParamSpec, TypeVar, cast
from weakref import WeakKeyDictionary

from . import threads
from .calls import Spec, answers, begin, end_interrupted, to_run
from .node import Node
from .propagation import _current, current, needs_lookup
from .streams import Followed, drive_async_generator, drive_generator

P = ParamSpec("P")
R = TypeVar("R")


def recorded(func: Callable[P, R], spec: Spec) -> Callable[P, R]:
    """Return *func* with every call recorded: same shape, same signature, same behaviour."""
    wrapper: Any
    # Looked up once: what an unrecorded call needs, the most frequent kind.
    get, opens_trace, switch = _current.get, spec.opens_trace, spec.tracer.switch
    if inspect.isasyncgenfunction(func):
        wrapper = _creating(drive_async_generator, func, spec, inspect.CO_ASYNC_GENERATOR)

    elif inspect.isgeneratorfunction(func):
        wrapper = _creating(drive_generator, func, spec, inspect.CO_GENERATOR)

    elif inspect.iscoroutinefunction(func):

        async def wrapper(*args: P.args, **kwargs: P.kwargs) -> Any:
            before = get()
            if before is None and not (needs_lookup or (opens_trace and switch.on)):
                if get_ident() != threads.main_thread:
                    threads.report_untraced(spec)
                return await func(*args, **kwargs)
            call = None
            try:
                call = begin(spec, args, kwargs, before, is_entered=True)
                if call is None:
                    return await func(*args, **kwargs)
                return call.returned(await (to_run(call, func) if answers else func)(*args, **kwargs))
            except BaseException as exc:
                end_interrupted(call, before, exc)
                raise

    else:

        def wrapper(*args: P.args, **kwargs: P.kwargs) -> Any:
            before = get()
            if before is None and not (needs_lookup or (opens_trace and switch.on)):
                if get_ident() != threads.main_thread:
                    threads.report_untraced(spec)
                return func(*args, **kwargs)
            call = None
            try:
                call = begin(spec, args, kwargs, before, is_entered=True)
                if call is None:
                    return func(*args, **kwargs)
                return call.returned((to_run(call, func) if answers else func)(*args, **kwargs))
            except BaseException as exc:
                end_interrupted(call, before, exc)
                raise

    wraps(func)(wrapper)
    if func in _ours or hasattr(func, "__wrapped__"):  # LangGraph looks through exactly one __wrapped__
        wrapper.__wrapped__ = inspect.unwrap(func)
    _ours[wrapper] = spec
    return cast("Callable[P, R]", wrapper)


def _creating(drive: Callable[..., Any], func: Callable[..., Any], spec: Spec, flag: int) -> Any:
    """
    Return a function that makes a generator driven by *drive*, and counts as a generator function itself.

    The code of a real generator function does not run when it is called, and the parent of a stream is the
    observation that is current then: a web framework, for example, reads a stream after its handler has returned.
    So this is a plain function that bears the flag of a generator function, by which `inspect` knows one. The flag
    has no effect on how a function runs: since Python 3.11 an instruction of its own makes the generator.
    """

    def wrapper(*args: Any, **kwargs: Any) -> Any:
        here = current()
        made = drive(None, partial(_start, func, spec, args, kwargs, here))
        made.__name__, made.__qualname__ = func.__name__, func.__qualname__
        return made

    code = wrapper.__code__.replace(co_flags=wrapper.__code__.co_flags | flag)
    return FunctionType(code, wrapper.__globals__, closure=wrapper.__closure__)


def _start(
    func: Callable[..., Any], spec: Spec, args: tuple[Any, ...], kwargs: dict[str, Any], here: Node | None
) -> tuple[Followed, Any]:
    """Begin the observation of a generator whose first item is asked for, under the node it was created under."""
    call = begin(spec, args, kwargs, here)
    try:
        return call or UNRECORDED, (to_run(call, func) if answers else func)(*args, **kwargs)
    except BaseException as exc:
        if call is not None:
            call.raised(exc)
        raise


def is_function(target: object) -> bool:
    """Whether *target* is a function of any kind, and not an object that a framework's class made of one."""
    if isinstance(target, partial):
        return True
    # An object made to be a class attribute binds as a function does, and is a routine by the rules of inspect.
    binds = getattr(type(target), "__get__", None)
    return inspect.isroutine(target) and not isinstance(binds, FunctionType)


_ours: WeakKeyDictionary[Callable[..., Any], Spec] = WeakKeyDictionary()
"""The wrappers made here; an attribute would be copied by `functools.wraps` to wrappers that are not."""


def spec_of(func: object) -> Spec | None:
    """Return how *func*, or what it wraps, is recorded; None where it is not."""
    while func is not None:
        spec = _ours.get(func) if isinstance(func, FunctionType) else None
        if spec is not None:
            return spec
        func = getattr(func, "__wrapped__", None)
    return None


class UnrecordedStream:
    """A stream that is not recorded, see `fluxloop.tracing.streams.Followed`."""

    def resume(self) -> None:
        """Nothing becomes current."""

    def pause(self) -> None:
        """Nothing was made current."""

    def on_item(self, item: Any) -> Any:
        """Return *item*."""
        return item

    def exhausted(self, value: Any, closed: bool = False) -> Any:
        """Return *value*."""
        return value

    def failed(self, exc: BaseException) -> None:
        """Nothing to end."""

    def raised(self, exc: BaseException) -> None:
        """Nothing to end."""

    def succeeded(self, value: Any) -> None:
        """Nothing to end."""

    def dropped(self) -> None:
        """Nothing to end."""


UNRECORDED = UnrecordedStream()
