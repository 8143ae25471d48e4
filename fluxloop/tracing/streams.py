"""
Recognise results that continue after the function returned, and let the observation end with them.

`follow` attaches an observation to a returned stream, coroutine or future. Streams of SDKs and futures are not replaced
by other objects.
"""

from __future__ import annotations

import concurrent.futures
import sys
import weakref
from functools import partial
from types import AsyncGeneratorType, CoroutineType, GeneratorType
from typing import Any

from ..encoding.introspection import attribute
from ..interruptions import was_raised_from_outside
from ..llm.sdk_streams import stream_kind
from .generators import (
    Followed,
    drive_async_generator,
    drive_coroutine,
    drive_generator,
    drive_generator_coroutine,
    is_awaitable,
)
from .stream_classes import attach

PLAIN = frozenset({str, int, float, bool, type(None), dict, list, tuple, bytes, set, frozenset})
"""Common return types that are not streams, for a fast check."""


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
    finalizers: list[weakref.finalize[Any, Any]] = []
    finish = partial(_finish, finalizers)
    if isinstance(value, GeneratorType):
        if is_awaitable(value.gi_code):
            result = drive_generator_coroutine(call, value, finish)
        else:
            result = drive_generator(call, body=value)
    elif isinstance(value, AsyncGeneratorType):
        result = drive_async_generator(call, body=value)
    elif isinstance(value, CoroutineType):
        result = drive_coroutine(call, value, finish)
    elif isinstance(value, concurrent.futures.Future) or _is_asyncio_future(type(value)):
        finalizers.append(_watch(call, value))
        _follow_future(call, value, finalizers)
        return value
    elif not attach(call, value, is_manager=stream_kind(type(value)) == "manager"):
        call.succeeded(value)
        return value
    if result is not value:
        result.__name__, result.__qualname__ = value.__name__, value.__qualname__
    finalizers.append(_watch(call, result))
    return result


def _watch(call: Followed, result: Any) -> weakref.finalize[Any, Any]:
    """End *call* when *result* is collected: a stream that is never started runs no code, not even then."""
    finalizer = weakref.finalize(result, call.dropped)
    finalizer.atexit = False
    return finalizer


def _finish(finalizers: list[weakref.finalize[Any, Any]], call: Followed, value: Any) -> Any:
    """End *call* with the result of a coroutine, or with the stream that the result is, and return the result."""
    try:
        if type(value) not in PLAIN and is_followed(value):
            _detach(finalizers)
            return follow(call, value)
    except Exception as exc:  # raised by a metaclass of the value
        if was_raised_from_outside(exc):
            raise
    return call.exhausted(value)


def _detach(finalizers: list[weakref.finalize[Any, Any]]) -> None:
    for finalizer in finalizers:
        finalizer.detach()


def _is_asyncio_future(cls: type) -> bool:
    if "asyncio" not in sys.modules:
        return False
    if type(cls) is type:
        return getattr(cls, _FUTURE_MARK, None) is not None
    return attribute(cls, _FUTURE_MARK) is not None  # which runs no code of its metaclass


_FUTURE_MARK = "_asyncio_future_blocking"
"""The attribute by which asyncio itself recognises futures."""


def _follow_future(call: Followed, future: Any, finalizers: list[weakref.finalize[Any, Any]]) -> None:
    if future.done():
        _end_with_future(call, finalizers, future)
    else:
        future.add_done_callback(partial(_end_with_future, call, finalizers))


def _end_with_future(call: Followed, finalizers: list[weakref.finalize[Any, Any]], future: Any) -> None:
    # Do not call `exception()`: asyncio would then consider the failure as retrieved, and not log it.
    exc = getattr(future, "_exception", None)
    if exc is not None:
        call.failed(exc)
        return
    try:
        value = future.result()
    except BaseException as failure:
        call.failed(failure)
        return
    if type(value) in PLAIN or stream_kind(type(value)) is None:
        call.succeeded(value)
    else:  # an SDK's stream, which is not replaced
        _detach(finalizers)
        follow(call, value)
