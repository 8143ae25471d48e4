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
from .facts import NOT_OURS, Codes, TraceFacts, open_fact
from .kept import kept_of
from .new_records import NewRecords, status_of
from .row import to_columns
from .store import Store

BATCH = 20_000
"""Lines between two commits; what is kept of them is in memory."""

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
        return
    paths = {path.name: path for of_day in days.values() for path in of_day}
    with store.transaction():
        states = store.files().values()
        for day in {state.day for state in states if not state.is_continued_by(paths.get(state.name))}:
            store.forget_day(day)
    for day, of_day in days.items():
        _DayScan(store, day, of_day).run()
    with store.transaction():
        _set_open(store, journals, is_undated=[*days] == [""])


def _has_news(store: Store, days: dict[str, list[Path]]) -> bool:
    """Whether a file was added, removed or changed since the last time."""
    known = store.files()
    found = {path.name: status for of_day in days.values() for path in of_day if (status := status_of(path))}
    return known.keys() != found.keys() or not all(known[name].is_of(status) for name, status in found.items())


class _DayScan:
    """Reads what is new in the files of one day, in batches."""

    def __init__(self, store: Store, day: str, paths: Iterable[Path]) -> None:
        known = store.files()
        self._store = store
        self._codes = Codes(store.number_of)
        self._day = day
        self._files = [NewRecords(path, day, known.get(path.name)) for path in paths]
        self._changed: dict[str, TraceFacts] = {}
        """The traces with records in the batch."""
        self._carried: dict[str, TraceFacts] = {}
        """Traces that are in the index and not complete."""
        self._written: set[int] | None = None if store.has_day(day) else set()
        """The hashes of the ids that are in the index; None if they have to be looked up."""

    def run(self) -> None:
        """Read everything."""
        try:
            while not all(file.is_at_end for file in self._files):
                with self._store.transaction():
                    self._read_batch()
                    self.write_batch()
                    for file in self._files:
                        if (state := file.state()) is not None:
                            self._store.set_file(state)
        finally:
            for file in self._files:
                file.close()

    def _read_batch(self) -> None:
        """Read the same share of each file, so that the line of a trace comes with its observations."""
        leading, *others = sorted(self._files, key=lambda file: file.bytes_left, reverse=True)
        start, left = leading.offset, leading.bytes_left
        leading.read(BATCH, inf, self.add_ours, self.add)
        share = inf if leading.is_at_end else (leading.offset - start) / left
        for file in others:
            stop = file.offset + share * file.bytes_left if share < inf else inf
            file.read(BATCH, stop, self.add_ours, self.add)

    def add_ours(self, record: Json) -> bool:
        """Add an observation as our writer makes it, or return False."""
        try:
            trace_id = record["trace_id"]
            (self._changed.get(trace_id) or self._begun(trace_id)).add_ours(record, self._codes)
        except NOT_OURS:
            return False
        return True

    def _begun(self, trace_id: str) -> TraceFacts:
        facts = self._changed[trace_id] = self._carried.get(trace_id) or TraceFacts(trace_id)
        return facts

    def add(self, record: Json, kind: str) -> None:
        if kind == "score":
            return  # what is indexed does not depend on it
        trace_id = record.get("trace_id")
        if type(trace_id) is not str:
            trace_id = trace_id_of(record)
        facts = self._changed.get(trace_id) or self._begun(trace_id)
        if kind == "observation":
            facts.add_observation(record, self._codes)
        else:
            facts.add_line(record)

    def write_batch(self) -> None:
        """Write the traces that have changed, and keep those that are not complete."""
        added: list[tuple[tuple[Any, ...], bytes]] = []
        replaced: list[tuple[tuple[Any, ...], bytes]] = []
        for trace_id, facts in self._changed.items():
            if not (facts.facts or facts.has_line):
                continue  # begun by JSON that turned out not to be a record
            is_carried = trace_id in self._carried
            is_known = is_carried or self._written is None or hash(trace_id) in self._written
            if is_known and not is_carried and (earlier := self._store.facts(self._day, trace_id)):
                facts.add_earlier(earlier)
            facts.settle()
            columns = to_columns(self._day, trace_id, facts, self._store.labels, {}, {})
            (replaced if is_known else added).append((columns, facts.encoded()))
            if self._written is not None:
                self._written.add(hash(trace_id))
            if facts.is_complete or len(self._carried) >= MOST_CARRIED:
                self._carried.pop(trace_id, None)
            else:
                self._carried[trace_id] = facts
        self._store.write(added, is_new=True)
        self._store.write(replaced)
        self._changed = {}


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
        open_facts, begun = {}, Json()
        for is_alive, record in now_open.get((day, trace_id), ()):
            if (key := facts.key(str(record["id"]))) not in facts.facts:
                open_facts[key] = open_fact(facts, record, store.number_of, is_alive=is_alive)
            if isinstance(of_trace := record.get("trace"), dict):
                begun = kept_of({**record, **of_trace})
            facts.start = min(facts.start, start_text(record))
        if open_facts or facts.facts or facts.has_line:
            columns = to_columns(day, trace_id, facts, store.labels, open_facts, begun)
            store.write([(columns, facts.encoded())], is_open=bool(open_facts))
        else:
            store.remove(day, trace_id)
