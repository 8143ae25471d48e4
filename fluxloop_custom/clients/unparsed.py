"""
Responses that an SDK returns unparsed, by ``with_raw_response`` and ``with_streaming_response``.

One whose body was received is read at once. Any other stays the object it is, and its call ends when the program
parses or closes it, with the stream that parsing returns, or with the last piece that the program receives.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import AsyncIterator, Iterator
from typing import Any
from weakref import WeakKeyDictionary, finalize

from fluxloop.bridge import was_raised_from_outside

from .received import Call, Received, quietly
from .requests import json_of


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
        self._received: Received | None = None

    def parsed(self, result: Any) -> Any:
        """Return *result* of parsing, which is a stream if one was asked for."""
        if self.is_over:
            return result
        self.is_over = True
        return self.call.parsed(result)

    def pieces(self, given: Iterator[Any], end: str) -> Iterator[Any]:
        """Yield the pieces *given*, and end the call after the last one. *end* was removed from the end of each."""
        try:
            for piece in given:
                self._on_piece(piece, end)
                yield piece
        except BaseException as exc:
            if not isinstance(exc, GeneratorExit):  # it may be read on
                self._end(exc)
            raise
        self._end(None)

    async def pieces_async(self, given: AsyncIterator[Any], end: str) -> AsyncIterator[Any]:
        """As `pieces`."""
        try:
            async for piece in given:
                self._on_piece(piece, end)
                yield piece
        except BaseException as exc:
            if not isinstance(exc, GeneratorExit):  # it may be read on
                self._end(exc)
            raise
        self._end(None)

    def _on_piece(self, piece: str | bytes, end: str) -> None:
        if not self.is_over:
            self.is_over = True
            quietly(self._begin)
        if self._received is not None:
            quietly(self._received.on_piece, piece, end)

    def _begin(self) -> None:
        self._received = Received(self.call)

    def _end(self, exc: BaseException | None) -> None:
        """End the call, if its response is received in pieces: with the answer, or with the outcome of *exc*."""
        received, self._received = self._received, None
        if received is None:
            return
        if exc is None:
            quietly(received.ended)
        else:
            quietly(received.failed, exc)

    def closed(self, response: Any) -> None:
        """End the call with the body if the program has read it."""
        self._end(GeneratorExit())
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
        self._end(GeneratorExit())
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
    for name, end in PIECES.items():
        if method := getattr(kind, name, None):
            methods[name] = _watched_iteration(method, end)
    return type(kind.__name__, (kind,), methods)


PIECES = {"iter_lines": "\n", "iter_text": "", "iter_bytes": ""}
"""The methods that yield a response in pieces, and what they remove from the end of each."""


def _watched_iteration(method: Any, end: str) -> Any:
    """Return *method*, which yields pieces, with each piece reported; of the same kind."""
    if inspect.isasyncgenfunction(method):

        @functools.wraps(method)
        async def iterate_async(self: Any, *args: Any, **kwargs: Any) -> AsyncIterator[Any]:
            async for piece in self._fluxloop_watch.pieces_async(method(self, *args, **kwargs), end):
                yield piece

        return iterate_async

    @functools.wraps(method)
    def iterate(self: Any, *args: Any, **kwargs: Any) -> Iterator[Any]:
        yield from self._fluxloop_watch.pieces(method(self, *args, **kwargs), end)

    return iterate


def _body(response: Any) -> Any:
    """Return the JSON of an HTTP response; None if it is not known, as the program read it in pieces."""
    try:
        return json_of(response.content)
    except Exception as exc:
        if was_raised_from_outside(exc):
            raise
        return None
