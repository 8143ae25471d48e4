"""
Know where in a day's files the records of each trace are.

One pass over the files notes the offset of every record; a trace is then read by going to its
offsets. Lines with the fixed beginning that we write are not decoded for that: a million take
about a second. The index takes some 300 bytes a trace and 8 a record.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple

from ..storage.decoding import TORN, Json, records_in
from .assembly import NO_TIME, start_text, trace_id_of

MOST_SKIPPED = 1000
"""Places remembered a day; a file that holds no records at all must not fill the memory."""


class Skipped(NamedTuple):
    """A place that could not be read as a record."""

    path: Path
    line: int
    """Counted from 1."""
    reason: str


class Entry:
    """When a trace began, as far as its records tell, and where they are."""

    __slots__ = ("places", "start")

    def __init__(self, start: bytes) -> None:
        self.start = start
        """As written, which for our times sorts by time."""
        self.places = array("Q")


class DayIndex:
    """
    The records in *files*, by trace.

    ``lost`` counts the places that could not be read, in the first pass or by `records`.
    """

    def __init__(self, files: Sequence[BinaryIO]) -> None:
        self.lost = 0
        self._files = files
        self._traces: dict[bytes, Entry] = {}
        self._lost: list[tuple[int, int, str]] = []
        for number, file in enumerate(files):
            self._scan(number, file)

    def entry(self, trace_id: str, start: str) -> Entry:
        """Return the trace's entry, made if need be, knowing now that it began no later than *start*."""
        entry = self._traces.setdefault(trace_id.encode(), Entry(_UNKNOWN))
        entry.start = min(entry.start, start.encode())
        return entry

    def in_order(self, *, newest_first: bool) -> Iterator[tuple[str, Entry]]:
        """Yield the trace ids and their entries by the time they began."""
        items = sorted(self._traces.items(), key=lambda item: item[1].start)
        for key, entry in reversed(items) if newest_first else items:
            yield key.decode("utf-8", "replace"), entry

    def records(self, entry: Entry) -> Iterator[Json]:
        """Read the records of a trace, in the order they were written."""
        for place in entry.places:
            offset, number = divmod(place, len(self._files))
            file = self._files[number]
            file.seek(offset)
            at, record = next(records_in(file.readline()), (0, TORN))
            if at == 0 and not isinstance(record, str):
                yield record
            else:
                self._lose(number, offset, record if isinstance(record, str) else TORN)

    def skipped(self) -> list[Skipped]:
        """Return the first `MOST_SKIPPED` places that could not be read, by file and line."""
        found: list[Skipped] = []
        for wanted, file in enumerate(self._files):
            line = 1
            file.seek(0)
            for number, offset, reason in sorted(self._lost):
                if number == wanted:
                    line += _count_lines(file, offset)
                    found.append(Skipped(Path(file.name), line, reason))
        return found

    def _scan(self, number: int, file: BinaryIO) -> None:
        traces, files, offset = self._traces, len(self._files), 0
        for line in file:
            head = _HEAD.match(line)
            # A second "trace_id" may be a record glued to a torn one, or the user's data: the slow way tells.
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
                self._scan_slowly(number, offset, line)
            offset += len(line)

    def _scan_slowly(self, number: int, offset: int, line: bytes) -> None:
        for at, record in records_in(line):
            if isinstance(record, str):
                self._lose(number, offset + at, record)
            else:
                entry = self.entry(trace_id_of(record), start_text(record))
                entry.places.append((offset + at) * len(self._files) + number)

    def _lose(self, number: int, offset: int, reason: str) -> None:
        self.lost += 1
        if len(self._lost) < MOST_SKIPPED:
            self._lost.append((number, offset, reason))


_HEAD = re.compile(rb'\{"(?:id":"[^"\\]*",")?trace_id":"([^"\\]+)"')
"""What every line of ours begins with, up to and with the trace's id."""

_UNKNOWN = NO_TIME.encode()


def _count_lines(file: BinaryIO, end: int) -> int:
    """Count the line ends from where *file* is to the offset *end*, and leave it there."""
    count = 0
    while (left := end - file.tell()) > 0 and (piece := file.read(min(left, 1 << 20))):
        count += piece.count(b"\n")
    return count
