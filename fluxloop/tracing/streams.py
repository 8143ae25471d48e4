"""
Streams and futures: results that go on after the function returned them.

`drive_generator` and `drive_async_generator` run a generator for its consumer: same items, same sends, throws and
closes. `follow` attaches an observation to a stream, coroutine or future that a function returned, so that it ends
when that does. Streams of SDKs and futures stay the objects they are.
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

from ..llm.sdk_streams import stream_kind

PLAIN = frozenset({str, int, float, bool, type(None), dict, list, tuple, bytes, set, frozenset})
"""Types that nearly every function returns, and that nothing follows."""


class Followed(Protocol):
    """What carries a stream's observation through its life; the methods never raise."""

    def resume(self) -> None:
        """Make the observation current: the stream's own code runs now."""

    def pause(self) -> None:
        """Restore what is current for the consumer."""

    def on_item(self, item: Any) -> Any:
        """Record *item* and return it."""

    def exhausted(self, value: Any, closed: bool = False) -> Any:
        """End it, as the stream returned *value* (after having been *closed*, perhaps), and return that."""

    def failed(self, exc: BaseException) -> None:
        """End it with the outcome of *exc*: nothing more is read from the stream."""

    def raised(self, exc: BaseException) -> None:
        """As `failed`, after restoring what is current for the consumer: *exc* left the stream's code."""

    def succeeded(self, value: Any) -> None:
        """End it with the result *value*."""

    def dropped(self) -> None:
        """End it: nothing references the stream any more."""


Opened = tuple["Followed", Any]
"""What it takes to run a stream: its observation, and the generator itself."""


def drive_generator(call: Followed | None, start: Callable[[], Opened] | None = None, body: Any = None) -> Any:
    """
    Yield what a generator yields, for its consumer.

    Args:
        call: Its observation, where that has begun.
        start: Begins the observation and the generator, when the first item is asked for.
        body: The generator, where there is one already.
    """
    if start is not None:
        call, body = start()
    assert call is not None
    resume: Any = partial(body.send, None)
    closed = False
    try:
        while True:
            call.resume()
            try:
                item = resume()
            except StopIteration as stop:
                call.pause()
                return call.exhausted(stop.value, closed)
            call.pause()
            item = call.on_item(item)
            try:
                sent = yield item
            except BaseException as exc:
                # A close is thrown in like anything else: should the body answer it with one more item,
                # yielding that makes the interpreter complain just as it would have about the body.
                closed = isinstance(exc, GeneratorExit)
                resume = partial(body.throw, exc)
            else:
                closed = False
                resume = partial(body.send, sent)
    except BaseException as exc:
        resume = None  # it may hold exc, whose traceback holds this frame
        call.raised(exc)
        raise


async def drive_async_generator(
    call: Followed | None, start: Callable[[], Opened] | None = None, body: Any = None
) -> AsyncGenerator[Any, Any]:
    """As `drive_generator`, for async generators."""
    if start is not None:
        call, body = start()
    assert call is not None
    resume: Any = partial(body.asend, None)
    closed = False
    try:
        while True:
            call.resume()
            try:
                item = await resume()
            except StopAsyncIteration:
                call.pause()
                call.exhausted(None, closed)
                return
            call.pause()
            if item is None and body.ag_frame is None:
                # The event loop has closed it while shutting down; a throw into it returns None then.
                call.exhausted(None, closed)
                return
            item = call.on_item(item)
            try:
                sent = yield item
            except BaseException as exc:
                closed = isinstance(exc, GeneratorExit)
                resume = partial(body.athrow, exc)
            else:
                closed = False
                resume = partial(body.asend, sent)
    except BaseException as exc:
        resume = None
        call.raised(exc)
        raise


