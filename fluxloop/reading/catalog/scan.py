"""
Bring an index up to date: read what is new in the record files and the journals.

Each batch is committed together with how far the files have been read, so that a scan that is stopped goes on there.
A file that was truncated, replaced or removed makes its day be read again.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import inf
from pathlib import Path
from typing import Any

from ...storage.decoding import Json, kind_of, start_text, trace_id_of
from ..source import OpenObservations, Source, start_of
from .facts import Codes, TraceFacts, open_fact
from .kept import kept_of
from .new_records import FileState, NewRecords, Typed, status_of, typed_lines
from .row import to_columns
from .store import Store

BATCH = 2_000
"""Lines that are read before their traces are written; more would not fit in the caches of a processor."""

BATCHES = 20
"""Batches between two commits."""

LONG_BYTES = 4 << 20
"""New bytes from which it pays to import msgspec."""

MOST_CARRIED = 10_000
"""Incomplete traces that stay in memory between two batches, as more of their records will follow."""


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
    if not journals and not store.open_traces() and not _has_news(store, days):
        store.add_indexes()
        return
    paths = {path.name: path for of_day in days.values() for path in of_day}
    with store.transaction():
        states = store.files().values()
        for day in {state.day for state in states if not state.is_continued_by(paths.get(state.name))}:
            store.forget_day(day)
    typed = typed_lines() if _new_bytes(store.files(), paths.values()) >= LONG_BYTES else None
    for day, of_day in days.items():
        while not _DayScan(store, day, of_day, typed).run():
            pass  # another process has read some of it
    store.add_indexes()
    with store.transaction():
        _set_open(store, journals, is_undated=[*days] == [""])


def _has_news(store: Store, days: dict[str, list[Path]]) -> bool:
    """Whether a file was added, removed or changed since the last time."""
    known = store.files()
    found = {path.name: status for of_day in days.values() for path in of_day if (status := status_of(path))}
    return known.keys() != found.keys() or not all(known[name].is_of(status) for name, status in found.items())


def _new_bytes(known: dict[str, FileState], paths: Iterable[Path]) -> int:
    """Return about how many bytes have not been read."""
    offsets = {name: state.offset for name, state in known.items()}
    return sum(status.st_size - offsets.get(path.name, 0) for path in paths if (status := status_of(path)))


class _DayScan:
    """Reads what is new in the files of one day, in batches."""

    def __init__(self, store: Store, day: str, paths: Iterable[Path], typed: Typed | None = None) -> None:
        self._version = store.data_version()
        known = store.files()
        self._store = store
        self._codes = Codes(store.number_of)
        self._day = day
        self._files = [NewRecords(path, day, known.get(path.name), typed) for path in paths]
        self._carried: dict[str, TraceFacts] = {}
        """Traces that are in the index and not complete."""
        self._changed = _Changed(self._carried)
        self._written: set[int] | None = None if store.has_day(day) else set()
        """The hashes of the ids that are in the index; None if they have to be looked up."""

    def run(self) -> bool:
        """Read everything; return False if another process changes the index meanwhile."""
        try:
            while not all(file.is_at_end for file in self._files):
                with self._store.transaction():
                    if self._store.data_version() != self._version:
                        return False
                    for _ in range(BATCHES):
                        self._read_batch()
                        self.write_batch()
                    for file in self._files:
                        if (state := file.state()) is not None:
                            self._store.set_file(state)
            return True
        finally:
            for file in self._files:
                file.close()

    def _read_batch(self) -> None:
        """Read the same share of each file, so that the line of a trace comes with its observations."""
        leading, *others = sorted(self._files, key=lambda file: file.bytes_left, reverse=True)
        start, left = leading.offset, leading.bytes_left
        leading.read(BATCH, inf, self._changed, self._codes, self.add)
        share = inf if leading.is_at_end else (leading.offset - start) / left
        for file in others:
            stop = file.offset + share * file.bytes_left if share < inf else inf
            file.read(BATCH, stop, self._changed, self._codes, self.add)

    def add(self, record: Json, kind: str) -> None:
        if kind == "score":
            return  # what is indexed does not depend on it
        trace_id = record.get("trace_id")
        if type(trace_id) is not str:
            trace_id = trace_id_of(record)
        facts = self._changed[trace_id]
        if kind == "observation":
            facts.add_observation(record, self._codes)
        else:
            facts.add_line(record)

    def write_batch(self) -> None:
        """Write the traces that have changed, and keep those that are not complete."""
        rows: list[tuple[TraceFacts, tuple[Any, ...]]] = []
        labels, written, carried = self._store.labels, self._written, self._carried
        for trace_id, facts in self._changed.items():
            if facts.is_empty:
                continue  # begun by JSON that turned out not to be a record
            is_known = facts.number is not None or (written is not None and hash(trace_id) not in written)
            if not is_known and (earlier := self._store.facts(self._day, trace_id)):
                facts.add_earlier(earlier)
            facts.settle()
            rows.append((facts, to_columns(self._day, trace_id, facts, labels, {}, {})))
            if written is not None:
                written.add(hash(trace_id))
            if facts.is_complete or len(carried) >= MOST_CARRIED:
                carried.pop(trace_id, None)
            else:
                carried[trace_id] = facts
        self._store.write(rows)
        self._changed.clear()


class _Changed(dict[str, TraceFacts]):
    """The traces with records in a batch, by id; one that is missing is carried, or begins."""

    def __init__(self, carried: dict[str, TraceFacts]) -> None:
        self._carried = carried

    def __missing__(self, trace_id: str) -> TraceFacts:
        facts = self[trace_id] = self._carried.get(trace_id) or TraceFacts(trace_id)
        return facts


def add_records(store: Store, records: Iterable[Json]) -> None:
    """Add *records* that are not in files, without a day, to an empty index."""
    scan = _DayScan(store, "", ())
    for record in records:
        if kind := kind_of(record):
            scan.add(record, kind)
    scan.write_batch()


def _set_open(store: Store, journals: dict[str, OpenObservations], *, is_undated: bool) -> None:
    """Add what the journals list as open to the rows of its traces, and remove what they no longer list."""
    now_open = {
        ("" if is_undated else start_of(found)[:10].replace("-", ""), trace_id): found
        for trace_id, found in journals.items()
    }
    for day, trace_id in {*store.open_traces(), *now_open}:
        facts = store.facts(day, trace_id) or TraceFacts(trace_id)
        known = {row[0] for row in facts.rows}
        open_facts, begun = {}, Json()
        for is_alive, record in now_open.get((day, trace_id), ()):
            if (id := str(record["id"])) not in known:
                open_facts[id] = open_fact(record, store.number_of, is_alive=is_alive)
            if isinstance(of_trace := record.get("trace"), dict):
                begun = kept_of({**record, **of_trace})
            facts.start = min(facts.start, start_text(record))
        if open_facts or not facts.is_empty:
            columns = to_columns(day, trace_id, facts, store.labels, open_facts, begun)
            store.write([(facts, columns)], is_open=bool(open_facts))
        else:
            store.remove(day, trace_id)
