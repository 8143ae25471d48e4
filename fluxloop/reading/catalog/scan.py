"""
Bring an index up to date: read what is new in the record files and the journals.

Each batch is committed together with how far the files have been read, so that a scan that is stopped goes on there.
A file that was truncated, replaced or removed makes its day be read again.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from math import inf
from pathlib import Path
from typing import BinaryIO

import orjson

from ...storage.decoding import Json, kind_of, records_in, start_text, trace_id_of
from ..source import OpenObservations, Source, lines_of, open_records, start_of
from .facts import TraceFacts, kept, open_fact
from .row import to_columns
from .store import FileState, Store

BATCH = 20_000
"""Records between two commits; their facts are in memory."""

MOST_CARRIED = 10_000
"""Facts of traces without a line that stay in memory between two batches, as more of their records will follow."""

_BEFORE_BYTES = 64
"""Bytes before the offset by which a file is recognized."""


def refresh(store: Store, source: Source) -> None:
    """
    Read everything that is new.

    Raises:
        ReadError: If a file cannot be opened.
        sqlite3.Error: If the index cannot be written.
    """
    # Journals before files, as in `TraceReader`: what ends in between is found in both, and never missed.
    journals = source.whole().open_observations()
    days = source.whole().days()
    known = store.files()
    found = {path.name: (day, state) for day, paths in days.items() for path in paths if (state := _stat(path))}
    is_changed = found.keys() != known.keys() or any(
        (known[name].inode, known[name].size, known[name].mtime_ns) != (state.st_ino, state.st_size, state.st_mtime_ns)
        for name, (_, state) in found.items()
    )
    if not is_changed and not journals and not store.open_traces():
        return
    with store.transaction():
        for day in _outdated_days(store, source, days):
            store.forget_day(day)
    for day, paths in days.items():
        _DayScan(store, day, paths).run()
    with store.transaction():
        _set_open(store, journals, is_undated=[*days] == [""])


def _set_open(store: Store, journals: dict[str, OpenObservations], *, is_undated: bool) -> None:
    """Add what the journals list as open to the rows of its traces, and remove what they list no more."""
    now_open = {("" if is_undated else start_of(found)[:10].replace("-", ""), id): found for id, found in journals.items()}
    for day, trace_id in {*store.open_traces(), *now_open}:
        earlier = store.facts(day, trace_id)
        facts = earlier or TraceFacts()
        open_facts, begun = {}, Json()
        for is_alive, record in now_open.get((day, trace_id), ()):
            if (id := str(record["id"])) not in facts.facts:
                open_facts[id] = open_fact(record, store.number_of, is_alive=is_alive)
            if isinstance(of_trace := record.get("trace"), dict):
                begun = kept({**record, **of_trace})
            facts.start = min(filter(None, (facts.start, start_text(record))))
        if open_facts or facts.facts or facts.has_line:
            columns = to_columns(day, trace_id, facts, store.labels, open_facts, begun)
            if earlier is not None or not store.insert(columns, facts.encoded(), is_open=True):
                store.replace(columns, facts.encoded(), is_open=bool(open_facts))
        elif earlier is not None:
            store.remove(day, trace_id)


def _outdated_days(store: Store, source: Source, days: dict[str, list[Path]]) -> set[str]:
    """Return the days that have a file which no longer holds what was read from it."""
    paths = {path.name: path for of_day in days.values() for path in of_day}
    return {state.day for state in store.files().values() if not _continues(paths.get(state.name), state)}


def _continues(path: Path | None, state: FileState) -> bool:
    """Whether the file still begins with what was read."""
    status = _stat(path) if path is not None else None
    if path is None or status is None or status.st_ino != state.inode or status.st_size < state.offset:
        return False
    if (status.st_size, status.st_mtime_ns) == (state.size, state.mtime_ns):
        return True
    file = open_records(path)
    if file is None:
        return False
    with file:
        return _bytes_before(file, state.offset) == state.before


def _stat(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except OSError:
        return None


def _bytes_before(file: BinaryIO, offset: int) -> bytes:
    start = max(0, offset - _BEFORE_BYTES)
    file.seek(start)
    return file.read(offset - start)


class _File:
    """A record file that is being read on from where it was left."""

    def __init__(self, path: Path, day: str, known: FileState | None) -> None:
        self.path = path
        self.day = day
        self.file = open_records(path)
        self.offset = known.offset if known else 0
        self.skipped = known.skipped if known else 0
        self.is_at_end = self.file is None
        if self.file is not None:
            self.status = os.fstat(self.file.fileno())
            self.is_at_end = known is not None and known.size == self.status.st_size and known.offset == known.size

    def left(self) -> int:
        """Return about how many bytes are left."""
        return max(0, self.status.st_size - self.offset)

    def records(self, count: int, stop: float) -> Iterator[Json]:
        """Yield the next records, of *count* lines at most, and of lines that begin before the offset *stop*."""
        assert self.file is not None
        for offset, line in lines_of(self.file, self.offset):
            self.offset = offset
            if count == 0 or offset >= stop:
                return
            count -= 1
            if line.startswith(b'{"') and line.endswith(b"}\n"):
                try:
                    record = orjson.loads(line)
                except ValueError:
                    pass
                else:
                    if kind_of(record):
                        self.offset = offset + len(line)
                        yield record
                        continue
            yield from self._damaged(offset, line)
        self.is_at_end = True

    def _damaged(self, offset: int, line: bytes) -> Iterator[Json]:
        """Yield the records of a line that is not a record of our writer."""
        found = list(records_in(line))
        is_unfinished = not line.endswith(b"\n") and offset + len(line) >= self.status.st_size
        if is_unfinished and any(isinstance(part.record, str) for part in found):
            return  # it is still being written; it is read when there is more
        self.offset = offset + len(line)
        for part in found:
            if isinstance(part.record, str):
                self.skipped += 1
            else:
                yield part.record

    def state(self) -> FileState | None:
        """Return how far the file has been read."""
        if self.file is None:
            return None
        before = _bytes_before(self.file, self.offset)
        return FileState(
            self.path.name,
            self.day,
            self.status.st_ino,
            self.status.st_size if self.is_at_end else -1,
            self.status.st_mtime_ns,
            self.offset,
            before,
            self.skipped,
        )


class _DayScan:
    """Reads what is new in the files of one day, in batches."""

    def __init__(self, store: Store, day: str, paths: list[Path]) -> None:
        known = store.files()
        self._store = store
        self._day = day
        self._files = [_File(path, day, known.get(path.name)) for path in paths]
        self._changed: dict[str, TraceFacts] = {}
        """The traces of which the batch has records."""
        self._carried: dict[str, TraceFacts] = {}
        """Traces that are in the index, and of which more records are expected."""

    def run(self) -> None:
        """Read everything, in batches."""
        try:
            while not all(file.is_at_end for file in self._files):
                with self._store.transaction():
                    self._read()
                    self._write()
                    for file in self._files:
                        if (state := file.state()) is not None:
                            self._store.set_file(state)
        finally:
            for file in self._files:
                if file.file is not None:
                    file.file.close()

    def _read(self) -> None:
        """Read the next batch: of each file the same share, so that a trace's line comes with its observations."""
        leading, *others = sorted((f for f in self._files if not f.is_at_end), key=_File.left, reverse=True)
        starts = {file.path: (file.offset, file.left()) for file in self._files}
        for record in leading.records(BATCH, inf):
            self._add(record)
        start, left = starts[leading.path]
        share = 1.0 if leading.is_at_end or not left else (leading.offset - start) / left
        for file in others:
            start, left = starts[file.path]
            for record in file.records(2 * BATCH, start + share * left if share < 1 else inf):
                self._add(record)

    def _add(self, record: Json) -> None:
        trace_id = trace_id_of(record)
        facts = self._changed.get(trace_id)
        if facts is None:
            facts = self._changed[trace_id] = self._carried.get(trace_id) or TraceFacts()
        if "parent_id" in record or kind_of(record) == "observation":
            facts.add_observation(record, self._store.number_of)
        else:
            facts.add_line(record)

    def _write(self) -> None:
        """Write the traces that have changed, and keep those that are not complete."""
        for trace_id, facts in self._changed.items():
            self._write_trace(trace_id, facts)
            if facts.is_complete or len(self._carried) >= MOST_CARRIED:
                self._carried.pop(trace_id, None)
            else:
                self._carried[trace_id] = facts
        self._changed = {}

    def _write_trace(self, trace_id: str, facts: TraceFacts) -> None:
        store, labels = self._store, self._store.labels
        facts.settle()
        if trace_id not in self._carried:
            if store.insert(to_columns(self._day, trace_id, facts, labels, {}, {}), facts.encoded(), is_open=False):
                return
            if (earlier := store.facts(self._day, trace_id)) is not None:
                facts.add_earlier(earlier)
        store.replace(to_columns(self._day, trace_id, facts, labels, {}, {}), facts.encoded(), is_open=False)
