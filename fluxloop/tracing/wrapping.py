"""
Wrap a function so that each call is recorded: four call shapes, one recording path.

The start and the end of a call are the same for all shapes, see `fluxloop.tracing.calls`; a shape only decides when
the function's own code runs.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial, wraps
from types import FunctionType
from typing import Any, ParamSpec, TypeVar, cast
from weakref import WeakKeyDictionary

from .calls import Spec, begin
from .propagation import _current, needs_lookup
from .streams import Streaming, drive_async_generator, drive_generator

P = ParamSpec("P")
R = TypeVar("R")


def recorded(func: Callable[P, R], spec: Spec) -> Callable[P, R]:
    """Return *func* with every call recorded: same shape, same signature, same behaviour."""
    wrapper: Any
    # What the commonest call of all needs, the one of which nothing is recorded.
    get, put, opens_trace, switch = _current.get, _current.set, spec.opens_trace, spec.client.switch
    if inspect.isasyncgenfunction(func):
        wrapper = drive_async_generator(_stream_opener(func, spec))

    elif inspect.isgeneratorfunction(func):
        wrapper = drive_generator(_stream_opener(func, spec))

    elif inspect.iscoroutinefunction(func):

        async def wrapper(*args: P.args, **kwargs: P.kwargs) -> Any:
            before = get()
            if before is None and not (needs_lookup or (opens_trace and switch.on)):
                return await func(*args, **kwargs)
            call = begin(spec, args, kwargs, before)
            if call is None:
                return await func(*args, **kwargs)
            call.previous = before
            put(call)
            try:
                value = await func(*args, **kwargs)
            except BaseException as exc:
                call.raised(exc)
                raise
            return call.returned(value)

    else:

        def wrapper(*args: P.args, **kwargs: P.kwargs) -> Any:
            before = get()
            if before is None and not (needs_lookup or (opens_trace and switch.on)):
                return func(*args, **kwargs)
            call = begin(spec, args, kwargs, before)
            if call is None:
                return func(*args, **kwargs)
            call.previous = before
            put(call)
            try:
                value = func(*args, **kwargs)
            except BaseException as exc:
                call.raised(exc)
                raise
            return call.returned(value)

    wraps(func)(wrapper)
    if func in _ours:  # frameworks look through one __wrapped__ only
        wrapper.__wrapped__ = inspect.unwrap(func)
    _ours[wrapper] = spec
    return cast("Callable[P, R]", wrapper)


def is_function(target: object) -> bool:
    """Whether *target* is a function of any kind, and no object that a class of a framework's made of one."""
    if isinstance(target, partial):
        return True
    # An object made to stand in a class binds as a function does, and is a routine in the eyes of inspect.
    binds = getattr(type(target), "__get__", None)
    return inspect.isroutine(target) and not isinstance(binds, FunctionType)


_ours: WeakKeyDictionary[Callable[..., Any], Spec] = WeakKeyDictionary()
"""The wrappers made here, which `functools.wraps` would let others pass for."""


def spec_of(func: object) -> Spec | None:
    """Return how *func*, or what it wraps, is recorded; None where it is not."""
    while func is not None:
        spec = _ours.get(func) if isinstance(func, FunctionType) else None
        if spec is not None:
            return spec
        func = getattr(func, "__wrapped__", None)
    return None


class Silent:
    """A stream that is not recorded, see `fluxloop.tracing.streams.Streaming`."""

    def resume(self) -> None:
        """Nothing is current on its account."""

    def pause(self) -> None:
        """Nothing was current on its account."""

    def on_item(self, item: Any) -> Any:
        """Return *item*."""
        return item

    def exhausted(self, value: Any, closed: bool = False) -> Any:
        """Return *value*."""
        return value

    def failed(self, exc: BaseException) -> None:
        """Nothing to end."""


SILENT = Silent()


def _stream_opener(func: Callable[..., Any], spec: Spec) -> Callable[..., tuple[Streaming, Any]]:
    def open_(*args: Any, **kwargs: Any) -> tuple[Streaming, Any]:
        body = func(*args, **kwargs)
        return begin(spec, args, kwargs) or SILENT, body

    return open_
