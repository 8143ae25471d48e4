"""
Record streams and futures: results that continue after the function returned.

`drive_generator` and `drive_async_generator` run a generator for its consumer, with the same items, sends, throws and
closes. `follow` attaches an observation to a returned stream, coroutine or future, and ends the observation with it.
Streams of SDKs and futures are not replaced by other objects.
"""

from __future__ import annotations

import concurrent.futures
import sys
import weakref
from collections.abc import AsyncGenerator, Callable, Coroutine
from functools import partial
from operator import attrgetter
from types import AsyncGeneratorType, CoroutineType, GeneratorType
from typing import Any, Protocol

from ..encoding.introspection import attribute
from ..llm.sdk_streams import stream_kind

PLAIN = frozenset({str, int, float, bool, type(None), dict, list, tuple, bytes, set, frozenset})
"""Common return types that are not streams, for a fast check."""


class Followed(Protocol):
    """The recording of a stream, which receives its events. The methods never raise."""

    def resume(self) -> None:
        """Make the observation current, before the code of the stream runs."""

    def pause(self) -> None:
        """Restore the current node of the consumer."""

    def on_item(self, item: Any) -> Any:
        """Record *item* and return it."""

    def exhausted(self, value: Any, closed: bool = False) -> Any:
        """End the observation: the stream returned *value*, perhaps after it was *closed*. Return *value*."""

    def failed(self, exc: BaseException) -> None:
        """End the observation with the outcome of *exc*."""

    def raised(self, exc: BaseException) -> None:
        """Restore the current node of the consumer, then end the observation: the code of the stream raised *exc*."""

    def succeeded(self, value: Any) -> None:
        """End the observation with the result *value*."""

    def dropped(self) -> None:
        """End the observation: the stream was garbage-collected."""


Opened = tuple["Followed", Any]
"""The recording of a stream, and its generator."""


def drive_generator(
    call: Followed | None,
    start: Callable[[], Opened] | None = None,
    body: Any = None,
    *,
    is_exiting: Callable[[], bool] = sys.is_finalizing,
) -> Any:
    """
    Run a generator for its consumer, and record it.

    Args:
        call: The recording, if it has started.
        start: Starts the recording and the generator when the first item is requested; replaces *call* and *body*.
        body: The generator, if it exists already.
        is_exiting: Whether the interpreter exits, which closes generators that were left open. Nothing is recorded
            then, because the contents of modules may be gone; a default argument is not.
    """
    if start is not None:
        call, body = start()
    assert call is not None
    send = body.send
    sent = thrown = None
    closed = False
    try:
        while True:
            call.resume()
            try:
                item = send(sent) if thrown is None else body.throw(thrown)
            except StopIteration as stop:
                call.pause()
                return call.exhausted(stop.value, closed)
            call.pause()
            item = call.on_item(item)
            thrown = None
            try:
                sent = yield item
            except BaseException as exc:
                if is_exiting():
                    body.close()
                    raise
                # A close is thrown in like any exception. If the body yields another item then, this generator yields
                # it too, and the interpreter raises the same RuntimeError as for the body.
                closed = isinstance(exc, GeneratorExit)
                thrown = exc
            else:
                closed = False
    except BaseException as exc:
        thrown = None  # breaks a reference cycle: it may reference exc, whose traceback references this frame
        if not is_exiting():
            call.raised(exc)
        raise


async def drive_async_generator(
    call: Followed | None,
    start: Callable[[], Opened] | None = None,
    body: Any = None,
    *,
    is_exiting: Callable[[], bool] = sys.is_finalizing,
) -> AsyncGenerator[Any, Any]:
    """Do as `drive_generator`, for async generators."""
    if start is not None:
        call, body = start()
    assert call is not None
    sent = thrown = None
    closed = False
    try:
        while True:
            call.resume()
            try:
                item = await (body.asend(sent) if thrown is None else body.athrow(thrown))
            except StopAsyncIteration:
                call.pause()
                call.exhausted(None, closed)
                return
            call.pause()
            if item is None and body.ag_frame is None:
                # The event loop closed it during shutdown. A throw into a closed async generator returns None.
                call.exhausted(None, closed)
                return
            item = call.on_item(item)
            thrown = None
            try:
                sent = yield item
            except BaseException as exc:
                if is_exiting():
                    raise  # no event loop runs that could close the body
                closed = isinstance(exc, GeneratorExit)
                thrown = exc
            else:
                closed = False
    except BaseException as exc:
        thrown = None
        if not is_exiting():
            call.raised(exc)
        raise


async def _await(call: Followed, body: Coroutine[Any, Any, Any]) -> Any:
    """Await a coroutine that a plain function returned, and end *call* with its result."""
    try:
        call.resume()
        value = await body
        call.pause()
        return call.exhausted(value)
    except BaseException as exc:
        call.raised(exc)
        raise


def is_followed(value: object) -> bool:
    """
    Return whether *value* is a stream or future that `follow` supports.

    These are generators, async generators, coroutines, futures, and the stream classes of SDKs (see
    `fluxloop.llm.sdk_streams`). Other iterators, such as files, cursors, mocks and proxies, are recorded as plain
    values: wrapping would break their other uses.
    """
    cls = type(value)  # not isinstance: ``__class__`` may be a property
    return issubclass(cls, _FOLLOWED_TYPES) or _is_asyncio_future(cls) or stream_kind(cls) is not None


_FOLLOWED_TYPES = (GeneratorType, AsyncGeneratorType, CoroutineType, concurrent.futures.Future)


