"""
Responses that an SDK returns unparsed, by ``with_raw_response`` and ``with_streaming_response``.

One whose body was received is read at once. Any other stays the object it is, and its call ends when the program
parses or closes it, or with the stream that parsing returns.
"""

from __future__ import annotations

import inspect
from typing import Any, Protocol
from weakref import WeakKeyDictionary, finalize

from fluxloop.bridge import was_raised_from_outside

from .requests import json_of


class Call(Protocol):
    """The call that a response belongs to."""

    def parsed(self, value: Any) -> Any:
        """Return *value*, the parsed response, and end the call with it or with the stream that it is."""

    def answered(self, response: Any) -> None:
        """End the call with *response* as JSON; None if that is not known."""

    def failed(self, exc: BaseException) -> None:
        """End the call with the outcome of *exc*: no more is read of the response."""


def is_unparsed(value: Any) -> bool:
    """Whether *value* is an SDK's wrapper of an HTTP response."""
    return "http_response" in getattr(value, "__dict__", ())


def watch(call: Call, value: Any) -> Any:
    """Return *value*, and let *call* end when its answer is known."""
    if value.http_response.is_closed:
        call.answered(_body(value.http_response))
        return value
    kind = type(value)
    if kind not in _classes:
        _classes[kind] = _watched_class(kind)
    value.__class__ = _classes[kind]
    value._fluxloop_watch = watch = Watch(call)
    finalize(value, watch.dropped).atexit = False
    return value


class Watch:
    """What ends the call of an unparsed response; the first event does."""

    def __init__(self, call: Call) -> None:
        self.call = call
        self.is_over = False

    def parsed(self, result: Any) -> Any:
        """Return *result* of parsing, which is a stream if one was asked for."""
        if self.is_over:
            return result
        self.is_over = True
        return self.call.parsed(result)

    def closed(self, response: Any) -> None:
        """End the call with the body if the program has read it."""
        if self.is_over:
            return
        self.is_over = True
        body = _body(response)
        if body is not None or response.is_stream_consumed:
            self.call.answered(body)
        else:
            self.call.failed(GeneratorExit())

    def dropped(self) -> None:
        """End the call: nothing references the response any more."""
        if not self.is_over:
            self.is_over = True
            self.call.failed(GeneratorExit())


_classes: WeakKeyDictionary[type, type] = WeakKeyDictionary()


def _watched_class(kind: Any) -> type:
    """Return the subclass of *kind* whose instances report that they are parsed or closed."""
    methods: dict[str, Any] = {"__module__": kind.__module__, "__qualname__": kind.__qualname__}
    if inspect.iscoroutinefunction(kind.parse):

        async def parse_async(self: Any, **options: Any) -> Any:
            return self._fluxloop_watch.parsed(await kind.parse(self, **options))

        methods["parse"] = parse_async
    else:

        def parse(self: Any, **options: Any) -> Any:
            return self._fluxloop_watch.parsed(kind.parse(self, **options))

        methods["parse"] = parse
    if inspect.iscoroutinefunction(getattr(kind, "close", None)):

        async def close_async(self: Any) -> None:
            await kind.close(self)
            self._fluxloop_watch.closed(self.http_response)

        methods["close"] = close_async
    elif hasattr(kind, "close"):

        def close(self: Any) -> None:
            kind.close(self)
            self._fluxloop_watch.closed(self.http_response)

        methods["close"] = close
    return type(kind.__name__, (kind,), methods)


def _body(response: Any) -> Any:
    """Return the JSON of an HTTP response; None if it is not known, as the program read it in pieces."""
    try:
        return json_of(response.content)
    except Exception as exc:
        if was_raised_from_outside(exc):
            raise
        return None
