"""
Read the answer of a response that the program receives in pieces, by ``iter_lines``, ``iter_text`` or ``iter_bytes``.

The pieces are read as they pass, and arrive unchanged. Of a stream, each event is an item at the moment of its piece,
as if the SDK had parsed it.
"""

from __future__ import annotations

import codecs
from collections import deque
from collections.abc import Callable, Generator
from typing import Any, Protocol

import orjson

from fluxloop.bridge import was_raised_from_outside

MAX_BYTES = 16 << 20
"""A response that is longer, or an event of a stream, is not read: it would be held until its end."""

DATA = "data:"
"""What the line of an event's data begins with: https://html.spec.whatwg.org/multipage/server-sent-events.html"""


class Call(Protocol):
    """The call that a response belongs to."""

    @property
    def is_streamed(self) -> bool:
        """Whether a stream was asked for."""

    def parsed(self, value: Any) -> Any:
        """Return *value*, a generator of the items of a stream, and end the call with it."""

    def answered(self, response: Any) -> None:
        """End the call with *response* as JSON; None if that is not known."""

    def failed(self, exc: BaseException) -> None:
        """End the call with the outcome of *exc*: no more is read of the response."""


class Received:
    """What was received of one response."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._parts: list[str] = []
        self._size = 0
        self._is_too_long = False
        self._items: deque[Any] = deque()
        self._is_ended = False
        self._stream: Generator[Any] | None = call.parsed(self._generated()) if call.is_streamed else None

    def on_piece(self, piece: str | bytes, end: str) -> None:
        """Read a piece and *end*, which was removed from it."""
        text = (self._decoder.decode(piece) if isinstance(piece, bytes) else piece) + end
        first, *rest = text.split("\n") if self._stream is not None else [text]
        self._hold(first)
        for line in rest:
            self._on_line(self._taken())
            self._hold(line)

    def ended(self) -> None:
        """End the call: everything was received."""
        text = self._taken()
        if self._stream is None:
            self._call.answered(_json(text))
            return
        self._on_line(text)
        self._is_ended = True
        next(self._stream, None)

    def failed(self, exc: BaseException) -> None:
        """End the call with the outcome of *exc*."""
        if self._stream is None:
            self._call.failed(exc)
        elif isinstance(exc, GeneratorExit):
            self._stream.close()
        else:
            try:
                self._stream.throw(exc)
            except BaseException as raised:
                if raised is not exc:
                    raise

    def _generated(self) -> Generator[Any]:
        while not self._is_ended:
            yield self._items.popleft()

    def _hold(self, text: str) -> None:
        self._size += len(text)
        self._is_too_long = self._is_too_long or self._size > MAX_BYTES
        if self._is_too_long:
            self._parts.clear()
        else:
            self._parts.append(text)

    def _taken(self) -> str:
        text = "".join(self._parts)
        self._parts, self._size, self._is_too_long = [], 0, False
        return text

    def _on_line(self, line: str) -> None:
        if self._stream is not None and line.startswith(DATA) and (item := _json(line[len(DATA) :])) is not None:
            self._items.append(item)
            next(self._stream, None)


def _json(text: str) -> Any:
    """Return *text* from JSON; None if it is anything else, such as ``[DONE]``."""
    try:
        return orjson.loads(text)
    except ValueError:
        return None


def quietly(act: Callable[..., Any], *args: Any) -> None:
    """Call *act*; what fails in reading an answer does not reach the program."""
    try:
        act(*args)
    except Exception as exc:
        if was_raised_from_outside(exc):
            raise
