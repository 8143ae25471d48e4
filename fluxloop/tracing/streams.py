"""
Streams: what one said, and handing one on without touching it.

`drive_generator` and `drive_async_generator` run a generator for its consumer: same items, same sends, throws
and closes. `wrap_stream` wraps a stream that a function returned, so that its observation ends when the stream does.
"""

from __future__ import annotations

import io
import weakref
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator
from functools import partial
from types import AsyncGeneratorType, CoroutineType, GeneratorType, TracebackType
from typing import Any, Protocol

PLAIN = frozenset({str, int, float, bool, type(None), dict, list, tuple, bytes, set, frozenset})
"""Types that are no streams; what nearly every function returns."""


class Streaming(Protocol):
    """What carries a stream's observation through its life; each method is harmless and never raises."""

    def resume(self) -> None:
        """Make the observation current: the stream's own code runs now."""

    def pause(self) -> None:
        """Put back what is current for the consumer."""

    def on_item(self, item: Any) -> Any:
        """Note *item* and return it."""

    def exhausted(self, value: Any, closed: bool = False) -> Any:
        """End it, as the stream returned *value* (after having been *closed*, perhaps), and return that."""

    def failed(self, exc: BaseException) -> None:
        """End it, as *exc* left the stream."""


Opened = tuple["Streaming", Any]
"""What a stream needs to be run: who is told about it, and the generator itself."""


