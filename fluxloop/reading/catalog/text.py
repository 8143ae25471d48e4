"""
Find the traces whose names, inputs, outputs or errors contain a text.

The lines of the files are searched as they are for a part of the text that every encoding of it contains; only lines
that have it, or refer to a line that has it, are decoded. So a search takes about as long as reading the files.
"""

from __future__ import annotations

import os
import re
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import orjson

from ...storage.decoding import Json, kind_of, trace_id_of
from ...storage.histories import MIN_RUN_BYTES
from ...storage.record_input import RecordInput
from ...storage.references import REFERS, references_in
from ..json_text import pieces
from ..source import LONGEST_LINE_BYTES, OpenObservations, open_records

if TYPE_CHECKING:
    from ...redaction.prefilter import Prefilter

_BLOCK_BYTES = 1 << 16
"""Bytes of a file that are searched at once."""


_TRACE_ID = b'"trace_id":'
_HEAD = re.compile(rb'\{(?:"id":"[ !#-\[\]-~]+",)?"trace_id":"([ !#-\[\]-~]+)"')
"""The beginning of most lines of our own format, up to the id of the trace."""

_ID = re.compile(rb'\{"(?:id|trace_id)":"([^"\\]+)"')
"""The beginning of a line, up to the id of its record."""

Place = tuple[str | None, str]
"""The day and the id of a trace; the day is None where it is not known."""


def in_files(text: str, files: Iterable[tuple[str, Path]]) -> Iterator[Place]:
    """Yield each trace with *text* in one of its records in *files*, each with its day; some more than once."""
    wanted, part = text.casefold(), PlainPart(plain_part(text))
    known: set[tuple[str, bytes]] = set()
    for day, path in files:
        if (file := open_records(path)) is None:
            continue
        with file:
            for line in _lines_with(part, file):
                head = _HEAD.match(line) if line.count(_TRACE_ID) == 1 else None
                if head and (day, head[1]) in known:
                    continue
                for (_, _, record), _ in file.records(line):
                    if not isinstance(record, str) and kind_of(record) != "score" and contains(record, wanted):
                        if head:
                            known.add((day, head[1]))
                        yield day, trace_id_of(record)


def in_journals(text: str, journals: dict[str, OpenObservations]) -> Iterator[Place]:
    """Yield each trace with *text* in one of its open observations."""
    wanted = text.casefold()
    for trace_id, observations in journals.items():
        if any(contains(record, wanted) for _, record in observations):
            yield None, trace_id


def in_records(text: str, records: Iterable[Json]) -> Iterator[Place]:
    """Yield each trace with *text* in one of *records*; some more than once."""
    wanted = text.casefold()
    for record in records:
        if kind_of(record) in ("observation", "trace") and contains(record, wanted):
            yield None, trace_id_of(record)


def contains(record: Json, wanted: str) -> bool:
    """Whether the name, input, output or error of a record contains *wanted*, which is case-folded."""
    return any(wanted in _text(value) for name in _SEARCHED if (value := record.get(name)))


def searched_text(record: Json) -> str:
    """Return the case-folded text of a record in which `contains` looks, one line per field."""
    return "\n".join(_text(value) for name in _SEARCHED if (value := record.get(name)))


_SEARCHED = ("name", "input", "output", "error")


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value.casefold()
    try:
        text = orjson.dumps(value).decode()
    except TypeError:  # a number beyond 64 bits, or deeper than orjson goes
        text = "".join(pieces(value))
    return text.casefold()


def plain_part(text: str) -> bytes:
    """Return the longest part of *text* that JSON always writes as it is, in lower case."""
    # The Kelvin sign and the long s become ASCII when their case is folded, so k and s are left out.
    parts = re.findall(r"[a-jl-rt-zA-JL-RT-Z0-9 .,:;_()\[\]{}#$*+=?!@-]+", text)
    return max(parts, key=len, default="").lower().encode()


class PlainPart:
    """
    A text in lower case that is searched in blocks of bytes, in any case.

    Hyperscan searches four times as fast as `bytes` do, but reports every occurrence: a text that is frequent is
    searched by `bytes`, and so is every text if Hyperscan is not installed.
    """

    def __init__(self, part: bytes) -> None:
        self.part = part
        self._prefilter: Prefilter | None = None
        if part:
            from ...redaction.prefilter import open_prefilter  # loaded only by a search

            with suppress(ImportError, ValueError):
                self._prefilter = open_prefilter(
                    ((0, "(?i)" + "".join(f"\\x{byte:02x}" for byte in part)),), is_kept=False
                )

    def in_block(self, block: bytes) -> Callable[[int], int]:
        """Return a function that returns the position of the first occurrence from a position on, or -1."""
        if self._prefilter is not None:
            starts = [hit.end - len(self.part) for hit in self._prefilter.hits(block)]
            if len(starts) > MOST_OCCURRENCES:
                self._prefilter = None
            return lambda at: starts[index] if (index := bisect_left(starts, at)) < len(starts) else -1
        lowered = block.lower()
        return lambda at: lowered.find(self.part, at)


MOST_OCCURRENCES = 200
"""In a block; a text with more is searched by `bytes` from there on."""


def _lines_with(part: PlainPart, file: RecordInput) -> Iterator[bytes]:
    """
    Yield the lines of *file*, as they are written, that contain *part*, and those that refer to one of them.

    The part is in lower case; it is found in any case.
    """
    found: set[bytes] = set()
    first = -1
    for offset in _offsets_of_lines(part, file):
        file.seek(offset)
        line = file.readline(LONGEST_LINE_BYTES)
        if len(line) > MIN_RUN_BYTES and (head := _ID.match(line)):  # others refer to large lines only
            found.add(head[1])
            first = offset if first < 0 else first
        yield line
    if not found:
        return
    for offset in _offsets_of_lines(PlainPart(REFERS), file, first):
        file.seek(offset)
        line = file.readline(LONGEST_LINE_BYTES)
        if any(reference.record in found for reference in references_in(line)):
            yield line  # some for the second time


def _offsets_of_lines(part: PlainPart, file: BinaryIO, first: int = 0) -> Iterator[int]:
    """Yield the offset of each line with *part*, from the line at *first* on."""
    offset = line_start = after = first
    seam, size = b"", len(part.part)
    fd = file.fileno()
    while block := os.pread(fd, _BLOCK_BYTES, offset):
        next_from = part.in_block(block)
        if offset >= after and part.part in (seam + block[:size]).lower():
            yield line_start
            after = offset + (block.find(b"\n") + 1 or len(block))
        at = next_from(max(0, after - offset))
        while at >= 0:
            yield offset + start if (start := block.rfind(b"\n", 0, at) + 1) else line_start
            end = block.find(b"\n", at) + 1
            after = offset + (end or len(block))
            at = next_from(end) if 0 < end < len(block) else -1
        if newline := block.rfind(b"\n") + 1:
            line_start = offset + newline
        offset += len(block)
        seam = (seam + block)[-size:] if size else b""
