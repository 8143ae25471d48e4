"""
Read the records of runs in the order of their rows, in one pass over the files of an experiment.

The runner writes the root of a trace after everything in it, and the row of the run after that. So the records of a run
are complete when its root was read, and memory holds those of the runs that were under way at the same time. Traces for
which that does not hold, and files that something else wrote, are left to an index of all records.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

CHUNK_BYTES = 1 << 20
"""Bytes that are read at a time."""

MOST_WAITING_BYTES = 64 << 20
"""Bytes of records that wait for their row. More means that the rows are in another order."""

_OBSERVATION = re.compile(rb'\{"id":"[^"\\]*","trace_id":"([^"\\]+)","parent_id":(null)?')
_TRACE = re.compile(rb'\{"trace_id":"([^"\\]+)"')
"""The beginnings of the lines that the runner writes."""


class Lines(NamedTuple):
    """The records of a trace, as lines without line feeds."""

    observations: list[bytes]
    trace: bytes | None


class OutOfOrder(Exception):
    """The rows are not in the order of the records."""


class RecordStream:
    """
    The records in the files of an experiment.

    Args:
        observations: The file of the observations.
        traces: The file of the traces.
        late: Traces with records after their root, which `take` does not return.
    """

    def __init__(self, observations: BinaryIO, traces: BinaryIO, late: frozenset[bytes]) -> None:
        self.late = late
        self._observations, self._traces = _lines_of(observations), _lines_of(traces)
        self._waiting: dict[bytes, list[bytes]] = {}
        self._complete: dict[bytes, list[bytes]] = {}
        self._trace_lines: dict[bytes, bytes] = {}
        self._bytes = 0

    def take(self, trace_id: bytes) -> Lines:
        """
        Return the records of a trace, once; no records if there are none.

        Raises:
            OutOfOrder: If too many other records had to be kept meanwhile.
        """
        while trace_id not in self._complete and self._read_observations():
            pass
        while trace_id not in self._trace_lines and self._read_traces():
            pass
        lines, trace = self._complete.pop(trace_id, []), self._trace_lines.pop(trace_id, None)
        self._bytes -= sum(map(len, lines)) + (len(trace) if trace else 0)
        return Lines(lines, trace)

    def _read_observations(self) -> bool:
        waiting, late = self._waiting, self.late
        lines = self._next(self._observations)
        for line in lines:
            head = _OBSERVATION.match(line)
            if head is None or head[1] in late:
                continue
            self._bytes += len(line)
            found = waiting.get(head[1])
            if found is None:
                found = waiting[head[1]] = []
            found.append(line)
            if head[2]:
                self._complete[head[1]] = waiting.pop(head[1])
        return bool(lines)

    def _read_traces(self) -> bool:
        lines = self._next(self._traces)
        for line in lines:
            head = _TRACE.match(line)
            if head is not None and head[1] not in self.late:
                self._bytes += len(line)
                self._trace_lines[head[1]] = line
        return bool(lines)

    def _next(self, lines: Iterator[list[bytes]]) -> list[bytes]:
        if self._bytes > MOST_WAITING_BYTES:
            raise OutOfOrder
        return next(lines, [])


def stream_of(paths: list[Path], files: list[BinaryIO]) -> RecordStream | None:
    """
    Return the stream of *files*, which are those at *paths*; None if the runner did not write every line of them.
    """
    by_name = {path.name: file for path, file in zip(paths, files, strict=True)}
    if by_name.keys() != {"observations.jsonl", "traces.jsonl"}:
        return None
    observations, traces = by_name["observations.jsonl"], by_name["traces.jsonl"]
    late = _late(observations, traces)
    return None if late is None else RecordStream(observations, traces, late)


def _late(observations: BinaryIO, traces: BinaryIO) -> frozenset[bytes] | None:
    """Return the traces that have records after their root, or no root; None if lines have another form."""
    without_root: set[bytes] = set()
    roots = 0
    for lines in _lines_of(observations):
        for line in lines:
            head = _OBSERVATION.match(line)
            if head is None or line[-1] != _BRACE or line.find(b'"trace_id"', head.end()) > 0:
                return None  # torn, of other programs, or two records on one line
            if head[2]:
                roots += 1
                without_root.discard(head[1])
            else:
                without_root.add(head[1])
    for lines in _lines_of(traces):
        for line in lines:
            head = _TRACE.match(line)
            if head is None or line[-1] != _BRACE or line.find(b'"trace_id"', head.end()) > 0:
                return None
            roots -= 1
    return None if roots else frozenset(without_root)


_BRACE = ord("}")


def _lines_of(file: BinaryIO) -> Iterator[list[bytes]]:
    """Yield the lines of *file* in lists; an incomplete last line counts as one."""
    file.seek(0)
    rest = b""
    position = 0
    while True:
        file.seek(position)  # both passes may be under way
        chunk = file.read(CHUNK_BYTES)
        if not chunk:
            break
        position += len(chunk)
        lines = (rest + chunk).split(b"\n") if b"\n" in chunk else [rest + chunk]
        rest = lines.pop()
        if lines:
            yield lines
    if rest:
        yield [rest]
