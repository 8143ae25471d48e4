"""
Read the records of runs in the order of their rows, in one pass over the files of an experiment.

The runner writes the root of a trace after everything in it, and the row of the run after that. So the records of a run
are complete when its root was read, and memory holds those of the runs that were under way at the same time. Traces for
which that does not hold, and files that something else wrote, are left to an index of all records.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from struct import Struct, error
from typing import BinaryIO, NamedTuple

from ..storage.record_input import RecordInput

CHUNK_BYTES = 1 << 16
"""Bytes that are read at a time."""

MOST_WAITING_BYTES = 64 << 20
"""Bytes of records that wait for their row. More means that the rows are in another order."""

_OBSERVATION = re.compile(rb'\{"id":"[^"\\]*","trace_id":"([^"\\]+)","parent_id":(null|")')
_TRACE = re.compile(rb'\{"trace_id":"([^"\\]+)",')
"""The beginnings of the lines that the runner writes: the id of the trace, and whether it is a root."""

_OBSERVATION_OF_UUIDS = Struct("7s36s14s36s14s4s").unpack_from
_TRACE_OF_UUID = Struct("13s36s2s").unpack_from
"""The same where the ids are UUIDs as text, as most are; several times as fast."""


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
        if not chunk:
            return False
        lines = chunk.split(b"\n")
        for line, key, parent in zip(lines, *(_heads(lines) or ((), ())), strict=False):
            found = waiting.get(key)
            if found is None:
                if key in late:
                    self._bytes -= len(line) + 1
                    continue
                found = waiting[key] = []
            found.append(line)
            if parent == _ROOT:
                self._complete[key] = waiting.pop(key)
        self._bytes += len(chunk) + 1
        return True

    def _read_traces(self) -> bool:
        chunk = self._next(self._traces)
        if not chunk:
            return False
        lines = chunk.split(b"\n")
        for line, key in zip(lines, _trace_keys(lines) or (), strict=False):
            if key in self.late:
                self._bytes -= len(line) + 1
            else:
                self._trace_lines[key] = line
        self._bytes += len(chunk) + 1
        return True

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
        lines = chunk.split(b"\n")
        heads = _heads(lines)
        if heads is None or not _is_whole(chunk, lines):
            return None
        keys, parents = heads
        roots += parents.count(_ROOT)
        for key, parent in dict(zip(keys, parents, strict=True)).items():  # the last line of each trace
            if parent == _ROOT:
                without_root.discard(key)
            else:
                without_root.add(key)
    for chunk in _chunks(traces):
        lines = chunk.split(b"\n")
        if _trace_keys(lines) is None or not _is_whole(chunk, lines):
            return None
        roots -= len(lines)
    return None if roots else frozenset(without_root)


_ROOT = b"null"


def _heads(lines: Sequence[bytes]) -> tuple[Sequence[bytes], Sequence[bytes]] | None:
    """Return the trace of each observation, and `_ROOT` for those without parent; None if a line has another form."""
    try:
        # A list: of an iterator without length, `zip(*...)` would leave one more unused tuple in memory with each call.
        starts, ids, befores, keys, afters, parents = zip(*[*map(_OBSERVATION_OF_UUIDS, lines)], strict=True)
    except error:  # a line is shorter
        pass
    else:
        is_known = {*starts, *befores, *afters} == _AROUND_IDS and all(
            parent == _ROOT or parent[:1] == b'"' for parent in {*parents}
        )
        if is_known and _are_plain(ids) and _are_plain(keys):
            return keys, parents
    found = [match for line in lines if (match := _OBSERVATION.match(line))]
    return ([match[1] for match in found], [match[2] for match in found]) if len(found) == len(lines) else None


_AROUND_IDS = {b'{"id":"', b'","trace_id":"', b'","parent_id":'}


def _trace_keys(lines: Sequence[bytes]) -> Sequence[bytes] | None:
    """Return the id of each trace; None if a line has another form."""
    try:
        starts, keys, afters = zip(*[*map(_TRACE_OF_UUID, lines)], strict=True)
    except error:  # a line is shorter
        pass
    else:
        if {*starts, *afters} == _AROUND_TRACE_ID and _are_plain(keys):
            return keys
    found = [match[1] for line in lines if (match := _TRACE.match(line))]
    return found if len(found) == len(lines) else None


_AROUND_TRACE_ID = {b'{"trace_id":"', b'",'}


def _are_plain(ids: Sequence[bytes]) -> bool:
    """Whether none of *ids* has a quote or an escape in it."""
    together = b"".join(ids)
    return b'"' not in together and b"\\" not in together


def _is_whole(chunk: bytes, lines: Sequence[bytes]) -> bool:
    """Whether each of *lines*, which *chunk* consists of, is one record from its beginning to its end."""
    return {line[-1:] for line in lines} == {b"}"} and chunk.count(b'"trace_id"') == len(lines)


def _chunks(file: BinaryIO) -> Iterator[bytes]:
    """Yield whole lines, many at a time, with line feeds between them."""
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
            yield rest + whole
            rest = following
        else:
            rest += piece
    if rest:
        yield rest
