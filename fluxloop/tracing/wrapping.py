"""
Wrap functions of the four call shapes, so that each call is recorded.

The start and the end of a call are the same for all shapes, see `fluxloop.tracing.calls`. The shape decides when the
code of the function runs. Meanwhile one frame of FluxLoop is on the stack.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial, wraps
from threading import get_ident
from types import FunctionType
from typing import Any, ParamSpec, TypeVar, cast
from weakref import ref

from . import threads
from .calls import begin, end_interrupted, intercepted, interceptors
from .generators import Followed, drive_async_generator, drive_generator, is_awaitable
from .node import Node
from .propagation import _current, current, needs_lookup, open_traces, reasons
from .spec import Spec

P = ParamSpec("P")
R = TypeVar("R")


_ALWAYS = (True,)
"""In place of `reasons`, for a function that opens traces."""


def recorded(func: Callable[P, R], spec: Spec) -> Callable[P, R]:
    """Return *func* with each call recorded, and the same call shape, signature and behaviour."""
    wrapper: Any
    # Looked up once, because unrecorded calls are the most frequent ones.
    get, opens_trace, switch = _current.get, spec.opens_trace, spec.tracer.switch
    may_record = _ALWAYS if opens_trace else reasons
    if inspect.isasyncgenfunction(func):
        wrapper = _stream_wrapper(drive_async_generator, func, spec, inspect.CO_ASYNC_GENERATOR)

    elif inspect.isgeneratorfunction(func) and not is_awaitable(getattr(func, "__code__", None)):
        wrapper = _stream_wrapper(drive_generator, func, spec, inspect.CO_GENERATOR)

    elif inspect.iscoroutinefunction(func):

        async def wrapper(*args: P.args, **kwargs: P.kwargs) -> Any:
            if not may_record:
                return await (func(*args, **kwargs) if kwargs else func(*args))  # type: ignore[call-arg]
            before = get()
            if before is None and not (needs_lookup or (opens_trace and switch.on)):
                if open_traces and get_ident() != threads.main_thread:
                    threads.report_untraced(spec.tracer, spec.name)
                return await (func(*args, **kwargs) if kwargs else func(*args))  # type: ignore[call-arg]
            call = None
            try:
                call = begin(spec, args, kwargs, before, True)
                if call is None:
                    return await func(*args, **kwargs)
                run = intercepted(call, func) if interceptors else func
                return call.returned(await (run(*args, **kwargs) if kwargs else run(*args)))  # type: ignore[call-arg]
            except BaseException as exc:
                end_interrupted(call, before, exc)
                raise

    else:

        def wrapper(*args: P.args, **kwargs: P.kwargs) -> Any:
            if not may_record:
                # Passing an empty dict would copy it.
                return func(*args, **kwargs) if kwargs else func(*args)  # type: ignore[call-arg]
            before = get()
            if before is None and not (needs_lookup or (opens_trace and switch.on)):
                if open_traces and get_ident() != threads.main_thread:
                    threads.report_untraced(spec.tracer, spec.name)
                return func(*args, **kwargs) if kwargs else func(*args)  # type: ignore[call-arg]
            call = None
            try:
                call = begin(spec, args, kwargs, before, True)
                if call is None:
                    return func(*args, **kwargs)
                run = intercepted(call, func) if interceptors else func
                return call.returned(run(*args, **kwargs) if kwargs else run(*args))  # type: ignore[call-arg]
            except BaseException as exc:
                end_interrupted(call, before, exc)
                raise

        if inspect.isgeneratorfunction(func):  # that can be awaited
            wrapper = _flagged(wrapper, inspect.CO_GENERATOR | inspect.CO_ITERABLE_COROUTINE)

    return cast("Callable[P, R]", _named_as(func, wrapper, spec))


def _named_as(func: Callable[..., Any], wrapper: Any, spec: Spec) -> Any:
    """Return *wrapper* with the name and signature of *func*, and known as the wrapper of *spec*."""
    wraps(func)(wrapper)
    if _own_spec(func) is not None or hasattr(func, "__wrapped__"):  # LangGraph looks through exactly one __wrapped__
        wrapper.__wrapped__ = inspect.unwrap(func)
    _specs[ref(wrapper, _specs.pop)] = spec
    return wrapper


def _stream_wrapper(drive: Callable[..., Any], func: Callable[..., Any], spec: Spec, flag: int) -> Any:
    """
    Return a plain function that creates generators driven by *drive*. For `inspect`, it is a generator function.

    The parent of a stream is the observation that is current when the stream is created: a web framework, for example,
    reads a stream after its handler has returned. A real generator function runs no code when it is called, so it
    cannot find that parent. Setting the flag of a generator function changes only the result of `inspect`: since Python
    3.11, an instruction creates the generator.
    """

    def wrapper(*args: Any, **kwargs: Any) -> Any:
        here = current()
        generator = drive(None, partial(_start, func, spec, args, kwargs, here))
        generator.__name__, generator.__qualname__ = func.__name__, func.__qualname__
        return generator

    return _flagged(wrapper, flag)


def _flagged(wrapper: Any, flag: int) -> Any:
    """Return *wrapper* with the flags of a generator function."""
    code = wrapper.__code__.replace(co_flags=wrapper.__code__.co_flags | flag)
    return FunctionType(code, wrapper.__globals__, closure=wrapper.__closure__)


def _start(
    func: Callable[..., Any], spec: Spec, args: tuple[Any, ...], kwargs: dict[str, Any], here: Node | None
) -> tuple[Followed, Any]:
    """Create the generator and start its observation, as a child of *here*, when the first item is requested."""
    call = begin(spec, args, kwargs, here)
    try:
        return call or UNRECORDED, (intercepted(call, func) if interceptors else func)(*args, **kwargs)
    except BaseException as exc:
        if call is not None:
            call.raised(exc)
        raise


def is_function(target: object) -> bool:
    """Return whether *target* is a function of any kind, and not a framework's object that contains one."""
    if isinstance(target, partial):
        return True
    # For `inspect`, an object with `__get__` is a routine. Exclude objects whose `__get__` is written in Python.
    binds = getattr(type(target), "__get__", None)
    return inspect.isroutine(target) and not isinstance(binds, FunctionType)


_specs: dict[object, Spec] = {}
"""
The specs of all wrappers, by weak references. Not an attribute, because `functools.wraps` would copy it to other
wrappers; not a `WeakKeyDictionary`, whose callback in Python would lose the exception of a signal handler.
"""


def _own_spec(func: object) -> Spec | None:
    return _specs.get(ref(func)) if isinstance(func, FunctionType) else None


def spec_of(func: object) -> Spec | None:
    """Return the spec of *func*, or of the function that it wraps; None if neither is recorded."""
    while func is not None:
        spec = _own_spec(func)
        if spec is not None:
            return spec
        func = getattr(func, "__wrapped__", None)
    return None


class UnrecordedStream:
    """Implements `fluxloop.tracing.generators.Followed` for a stream that is not recorded."""

    def resume(self) -> None:
        """Do nothing."""

    def pause(self) -> None:
        """Do nothing."""

    def on_item(self, item: Any) -> Any:
        """Return *item*."""
        return item

    def exhausted(self, value: Any, closed: bool = False) -> Any:
        """Return *value*."""
        return value

    def failed(self, exc: BaseException) -> None:
        """Do nothing."""

    def raised(self, exc: BaseException) -> None:
        """Do nothing."""

    def succeeded(self, value: Any) -> None:
        """Do nothing."""

    def dropped(self) -> None:
        """Do nothing."""


UNRECORDED = UnrecordedStream()