def drive_generator(open_: Callable[..., Opened]) -> Callable[..., Generator[Any, Any, Any]]:
    """Return a generator function that runs the generator `open_(*args, **kwargs)` gives, for its consumer."""

    def wrapper(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        call, body = open_(*args, **kwargs)
        resume: Callable[[], Any] = partial(body.send, None)
        closed = False
        while True:
            call.resume()
            try:
                item = resume()
            except StopIteration as stop:
                call.pause()
                return call.exhausted(stop.value, closed)
            except BaseException as exc:
                del resume  # it may hold exc, whose traceback holds this frame
                call.pause()
                call.failed(exc)
                raise
            call.pause()
            try:
                sent = yield call.on_item(item)
            except BaseException as exc:
                # A close is thrown in like anything else: should the body answer it with one more item,
                # yielding that makes the interpreter complain just as it would have about the body.
                closed = isinstance(exc, GeneratorExit)
                resume = partial(body.throw, exc)
            else:
                closed = False
                resume = partial(body.send, sent)

    return wrapper


def drive_async_generator(open_: Callable[..., Opened]) -> Callable[..., AsyncGenerator[Any, Any]]:
    """As `drive_generator`, for async generators."""

    async def wrapper(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
        call, body = open_(*args, **kwargs)
        resume: Callable[[], Any] = partial(body.asend, None)
        closed = False
        while True:
            call.resume()
            try:
                item = await resume()
            except StopAsyncIteration:
                call.pause()
                call.exhausted(None, closed)
                return
            except BaseException as exc:
                del resume
                call.pause()
                call.failed(exc)
                raise
            call.pause()
            if item is None and body.ag_frame is None:
                # Somebody else has closed it, as a loop does that shuts down; a throw into it returns None then.
                call.exhausted(None, closed)
                return
            try:
                sent = yield call.on_item(item)
            except BaseException as exc:
                closed = isinstance(exc, GeneratorExit)
                resume = partial(body.athrow, exc)
            else:
                closed = False
                resume = partial(body.asend, sent)

    return wrapper


async def _await(call: Streaming, body: Coroutine[Any, Any, Any]) -> Any:
    """Await what a plain function returned, telling *call* how it went."""
    call.resume()
    try:
        value = await body
    except BaseException as exc:
        call.pause()
        call.failed(exc)
        raise
    call.pause()
    return call.exhausted(value)


def is_stream(value: object) -> bool:
    """
    Whether *value* is something that goes on after the function returned it.

    Generators, async generators, coroutines, and iterators of either kind; not files and database
    cursors, which are iterators by accident and used for much else.
    """
    kind = type(value)
    if kind in PLAIN:
        return False
    if isinstance(value, GeneratorType | AsyncGeneratorType | CoroutineType):
        return True
    if not (hasattr(kind, "__next__") or hasattr(kind, "__anext__")):
        return False
    return not (isinstance(value, io.IOBase) or hasattr(kind, "fetchone") or hasattr(kind, "read"))


def wrap_stream(call: Streaming, stream: Any, dropped: Callable[[], None]) -> Any:
    """
    Return a stand-in for *stream* that tells *call* what happens, and *dropped* when nobody wants it any more.

    A generator is answered with a generator, and so on; any other iterator with a transparent proxy.
    """
    standin: Any
    if isinstance(stream, GeneratorType):
        standin = drive_generator(lambda: (call, stream))()
    elif isinstance(stream, AsyncGeneratorType):
        standin = drive_async_generator(lambda: (call, stream))()
    elif isinstance(stream, CoroutineType):
        standin = _await(call, stream)
    else:
        standin = _proxy_class(type(stream))(call, stream)
    if not isinstance(standin, _Proxy):
        standin.__name__, standin.__qualname__ = stream.__name__, stream.__qualname__
    # One that is never started runs none of our code, not even when it is collected.
    weakref.finalize(standin, dropped).atexit = False
    return standin


class _Proxy:
    """Behaves as the iterator it holds, `isinstance` included."""

    __slots__ = ("__weakref__", "_fluxloop_call", "_fluxloop_stream")

    def __init__(self, call: Streaming, stream: Any) -> None:
        object.__setattr__(self, "_fluxloop_call", call)
        object.__setattr__(self, "_fluxloop_stream", stream)

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        return type(self._fluxloop_stream)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._fluxloop_stream, name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._fluxloop_stream, name, value)

    def __delattr__(self, name: str) -> None:
        delattr(self._fluxloop_stream, name)

    def __repr__(self) -> str:
        return repr(self._fluxloop_stream)

    def __dir__(self) -> list[str]:
        return dir(self._fluxloop_stream)


def _iter(self: _Proxy) -> _Proxy:
    return self


def _next(self: _Proxy) -> Any:
    call = self._fluxloop_call
    call.resume()
    try:
        item = next(self._fluxloop_stream)
    except StopIteration as stop:
        call.pause()
        call.exhausted(stop.value)
        raise
    except BaseException as exc:
        call.pause()
        call.failed(exc)
        raise
    call.pause()
    return call.on_item(item)


async def _anext(self: _Proxy) -> Any:
    call = self._fluxloop_call
    call.resume()
    try:
        item = await self._fluxloop_stream.__anext__()
    except StopAsyncIteration:
        call.pause()
        call.exhausted(None)
        raise
    except BaseException as exc:
        call.pause()
        call.failed(exc)
        raise
    call.pause()
    return call.on_item(item)


def _enter(self: _Proxy) -> Any:
    entered = self._fluxloop_stream.__enter__()
    return self if entered is self._fluxloop_stream else entered


def _exit(self: _Proxy, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> Any:
    try:
        return self._fluxloop_stream.__exit__(kind, exc, tb)
    finally:
        self._fluxloop_call.failed(exc or GeneratorExit())


async def _aenter(self: _Proxy) -> Any:
    entered = await self._fluxloop_stream.__aenter__()
    return self if entered is self._fluxloop_stream else entered


async def _aexit(
    self: _Proxy, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
) -> Any:
    try:
        return await self._fluxloop_stream.__aexit__(kind, exc, tb)
    finally:
        self._fluxloop_call.failed(exc or GeneratorExit())


def _close(self: _Proxy, *args: Any, **kwargs: Any) -> Any:
    try:
        return self._fluxloop_stream.close(*args, **kwargs)
    finally:
        self._fluxloop_call.failed(GeneratorExit())


_METHODS: dict[str, Callable[..., Any]] = {
    "__iter__": _iter,
    "__next__": _next,
    "__aiter__": _iter,
    "__anext__": _anext,
    "__enter__": _enter,
    "__exit__": _exit,
    "__aenter__": _aenter,
    "__aexit__": _aexit,
    "close": _close,
}
"""What a proxy answers itself, wherever the type it stands for has it."""

_HANDED_ON = ("__len__", "__length_hint__", "__bool__", "__eq__", "__hash__", "__getitem__", "__contains__", "__call__")
"""Special methods that Python looks up on the class, so that attribute access does not reach them."""

_proxies: weakref.WeakKeyDictionary[type, type[_Proxy]] = weakref.WeakKeyDictionary()


def _proxy_class(kind: type) -> type[_Proxy]:
    """Return the proxy class for iterators of *kind*: it has the special methods *kind* has, and no others."""
    if kind not in _proxies:
        methods: dict[str, Any] = {name: method for name, method in _METHODS.items() if hasattr(kind, name)}
        methods.update({name: _handed_on(name) for name in _HANDED_ON if hasattr(kind, name)})
        if methods.get("__hash__") is not None and kind.__hash__ is None:
            methods["__hash__"] = None
        _proxies[kind] = type(kind.__name__, (_Proxy,), {**methods, "__slots__": (), "__module__": kind.__module__})
    return _proxies[kind]


def _handed_on(name: str) -> Callable[..., Any]:
    def method(self: _Proxy, *args: Any, **kwargs: Any) -> Any:
        return getattr(self._fluxloop_stream, name)(*args, **kwargs)

    return method