def follow(call: Followed, value: Any) -> Any:
    """
    Let *call* end with *value*, and return the object to use in place of *value*.

    A generator is replaced by a generator, and a coroutine by a coroutine, because they cannot be observed from
    outside. All other objects are returned unchanged.
    """
    result = value
    if isinstance(value, GeneratorType):
        result = drive_generator(call, body=value)
    elif isinstance(value, AsyncGeneratorType):
        result = drive_async_generator(call, body=value)
    elif isinstance(value, CoroutineType):
        result = _await(call, value)
    elif isinstance(value, concurrent.futures.Future) or _is_asyncio_future(type(value)):
        _follow_future(call, value)
    elif not _attach(call, value, is_manager=stream_kind(type(value)) == "manager"):
        call.succeeded(value)
        return value
    if result is not value:
        result.__name__, result.__qualname__ = value.__name__, value.__qualname__
    # A stream that is never started runs no code, not even when it is garbage-collected.
    weakref.finalize(result, call.dropped).atexit = False
    return result


def _is_asyncio_future(cls: type) -> bool:
    if "asyncio" not in sys.modules:
        return False
    if type(cls) is type:
        return getattr(cls, _FUTURE_MARK, None) is not None
    return attribute(cls, _FUTURE_MARK) is not None  # which runs no code of its metaclass


_FUTURE_MARK = "_asyncio_future_blocking"
"""The attribute by which asyncio itself recognises futures."""


def _follow_future(call: Followed, future: Any) -> None:
    if future.done():
        _end_with_future(call, future)
    else:
        future.add_done_callback(partial(_end_with_future, call))


def _end_with_future(call: Followed, future: Any) -> None:
    # Do not call `exception()`: asyncio would then consider the failure as retrieved, and not log it.
    exc = getattr(future, "_exception", None)
    if exc is not None:
        call.failed(exc)
        return
    try:
        call.succeeded(future.result())
    except BaseException as failure:
        call.failed(failure)


def _attach(call: Followed, stream: Any, *, is_manager: bool) -> bool:
    """
    Make *stream* report to *call*, by changing its class to a subclass.

    Returns:
        Whether the class could be changed.
    """
    cls = type(stream)
    try:
        subclass = _classes.get(cls)
        if subclass is None:
            subclass = _classes[cls] = _manager_class(cls) if is_manager else _stream_class(cls)
        stream.__class__ = subclass
        setattr(stream, _attribute(cls), call)
    except TypeError:  # a class with slots, or one that cannot be subclassed
        return False
    return True


_classes: weakref.WeakKeyDictionary[type, type] = weakref.WeakKeyDictionary()


def _attribute(cls: type) -> str:
    """Return where the subclass of *cls* finds its call; a stream that several functions return has several."""
    return f"_fluxloop_call_{len(cls.__mro__)}"


def _stream_class(cls: type) -> type:
    """Return a subclass of *cls* whose instances report their items. It overrides only methods that *cls* has."""
    base: Any = cls
    call_of = attrgetter(_attribute(cls))

    def iter_(self: Any) -> Any:
        return self

    def next_(self: Any) -> Any:
        call = call_of(self)
        call.resume()
        try:
            item = base.__next__(self)
        except StopIteration:
            call.pause()
            call.exhausted(None)
            raise
        except BaseException as exc:
            call.raised(exc)
            raise
        call.pause()
        return call.on_item(item)

    async def anext_(self: Any) -> Any:
        call = call_of(self)
        call.resume()
        try:
            item = await base.__anext__(self)
        except StopAsyncIteration:
            call.pause()
            call.exhausted(None)
            raise
        except BaseException as exc:
            call.raised(exc)
            raise
        call.pause()
        return call.on_item(item)

    def close(self: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            return base.close(self, *args, **kwargs)
        finally:
            call_of(self).failed(GeneratorExit())

    methods = {
        "__iter__": iter_,
        "__aiter__": iter_,
        "__next__": next_,
        "__anext__": anext_,
        "close": close,
    }
    return _subclass(cls, methods | _exits(cls))


def _manager_class(cls: type) -> type:
    """Return a subclass of *cls* whose instances follow the stream that entering them returns."""
    base: Any = cls
    call_of = attrgetter(_attribute(cls))

    def enter_(self: Any) -> Any:
        stream = base.__enter__(self)
        _attach(call_of(self), stream, is_manager=False)
        return stream

    async def aenter_(self: Any) -> Any:
        stream = await base.__aenter__(self)
        _attach(call_of(self), stream, is_manager=False)
        return stream

    return _subclass(cls, {"__enter__": enter_, "__aenter__": aenter_} | _exits(cls))


def _exits(cls: type) -> dict[str, Callable[..., Any]]:
    base: Any = cls
    call_of = attrgetter(_attribute(cls))

    def exit_(self: Any, *exc_info: Any) -> Any:
        try:
            return base.__exit__(self, *exc_info)
        finally:
            call_of(self).failed(exc_info[1] or GeneratorExit())

    async def aexit_(self: Any, *exc_info: Any) -> Any:
        try:
            return await base.__aexit__(self, *exc_info)
        finally:
            call_of(self).failed(exc_info[1] or GeneratorExit())

    return {"__exit__": exit_, "__aexit__": aexit_}


def _subclass(cls: type, methods: dict[str, Callable[..., Any]]) -> type:
    present = {name: method for name, method in methods.items() if hasattr(cls, name)}
    return type(cls.__name__, (cls,), {**present, "__module__": cls.__module__, "__qualname__": cls.__qualname__})
