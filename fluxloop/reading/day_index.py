"""
Index the records of a day's files by trace.

One pass over the files notes the offset of every record; a trace is then read by seeking to its offsets. Lines that
begin as our writer begins them are not decoded for that: a million take about a second. The index takes some 300 bytes
per trace and 8 per record.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import BinaryIO, NamedTuple

from ..storage.decoding import (
    NO_TIME,
    NOT_A_RECORD,
    TORN,
    Json,
    decode,
    kind_of,
    records_in,
    start_text,
    trace_id_of,
)
from ..storage.record_input import RecordInput
from .source import LONGEST_LINE_BYTES, lines_of

MAX_SKIPPED = 1000
"""Skipped places remembered per day, so that a file without any record does not fill the memory."""


class Skipped(NamedTuple):
    """A place in a file that is not a record, or a path that is not a file."""

    path: Path
    line: int
    """Counted from 1; 0 for the path as a whole."""
    reason: str


class Entry:
    """The start of a trace, as far as its records show, and where they are."""

    __slots__ = ("places", "start")

    def __init__(self, start: bytes) -> None:
        self.start = start
        """As written. In our own format it sorts by time."""
        self.places = array("Q")


class DayIndex:
    """
    The records in *files*, by trace.

    ``skipped_count`` counts the places that are not records, found in the first pass or by `records`.
    """

    def __init__(self, files: Sequence[RecordInput]) -> None:
        self.skipped_count = 0
        self._files = files
        self._traces: dict[bytes, Entry] = {}
        self._lengths: dict[int, int] = {}
        """The lengths of records that share a line with something else, by place; other records end with their line."""
        self._skipped: list[tuple[int, int, str]] = []
        for number, file in enumerate(files):
            self._scan(number, file)

    def entry(self, trace_id: str, start: str) -> Entry:
        """Return the entry of a trace, added if it is new; the trace began at *start* or earlier."""
        entry = self._traces.setdefault(trace_id.encode(), Entry(_UNKNOWN))
        entry.start = min(entry.start, start.encode())
        return entry

    def in_order(self, *, newest_first: bool) -> Iterator[tuple[str, Entry]]:
        """Yield the trace ids and their entries in the order of their starts."""
        items = sorted(self._traces.items(), key=lambda item: item[1].start, reverse=newest_first)
        for key, entry in items:
            yield key.decode("utf-8", "replace"), entry

    def records_of(self, trace_id: str) -> Iterator[tuple[Json, bytes]]:
        """Read the records of one trace; none if it is not in the files."""
        entry = self._traces.get(trace_id.encode())
        return iter(()) if entry is None else self.records(entry)

    def records(self, entry: Entry) -> Iterator[tuple[Json, bytes]]:
        """Read the records of a trace in the order they were written, each with its line."""
        for place, line in self._lines(entry):
            try:
                record = decode(line)
            except ValueError:
                self._skip(place, TORN)
                continue
            if kind_of(record):
                yield record, line
            else:
                self._skip(place, NOT_A_RECORD)

    def _lines(self, entry: Entry) -> Iterator[tuple[int, bytes]]:
        files, lengths = self._files, self._lengths
        positions = [-1] * len(files)
        for place in entry.places:
            offset, number = divmod(place, len(files))
            file = files[number]
            if offset != positions[number]:  # seeking takes longer than reading the line
                file.seek(offset)
            line = file.read(lengths[place]) if place in lengths else file.readline(LONGEST_LINE_BYTES)
            positions[number] = offset + len(line)
            yield place, file.complete(line)

    def skipped(self) -> list[Skipped]:
        """Return the first `MAX_SKIPPED` places that are not records, by file and line."""
        found: list[Skipped] = []
        for number, places in groupby(sorted(self._skipped), key=lambda place: place[0]):
            file = self._files[number]
            lines = enumerate(lines_of(file), start=1)
            line, end = 0, 0
            for _, offset, reason in places:
                while offset >= end and (following := next(lines, None)):
                    line, (start, text) = following
                    end = start + len(text)
                found.append(Skipped(Path(file.name), line, reason))
        return found

    def _scan(self, number: int, file: BinaryIO) -> None:
        traces, files = self._traces, len(self._files)
        for offset, line in lines_of(file):
            head = _HEAD.match(line)
            # A second "trace_id" may belong to a record glued to a torn one, or to the user's data.
            if head and line.endswith(b"}\n") and line.find(b'"trace_id"', head.end()) < 0:
                at = line.find(b'"start_time":"', head.end())
                start = line[at + 14 : at + 41] if at > 0 else _UNKNOWN
                entry = traces.get(head[1])
                if entry is None:
                    entry = traces[head[1]] = Entry(start)
                elif start < entry.start:
                    entry.start = start
                entry.places.append(offset * files + number)
            else:
                self._scan_decoded(number, offset, line)

    def _scan_decoded(self, number: int, offset: int, line: bytes) -> None:
        for start, end, record in records_in(line):
            place = (offset + start) * len(self._files) + number
            if isinstance(record, str):
                self._skip(place, record)
                continue
            if start or end < len(line):
                self._lengths[place] = end - start
            self.entry(trace_id_of(record), start_text(record)).places.append(place)

    def _skip(self, place: int, reason: str) -> None:
        self.skipped_count += 1
        if len(self._skipped) < MAX_SKIPPED:
            offset, number = divmod(place, len(self._files))
            self._skipped.append((number, offset, reason))


_HEAD = re.compile(rb'\{"(?:id":"[^"\\]*",")?trace_id":"([^"\\]+)"')
"""The beginning of every line of our own format, up to and including the trace id."""

_UNKNOWN = NO_TIME.encode()
