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

from ..storage.record_input import RecordInput

CHUNK_BYTES = 1 << 18
"""Bytes that are read at a time."""

MOST_WAITING_BYTES = 64 << 20
"""Bytes of records that wait for their row. More means that the rows are in another order."""

_OBSERVATIONS = re.compile(rb'\n\{"id":"[^"\\\n]*","trace_id":"([^"\\\n]+)","parent_id":(null)?')
_TRACES = re.compile(rb'\n\{"trace_id":"([^"\\\n]+)"(,)')
"""The beginnings of the lines that the runner writes: the id of the trace, and whether it is a root."""


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

    def __init__(self, observations: RecordInput, traces: RecordInput, late: frozenset[bytes]) -> None:
        self.late = late
        self._files = observations, traces
        self._observations, self._traces = _chunks(observations), _chunks(traces)
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
        self._bytes -= sum(map(len, lines)) + len(lines) + (len(trace) + 1 if trace else 0)
        of_observations, of_traces = self._files
        return Lines(list(map(of_observations.complete, lines)), trace and of_traces.complete(trace))

    def _read_observations(self) -> bool:
        waiting, late = self._waiting, self.late
        chunk = self._next(self._observations)
        for line, (key, is_root) in zip(chunk.split(b"\n")[1:], _OBSERVATIONS.findall(chunk), strict=False):
            if key in late:
                self._bytes -= len(line) + 1
                continue
            found = waiting.get(key)
            if found is None:
                found = waiting[key] = []
            found.append(line)
            if is_root:
                self._complete[key] = waiting.pop(key)
        self._bytes += len(chunk)
        return bool(chunk)

    def _read_traces(self) -> bool:
        chunk = self._next(self._traces)
        for line, (key, _) in zip(chunk.split(b"\n")[1:], _TRACES.findall(chunk), strict=False):
            if key in self.late:
                self._bytes -= len(line) + 1
            else:
                self._trace_lines[key] = line
        self._bytes += len(chunk)
        return bool(chunk)

    def _next(self, chunks: Iterator[bytes]) -> bytes:
        if self._bytes > MOST_WAITING_BYTES:
            raise OutOfOrder
        return next(chunks, b"")


def stream_of(paths: list[Path], files: list[RecordInput]) -> RecordStream | None:
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
    for chunk in _chunks(observations):
        found = _OBSERVATIONS.findall(chunk)
        if not _is_whole(chunk, len(found)):
            return None
        for key, is_root in found:
            if is_root:
                roots += 1
                without_root.discard(key)
            else:
                without_root.add(key)
    for chunk in _chunks(traces):
        count = len(_TRACES.findall(chunk))
        if not _is_whole(chunk, count):
            return None
        roots -= count
    return None if roots else frozenset(without_root)


def _is_whole(chunk: bytes, count: int) -> bool:
    """Whether each line of *chunk* is one record: *count* of them begin as the runner writes them."""
    lines = chunk.count(b"\n")  # each line begins with one
    ends = chunk.count(b"}\n") + chunk.endswith(b"}")
    return count == lines == ends == chunk.count(b'"trace_id"')


def _chunks(file: BinaryIO) -> Iterator[bytes]:
    """Yield whole lines, many at a time, each with a line feed before it and none after it."""
    rest = b""
    position = 0
    while True:
        file.seek(position)  # both passes may be under way
        piece = file.read(CHUNK_BYTES)
        if not piece:
            break
        position += len(piece)
        whole, feed, following = piece.rpartition(b"\n")
        if feed:
            yield b"\n" + rest + whole
            rest = following
        else:
            rest += piece
    if rest:
        yield b"\n" + rest