async def _await(call: Followed, body: Coroutine[Any, Any, Any]) -> Any:
    """Await the coroutine that a plain function returned, and end *call* with its result."""
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
    Whether *value* goes on after the function returned it, and is known well enough to be followed.

    Generators, async generators, coroutines, futures, and the stream classes of SDKs (see `fluxloop.llm.sdk_streams`).
    Other iterators - files, cursors, mocks, proxies - are left as they are: following would break their other uses.
    """
    return isinstance(value, _OWN_KINDS) or _is_asyncio_future(value) or stream_kind(type(value)) is not None


_OWN_KINDS = (GeneratorType, AsyncGeneratorType, CoroutineType, concurrent.futures.Future)


def follow(call: Followed, value: Any) -> Any:
    """
    Let *call* end as *value* ends, and return what takes its place: *value* itself wherever that is possible.

    A generator is replaced by a generator and a coroutine by a coroutine, since neither can be observed from outside.
    """
    result = value
    if isinstance(value, GeneratorType):
        result = drive_generator(call, body=value)
    elif isinstance(value, AsyncGeneratorType):
        result = drive_async_generator(call, body=value)
    elif isinstance(value, CoroutineType):
        result = _await(call, value)
    elif isinstance(value, concurrent.futures.Future) or _is_asyncio_future(value):
        _follow_future(call, value)
    elif not _attach(call, value, is_manager=stream_kind(type(value)) == "manager"):
        call.succeeded(value)
        return value
    if result is not value:
        result.__name__, result.__qualname__ = value.__name__, value.__qualname__
    # A stream that is never started runs none of this code, not even when it is collected.
    weakref.finalize(result, call.dropped).atexit = False
    return result


def _is_asyncio_future(value: object) -> bool:
    return "asyncio" in sys.modules and getattr(type(value), "_asyncio_future_blocking", None) is not None


def _follow_future(call: Followed, future: Any) -> None:
    if future.done():
        _end_with_future(call, future)
    else:
        future.add_done_callback(partial(_end_with_future, call))


def _end_with_future(call: Followed, future: Any) -> None:
    # asyncio logs a failure that was never retrieved, and `exception()` would count as retrieving it.
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
    Let *stream* report to *call*, by a subclass of its own class; it stays the object it is.

    Returns:
        Whether that was possible.
    """
    kind = type(stream)
    try:
        made = _classes.get(kind)
        if made is None:
            made = _classes[kind] = _manager_class(kind) if is_manager else _stream_class(kind)
        stream.__class__ = made
        setattr(stream, _attribute(kind), call)
    except TypeError:  # a class with slots, or one that cannot be subclassed
        return False
    return True


_classes: weakref.WeakKeyDictionary[type, type] = weakref.WeakKeyDictionary()


def _attribute(kind: type) -> str:
    """Return where the subclass of *kind* finds its call; a stream that several functions return has several."""
    return f"_fluxloop_call_{len(kind.__mro__)}"


def _stream_class(kind: type) -> type:
    """Return the subclass of *kind* whose instances report their items; it overrides only what *kind* has."""
    base: Any = kind
    call_of = attrgetter(_attribute(kind))

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
    return _subclass(kind, methods | _exits(kind))


def _manager_class(kind: type) -> type:
    """Return the subclass of *kind* whose instances follow the stream they are entered for."""
    base: Any = kind
    call_of = attrgetter(_attribute(kind))

    def enter_(self: Any) -> Any:
        stream = base.__enter__(self)
        _attach(call_of(self), stream, is_manager=False)
        return stream

    async def aenter_(self: Any) -> Any:
        stream = await base.__aenter__(self)
        _attach(call_of(self), stream, is_manager=False)
        return stream

    return _subclass(kind, {"__enter__": enter_, "__aenter__": aenter_} | _exits(kind))


def _exits(kind: type) -> dict[str, Callable[..., Any]]:
    base: Any = kind
    call_of = attrgetter(_attribute(kind))

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


def _subclass(kind: type, methods: dict[str, Callable[..., Any]]) -> type:
    present = {name: method for name, method in methods.items() if hasattr(kind, name)}
    return type(kind.__name__, (kind,), {**present, "__module__": kind.__module__, "__qualname__": kind.__qualname__})
