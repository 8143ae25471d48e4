"""
Find the traces whose names, inputs, outputs or errors contain a text.

The lines of the files are searched as they are for a part of the text that every encoding of it contains; only lines
that have it are decoded. So a search takes about as long as reading the files.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from ...storage.decoding import Json, kind_of, trace_id_of
from ...storage.histories import MIN_RUN_BYTES
from ...storage.record_input import RecordInput
from ...storage.references import REFERS, TAILS, references_in
from ..json_text import pieces
from ..source import LONGEST_LINE_BYTES, OpenObservations, lines_of, open_records

_BLOCK_BYTES = 1 << 18
"""Bytes of a file that are searched at once."""


_TRACE_ID = b'"trace_id":'
_HEAD = re.compile(rb'\{(?:"id":"[ !#-\[\]-~]+",)?"trace_id":"([ !#-\[\]-~]+)"')
"""The beginning of most lines of our own format, up to the id of the trace."""

_ID = re.compile(rb'\{"(?:id|trace_id)":"([^"\\]+)"')
"""The beginning of a line, up to the id of its record."""

_OWN_ID = b'{"id":"'

Place = tuple[str | None, str | None]
"""The day and the id of a trace; the day is None where it is not known, the id for all traces of the day."""


class Searched(NamedTuple):
    """A file to search."""

    path: Path
    end: int
    """Where the search stops: the index has the traces of all records before it."""


def in_files(text: str, days: Mapping[str, Iterable[Searched]], count: Callable[[str], int]) -> Iterator[Place]:
    """
    Yield each trace with *text* in one of its records.

    Args:
        text: Any text.
        days: The files to search, by day.
        count: Returns the number of traces of a day. If so many are found, the other files of the day are not searched.
    """
    wanted, part = text.casefold(), PlainPart(plain_part(text))
    for day, files in days.items():
        found: set[str] = set()
        # The lines of traces first: they are few, and have the inputs and outputs of the roots.
        for file in sorted(files, key=lambda file: not file.path.name.startswith("traces")):
            if found and len(found) >= count(day):
                yield day, None
                break
            _search(file, part, wanted, found)
        else:
            for trace_id in found:
                yield day, trace_id


def _search(searched: Searched, part: PlainPart, wanted: str, found: set[str]) -> None:
    """Add to *found* the ids of the traces with *wanted* in a record of a file."""
    if (file := open_records(searched.path)) is None:
        return
    with file:
        referred: set[bytes] = set()
        known, begin, end = b"", 0, 0  # the trace of the last line, and where its id is in that line
        for line in _lines_with(part, file, searched.end):
            if len(line) > MIN_RUN_BYTES and (id := _ID.match(line)):  # others refer to large lines only
                referred.add(id[1])
            if known and line[begin:end] == known and line.find(b'"', 7) == begin and line.find(_TRACE_ID, end) < 0:
                continue
            head = _search_line(file, line, wanted, found)
            if head is not None and line.startswith(_OWN_ID) and head[1].decode() in found:
                begin, end = line.find(b'"', 7), head.end()
                known = line[begin:end]
        if referred:
            for line in _lines_with(PlainPart(REFERS), file, searched.end):
                if any(reference.record in referred for reference in references_in(line)):
                    _search_line(file, line, wanted, found)


def _search_line(file: RecordInput, line: bytes, wanted: str, found: set[str]) -> re.Match[bytes] | None:
    """Search one line; return its beginning if it is a usual one."""
    head = _HEAD.match(line)
    if head is not None and line.find(_TRACE_ID, head.end()) >= 0:
        head = None
    if head is None or head[1].decode() not in found:
        for record in _searched_records(file, line):
            if contains(record, wanted):
                found.add(trace_id_of(record))
    return head


def _searched_records(file: RecordInput, line: bytes) -> list[Json]:
    """Return the records on a line whose texts are searched."""
    if not line.endswith(TAILS):
        with suppress(ValueError):  # most lines are one record without references, which takes half as long by itself
            record = orjson.loads(line)
            return [record] if _is_searched(record) else []
    found = (each.record for each, _ in file.records(line, _is_searched))
    return [record for record in found if not isinstance(record, str)]


def _is_searched(record: object) -> bool:
    return kind_of(record) in ("observation", "trace")


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
        if _is_searched(record) and contains(record, wanted):
            yield None, trace_id_of(record)


def contains(record: Json, wanted: str) -> bool:
    """Whether the name, input, output or error of a record contains *wanted*, which is case-folded."""
    for name in _SEARCHED_FIRST:  # `any` with a generator takes twice as long
        value = record.get(name)
        if value and wanted in _text(value):
            return True
    return False


def searched_text(record: Json) -> str:
    """Return the case-folded text of a record in which `contains` looks, one line per field."""
    return "\n".join(_text(value) for name in _SEARCHED if (value := record.get(name)))


_SEARCHED = ("name", "input", "output", "error")
_SEARCHED_FIRST = ("name", "error", "input", "output")
"""The same; what is text already comes first."""


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
        self._ends_in = _hyperscan_search(part) if part else None

    def lines_in(self, block: bytes, end: int) -> list[bytes]:
        """Return the lines before *end* that contain the part."""
        if self._ends_in is not None:
            ends = self._ends_in(block)
            if len(ends) > MOST_OCCURRENCES:
                self._ends_in = None
            return _lines_at([each - len(self.part) for each in ends], block, end)
        lowered = block.lower()
        if lowered.count(self.part) > MOST_OCCURRENCES:
            return [line for line in BytesIO(block[:end]) if self.part in line.lower()]
        return _lines_at(_starts(self.part, lowered), block, end)


def _hyperscan_search(part: bytes) -> Callable[[bytes], list[int]] | None:
    """Return a function that returns where *part* ends in a block, in any case; None without Hyperscan."""
    # Not `redaction.prefilter`: to import the rules of redaction takes a tenth of the time of `fluxloop list`.
    try:
        import hyperscan
    except ImportError:
        return None
    database = hyperscan.Database(mode=hyperscan.HS_MODE_BLOCK)
    try:
        expression = "".join(f"\\x{byte:02x}" for byte in part).encode()
        database.compile(expressions=[expression], ids=[0], elements=1, flags=hyperscan.HS_FLAG_CASELESS)
        scratch = hyperscan.Scratch(database)
    except hyperscan.error:  # a text longer than it supports
        return None

    def ends_in(block: bytes) -> list[int]:
        ends: list[int] = []
        database.scan(block, lambda _id, _start, end, _flags, _context: ends.append(end), 0, None, scratch)
        return ends

    return ends_in


def _starts(part: bytes, block: bytes) -> Iterator[int]:
    """Yield the positions of *part* in *block*."""
    at = block.find(part)
    while at >= 0:
        yield at
        at = block.find(part, at + 1)


def _lines_at(positions: Iterable[int], block: bytes, end: int) -> list[bytes]:
    """Return the lines before *end* with one of *positions*, which are in order."""
    lines, after = [], 0
    for at in positions:
        if after <= at < end:
            start = block.rfind(b"\n", after, at) + 1 or after
            after = block.find(b"\n", at, end) + 1 or end
            lines.append(block[start:after])
    return lines


MOST_OCCURRENCES = 200
"""In a block; a text with more is searched by `bytes` from there on, line by line."""


def _lines_with(part: PlainPart, file: RecordInput, stop: int) -> Iterator[bytes]:
    """Yield the lines before *stop* that contain *part*, which is in lower case, in any case."""
    offset, size = 0, _BLOCK_BYTES
    while block := file.at(offset, min(size, stop - offset)):
        whole = len(block) if offset + len(block) >= stop else block.rfind(b"\n") + 1
        if whole:
            yield from part.lines_in(block, whole)
            offset += whole
            size = max(_BLOCK_BYTES, min(size, 4 * whole))
        elif len(block) < size:  # the file has been truncated
            return
        elif size < LONGEST_LINE_BYTES:
            size *= 2
        else:
            lines = lines_of(file, offset)
            next(lines)  # not decoded, since it is too long
            offset, _ = next(lines, (stop, b""))
