"""
Read and encode the messages of long histories once.

An agent passes its whole history to every step, so each message would be read and encoded at every step again. A
history is encoded in pieces of several messages. The JSON of a piece is kept, together with all fields of its messages
as JSON. A piece whose fields give the same JSON again did not change, also not in place, and its JSON is used again;
messages whose fields are anything but plain data are read every time. A history is read from its newest message back,
and no further than it is recorded. Nothing here keeps a message alive.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from itertools import takewhile
from operator import attrgetter, itemgetter
from typing import Any, NamedTuple, TypeAlias
from weakref import ref

import orjson

from ..interruptions import was_raised_from_outside
from .foreign import read_fields, read_message
from .plain_json import OPTIONS, dumps, is_large

PIECE = 128
"""The messages of a piece."""

PIECE_BYTES = 262_144
"""The size limit of a piece; a larger one is divided."""

MAX_KEPT_BYTES = 33_554_432
"""The limit of the JSON that is kept, of all histories."""

MAX_LENGTH = 100_000
"""The number of messages of one history that can be recorded; as many fill the default limit of a value."""

MIN_MESSAGES = 10
"""A shorter list is not taken for a history."""

MAX_INSTRUCTIONS = 8
"""The instructions at the start of a history that are kept where it is too long."""

ReaderOf: TypeAlias = Callable[[type], Callable[[Any], object] | None]
"""Returns how to read objects of a class, or None if they stay as they are."""


def read_history(messages: list[Any], reader_of: ReaderOf) -> object:
    """
    Return *messages* as plain data, as `read_message` returns each, or a `History`, which does so when it is encoded.

    Args:
        messages: The messages, and perhaps other items.
        reader_of: Returns how to read objects of a class, or None if they stay as they are.
    """
    if any(reader_of(type(first)) is read_message for first in messages[:1]):  # another thread may empty the list
        return History(messages, reader_of)
    return [_read(message, reader_of) for message in messages.copy()]


class History:
    """Messages that are read when they are encoded, and only as far as they are recorded."""

    __slots__ = ("_encoded", "_head", "_offset", "_reader_of", "_tail", "total")

    def __init__(self, messages: list[Any], reader_of: ReaderOf) -> None:
        self._head = messages[:MAX_INSTRUCTIONS]
        self._tail = messages[-MAX_LENGTH:]
        self._offset = max(len(messages) - MAX_LENGTH, 0) if len(self._tail) == MAX_LENGTH else 0
        self._reader_of = reader_of
        self._encoded: dict[tuple[int, int], bytes | None] = {}
        self.total = self._offset + len(self._tail)

    def read(self, start: int, end: int) -> list[object]:
        """Return the messages from *start* to *end* as plain data, which are among those that can be recorded."""
        return [_read(message, self._reader_of) for message in self._between(start, end)]

    def first(self) -> Iterator[object]:
        """Yield the first messages as plain data."""
        return (_read(message, self._reader_of) for message in self._head)

    def _between(self, start: int, end: int) -> list[Any]:
        return self._tail[start - self._offset : end - self._offset]

    def whole(self, limit_bytes: int) -> list[orjson.Fragment] | None:
        """Return all messages for orjson; None if they are longer than *limit_bytes* or not plain data."""
        if self._offset:
            return None
        size, found = 2, []
        for encoded, _, _ in self.newest_first():
            if encoded is None:
                return None
            size += len(encoded) + 1
            if size > limit_bytes:
                return None
            found.append(orjson.Fragment(encoded))
        found.reverse()
        return found

    def newest_first(self, start: int = 0) -> Iterator[tuple[bytes | None, int, int]]:
        """
        Yield the messages after *start* in pieces, the last one first, each with the places where it begins and ends.

        A piece is JSON without brackets; None if it is not plain data, or a single message that is too long.
        """
        start = max(start, self._offset)
        edge, end = self._edge() if self.total > PIECE else 0, self.total
        while end > start:
            begin = max(end - 1 - (end - 1 - edge) % PIECE, start)
            yield from self._parts(begin, end)
            end = begin

    def _parts(self, begin: int, end: int) -> Iterator[tuple[bytes | None, int, int]]:
        """Yield a piece, in two parts if it is too long."""
        encoded = self._piece(begin, end)
        if encoded == b"" and end - begin > 1:
            middle = begin + (1 << (end - begin - 1).bit_length() - 1)  # the same when messages are added at the end
            yield from self._parts(middle, end)
            yield from self._parts(begin, middle)
        else:
            yield encoded or None, begin, end

    def _edge(self) -> int:
        """Return where a kept piece begins, as messages that were removed in front moved all others; 0 if none does."""
        last, longest, edge = len(self._tail) - PIECE, 0, 0
        for place in range(last, max(last - PIECE, -1), -1):
            kept = _pieces.get(id(self._tail[place]))
            if kept is not None and kept.length > longest:
                longest, edge = kept.length, place + self._offset
        return edge

    def _piece(self, begin: int, end: int) -> bytes | None:
        try:
            return self._encoded[begin, end]
        except KeyError:
            found = self._encoded[begin, end] = _encoded(self._between(begin, end), self._reader_of)
            return found


def _read(message: Any, reader_of: ReaderOf) -> object:
    read = reader_of(type(message))
    return message if read is None else read(message)


class _Piece(NamedTuple):
    first: ref[Any]
    """The first message of the piece."""
    length: int
    fields: bytes
    """All fields of the messages as JSON."""
    encoded: bytes
    """What is recorded of the messages, as JSON without brackets."""
    ends: dict[int, int]
    """Numbers of messages that the piece had, and where they end in `encoded`: runs may begin with the same history."""


_pieces: dict[int, _Piece] = {}
"""The pieces of all histories, by the id of their first message."""

_kept_bytes = 0
"""The size of all pieces; approximate while several threads add pieces."""


def _encoded(messages: list[Any], reader_of: ReaderOf) -> bytes | None:
    """Return what is recorded of *messages*, as JSON without brackets; None if not plain data, empty if too long."""
    if not messages:
        return None
    key = id(messages[0])
    kept = _pieces.get(key)
    try:
        for kind in set(map(type, messages)):
            if reader_of(kind) is not read_message:
                return None
        held = list(map(_fields_of, messages))
        if sum(map(len, map(_content_of, held))) > PIECE_BYTES:
            return b""
        count = len(held)
        fields, encoded = b"", b""
        ends: dict[int, int] = {}
        if kept is not None and (kept.length <= count or count in kept.ends):
            if len(kept.fields) * count > PIECE_BYTES * kept.length:  # as long as the known messages, on average
                return b""
            known = min(kept.length, count)
            fields = dumps(held if known == count else held[:known], None, STRICT)
            if fields == kept.fields:
                if known == count:
                    return kept.encoded
                fields, encoded, held, ends = fields[:-1] + b",", kept.encoded + b",", held[known:], kept.ends
            elif known < kept.length and kept.fields.startswith(fields[:-1] + b","):
                return kept.encoded[: kept.ends[count]]
            else:
                _pieces.pop(key, None)
                fields = b""
        if any(map(_is_long, held)):
            return b""
        more = dumps(held, None, STRICT)
        # What is read depends on the JSON only, so it belongs to it even if another thread changes a message meanwhile.
        encoded += dumps(list(map(read_fields, orjson.loads(more))), None, OPTIONS)[1:-1]
        fields = fields + more[1:] if fields else more
    except Exception as exc:  # not plain data
        if was_raised_from_outside(exc):
            raise
        return None
    if len(fields) > PIECE_BYTES:
        return b""
    _keep(key, messages, fields, encoded, {**ends, count: len(encoded)})
    return encoded


def _is_long(fields: dict[str, Any]) -> bool:
    return any(is_large(item, PIECE_BYTES) for item in fields.values() if item and type(item) not in _SCALARS)


_SCALARS = frozenset({str, int, float, bool, type(None)})
"""Types of fields that need no look; the lengths of contents are known already."""


def _keep(key: int, messages: list[Any], fields: bytes, encoded: bytes, ends: dict[int, int]) -> None:
    global _kept_bytes
    try:
        first = ref(messages[0], partial(_forget, key))
    except TypeError:  # a class without weak references
        return
    if _kept_bytes > MAX_KEPT_BYTES:
        _make_room()
    _pieces[key] = _Piece(first, len(messages), fields, encoded, ends)
    _kept_bytes += len(fields) + len(encoded)


def _make_room() -> None:
    """Forget the oldest pieces, until a quarter of the room is free."""
    global _kept_bytes
    pieces = list(_pieces.items())
    size = sum(len(piece.fields) + len(piece.encoded) for _, piece in pieces)
    for key, piece in pieces:
        if size <= MAX_KEPT_BYTES * 3 // 4:
            break
        _pieces.pop(key, None)
        size -= len(piece.fields) + len(piece.encoded)
    _kept_bytes = size


def _forget(key: int, ended: ref[Any]) -> None:
    kept = _pieces.get(key)
    if kept is not None and kept.first is ended:  # a new message may have the id already
        _pieces.pop(key, None)


_fields_of = attrgetter("__dict__")
_content_of = itemgetter("content")

STRICT = orjson.OPT_PASSTHROUGH_SUBCLASS | orjson.OPT_PASSTHROUGH_DATETIME | orjson.OPT_PASSTHROUGH_DATACLASS
"""Only types that JSON has are plain data here: others can change without a change of their JSON."""


def is_history(value: list[Any] | tuple[Any, ...]) -> bool:
    """Return whether *value* is a list of messages as plain data, as its first and its last item show."""
    if len(value) < MIN_MESSAGES:
        return False
    ends = [*value[:1], *value[-1:]]  # another thread may empty the list meanwhile
    if len(ends) < 2:
        return False
    first, last = ends
    if type(first) is not dict or type(last) is not dict or type(first.get("role")) is not str:
        return False
    return not _CONTENT.isdisjoint(first) and ("role" in last or "type" in last)


_CONTENT = frozenset({"content", "parts", "tool_calls"})


def instructions(messages: list[Any] | tuple[Any, ...] | History) -> list[Any]:
    """Return the instructions with which a history begins: messages of the system or of a developer."""
    first = messages.first() if isinstance(messages, History) else messages[:MAX_INSTRUCTIONS]
    return list(takewhile(_is_instruction, first))


def _is_instruction(message: Any) -> bool:
    return type(message) is dict and message.get("role") in ("system", "developer")


def with_fragments(value: Any, limit_bytes: int) -> object | None:
    """Return *value* with its histories encoded; None if it has none, or one is too long or not plain data."""
    if type(value) is History:
        return value.whole(limit_bytes)
    if type(value) is not dict:
        return None
    made, found = value.copy(), False
    for name, item in made.items():
        if type(item) is History:
            made[name], found = item.whole(limit_bytes), True
            if made[name] is None:
                return None
    return made if found else None
