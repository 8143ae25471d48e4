"""
What batches change: which records are new, which replace an older version, and what follows for traces and totals.

A store loads what it has, calls `Changes.add`, and writes the result; the decisions are the same in every store.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from itertools import repeat
from typing import Any

from ..record_rows import CRASHED, Observation, Row, Score, TraceLine, is_open, is_provisional
from .contract import Written
from .rows import TraceState
from .totals import TotalsChange

OBSERVATION = (
    "id, parent_id, type, name, status, level, start_us, duration_ms, model, input_tokens, output_tokens, tokens, "
    "cost, line"
)
"""The columns of an observation, in the order of `Observation` without its trace."""


class Changes(ABC):
    """The changes of one transaction."""

    def __init__(self) -> None:
        self.states: dict[str, TraceState] = {}
        """The traces of the batches, by id."""
        self.totals = TotalsChange()
        self.replaced: list[tuple[int, str]] = []
        """The trace and id of observations that are replaced."""
        self._added: dict[str, dict[str, Observation]] = {}
        """The observations to insert, by trace and id."""
        self._scores: dict[tuple[str, str], Score] = {}

    @abstractmethod
    def load(self, trace_ids: list[str], observations: Mapping[str, list[Observation]]) -> None:
        """Put the states of these traces in `states`, each with its number; *observations* are about to be added."""

    @abstractmethod
    def stored(self, state: TraceState, id: str) -> Observation | None:
        """Return an observation of the store."""

    @abstractmethod
    def stored_line(self, state: TraceState) -> bytes | None:
        """Return the line of a trace of the store."""

    @abstractmethod
    def stored_score(self, row: Score) -> bytes | None:
        """Return the line of a score of the store."""

    def add(self, rows: Sequence[Row]) -> Written:
        """Add a batch; return how many records are new or replace older versions, and how many are duplicates."""
        observations: dict[str, list[Observation]] = {}
        lines, scores = list[TraceLine](), list[Score]()
        for row in rows:
            if type(row) is Observation:
                of_trace = observations.get(row[0])
                if of_trace is None:
                    observations[row[0]] = [row]
                else:
                    of_trace.append(row)
            elif type(row) is TraceLine:
                lines.append(row)
            elif type(row) is Score:
                scores.append(row)
        traces = observations.keys() | {line.trace_id for line in lines}
        self.load(sorted(traces - self.states.keys()), observations)
        accepted = sum([self._add_observations(trace_id, some) for trace_id, some in observations.items()])
        accepted += sum(map(self._add_line, lines)) + sum(map(self._add_score, scores))
        for trace_id in traces:
            self.states[trace_id].settle()
        return Written(accepted, len(rows) - accepted)

    def _add_observations(self, trace_id: str, rows: list[Observation]) -> int:
        """Add observations of one trace; return how many are new or replace an older version."""
        state = self.states[trace_id]
        added = self._added.setdefault(trace_id, {})
        replaced = list[Observation]()
        by_id = {row[1]: row for row in rows}
        has_stored = state.observations > len(added)  # beside those of this transaction
        if has_stored or added or len(by_id) < len(rows):
            rows = [row for row in rows if self._is_new(row, state if has_stored else None, replaced)]
        else:
            added.update(by_id)
        state.add(rows)
        self.totals.add(rows)
        for old in replaced:
            state.remove(old)
        self.totals.add(replaced, -1)
        return len(rows)

    def _is_new(self, row: Observation, stored: TraceState | None, replaced: list[Observation]) -> bool:
        """Whether *row* is to be added; what it replaces, here or in the store's trace, is appended to *replaced*."""
        added = self._added[row.trace_id]
        old = added.get(row.id)
        if old is None and stored is not None:
            old = self.stored(stored, row.id)
        if old is not None:
            # A start, or the state of a process that died, that comes after the end of the observation changes nothing.
            if old.line == row.line or (is_provisional(row) and not is_open(old)):
                return False
            replaced.append(old)
            if stored is not None and row.id not in added:
                self.replaced.append((stored.number or 0, row.id))
        added[row.id] = row
        return True

    def _add_line(self, row: TraceLine) -> bool:
        state = self.states[row.trace_id]
        if state.has_line and (row.status == CRASHED or (state.line or self.stored_line(state)) == row.line):
            return False
        state.add_line(row)
        return True

    def _add_score(self, row: Score) -> bool:
        key = row.trace_id, row.id
        known = self._scores[key].line if key in self._scores else self.stored_score(row)
        if known == row.line:
            return False
        self._scores[key] = row
        return True

    def observations(self) -> Iterator[tuple[int, Observation]]:
        """Yield the observations to insert, each with the number of its trace."""
        for trace_id, rows in self._added.items():
            number = self.states[trace_id].number or 0
            yield from zip(repeat(number), rows.values(), strict=False)

    def score_rows(self) -> list[tuple[Any, ...]]:
        """Return the scores to insert or replace: trace, id, name, time, line."""
        return [(row.trace_id, row.id, row.name, row.time_us, row.line) for row in self._scores.values()]
