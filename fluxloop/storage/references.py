"""
References in record files, and how they are resolved.

In a large record, the beginning of an array of objects (usually the messages of a conversation) can be replaced by
references to lines of the same file that have the same items. A reference is an item of that array::

    {"$ref":"<id of the record>","items":1000,"offset":0,"at":310,"bytes":163891,"crc32":2774532,"mark":"~5b0c77d1~"}

It replaces the ``items`` items whose JSON is the ``bytes`` bytes at ``offset + at`` of the file: ``offset`` is the
start of the line of that record. Without ``offset``, ``at`` is negative and counts from the start of the reference
itself. These bytes never contain a reference. The last field of the record, ``"refs":"~5b0c77d1~"``, is the mark of its
references; nothing else in the line contains it, so other objects with ``$ref`` are not references.

A `Completer` returns the line as it was before. A text takes the place of a reference that cannot be resolved, with the
number of missing items and the id of their record.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from io import BytesIO
from typing import NamedTuple
from zlib import crc32

from ..encoding.introspection import CUT

TAILS = (b'~"}\n', b'~"}', b'~"}\r\n')
"""The ends of a line with references; `bytes.endswith` with these is all that other lines cost a reader."""

REFERS = b'"refs":'
"""A part of each line with references."""

MAX_COMPLETE_BYTES = 64 << 20
"""The limit of a complete line; what would make it longer is left out."""

_BLOCK_BYTES = 1 << 18
"""Bytes that are read at once when a file is searched for records."""

_TAIL_BYTES = 32
"""At least the length of the last field of a line with references."""


class Reference(NamedTuple):
    """A reference in a line."""

    start: int
    """Where it begins in the line."""
    end: int
    record: bytes
    """The id of the record that has the items, as in its JSON."""
    items: int
    offset: int | None
    """Where the line of that record begins in the file; None for the same line."""
    at: int
    size: int
    crc: int


def text_of(record: bytes, items: int, offset: int | None, at: int, size: int, crc: int, mark: bytes) -> bytes:
    """Return the JSON of a reference."""
    place = b"" if offset is None else b'"offset":%d,' % offset
    return b'{"$ref":"%b","items":%d,%b"at":%d,"bytes":%d,"crc32":%d,"mark":"%b"}' % (
        record,
        items,
        place,
        at,
        size,
        crc,
        mark,
    )


# Another program may have written the line again, with blanks and "\r\n".
_REFERENCE = re.compile(
    rb'\{"\$ref": ?"([^"\\]*)", ?"items": ?(\d{1,15}), ?(?:"offset": ?(\d{1,15}), ?)?"at": ?(-?\d{1,15}), ?'
    rb'"bytes": ?([1-9]\d{0,14}), ?"crc32": ?(\d{1,15}), ?'
    rb'"mark": ?"(~[0-9a-f]{8}~)"\}'
)

_TAIL = re.compile(rb', ?"refs": ?"(~[0-9a-f]{8}~)"(?=\}(?:\r?\n)?\Z)')


def tail_of(mark: bytes) -> bytes:
    """Return the end of a line whose references have *mark*, from the comma before the last field on."""
    return b',"refs":"%b"}\n' % mark


def references_in(line: bytes) -> list[Reference]:
    """Return the references in a line, in order; none for any other line."""
    if (tail := _tail_in(line)) is None:
        return []
    return [
        Reference(
            found.start(),
            found.end(),
            found[1],
            int(found[2]),
            None if found[3] is None else int(found[3]),
            int(found[4]),
            int(found[5]),
            int(found[6]),
        )
        for found in _REFERENCE.finditer(line)
        if found[7] == tail[1]
    ]


def _tail_in(line: bytes) -> re.Match[bytes] | None:
    return _TAIL.search(line, max(0, len(line) - _TAIL_BYTES)) if line.endswith(TAILS) else None


def complete_size(line: bytes) -> int:
    """Return about how long *line* is with its items instead of references."""
    return len(line) + sum(reference.size for reference in references_in(line))


class Completer:
    """
    Returns lines of a file with their references resolved.

    Args:
        read: Returns up to so many bytes at an offset of the file.
    """

    def __init__(self, read: Callable[[int, int], bytes]) -> None:
        self._read = read
        self._places: dict[bytes, list[int]] | None = None
        """Where the lines of records that are referred to begin; read when a reference has another offset."""

    def complete(self, line: bytes) -> bytes:
        """Return *line* with its items instead of references."""
        references, tail = references_in(line), _tail_in(line)
        if not references or tail is None:
            return line
        parts: list[bytes] = []
        done, size = 0, len(line)
        for reference in references:
            size += reference.size
            items = self._items(reference, line) if size <= MAX_COMPLETE_BYTES else None
            parts += line[done : reference.start], _missing(reference) if items is None else items
            done = reference.end
        parts += line[done : tail.start()], line[tail.end() :]
        return b"".join(parts)

    def _items(self, reference: Reference, line: bytes) -> bytes | None:
        """Return the JSON of the items; None if it is not there."""
        if reference.offset is None:
            start = reference.start + reference.at
            found = line[start : start + reference.size] if 0 <= start < reference.start else b""
            return found if _is_of(reference, found) else None
        items = self._items_at(reference, reference.offset)
        if items is not None:
            return items
        # Another program has removed lines, or put files together: the record may be at another place of the file.
        if self._places is None:
            self._places = self._found_places()
        for offset in reversed(self._places.get(reference.record, [])):
            if (items := self._items_at(reference, offset)) is not None:
                return items
        return None

    def _items_at(self, reference: Reference, offset: int) -> bytes | None:
        if reference.at < 0:
            return None
        head = self._read(offset, len(reference.record) + _HEAD_BYTES)
        if not head.startswith((b'{"id":"%b"' % reference.record, b'{"trace_id":"%b"' % reference.record)):
            return None
        found = self._read(offset + reference.at, reference.size)
        return found if _is_of(reference, found) else None

    def _found_places(self) -> dict[bytes, list[int]]:
        """Search the file for the records that its references name; memory holds the places of these only."""
        wanted = {reference.record for _, line in self._lines(TAILS) for reference in references_in(line)}
        places: dict[bytes, list[int]] = {}
        for offset, line in self._lines():
            for head in _HEAD.finditer(line):  # a record may follow a torn one on its line
                if head[1] in wanted:
                    places.setdefault(head[1], []).append(offset + head.start())
        return places

    def _lines(self, ends: tuple[bytes, ...] = (b"",)) -> Iterator[tuple[int, bytes]]:
        """Yield each line with one of *ends*, and where it begins; of a line beyond the limit, the last bytes."""
        rest, offset = b"", 0
        while block := self._read(offset + len(rest), max(_BLOCK_BYTES, len(rest))):
            lines = BytesIO(rest + block).readlines()
            rest = b"" if lines[-1].endswith(b"\n") else lines.pop()
            for line in lines:
                if line.endswith(ends):
                    yield offset, line
                offset += len(line)
            if len(rest) > MAX_COMPLETE_BYTES:
                offset, rest = offset + len(rest) - _BLOCK_BYTES, rest[-_BLOCK_BYTES:]
        if rest.endswith(ends):
            yield offset, rest


_HEAD = re.compile(rb'\{"(?:id|trace_id)":"([^"\\]+)"')
"""The beginning of a record, up to its id."""

_HEAD_BYTES = 16
"""At least the bytes of that beginning, besides the id."""


def _missing(reference: Reference) -> bytes:
    """Return the JSON of a text that takes the place of items that are not there."""
    record = reference.record.decode(errors="replace")
    return f'"{CUT} {reference.items:,} items left out, as record {record} is missing or damaged]"'.encode()


def _is_of(reference: Reference, found: bytes) -> bool:
    return len(found) == reference.size and crc32(found) == reference.crc
