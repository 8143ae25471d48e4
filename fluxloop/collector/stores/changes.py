"""
What batches change: which records are new, which replace an older version, and what follows for traces and totals.

A store loads what it has, calls `Changes.add`, and writes the result; the decisions are the same in every store.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any

from ..record_rows import CRASHED, Observation, Row, Score, TraceLine, is_open, is_provisional
from .contract import Written
from .rows import TotalsChange, TraceState

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
    def load(self, trace_ids: list[str], rows: Sequence[Row]) -> None:
        """Put the states of these traces in `states`, each with its number; *rows* are about to be added."""

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
        """Add a batch."""
        missing = {row.trace_id for row in rows if not isinstance(row, Score)} - self.states.keys()
        self.load(sorted(missing), rows)
        accepted = 0
        for row in rows:
            if type(row) is Observation:
                accepted += self._add_observation(row)
            elif type(row) is TraceLine:
                accepted += self._add_line(row)
            elif type(row) is Score:
                accepted += self._add_score(row)
        return Written(accepted, len(rows) - accepted)

    def _add_observation(self, row: Observation) -> bool:
        state = self.states[row.trace_id]
        added = self._added.setdefault(row.trace_id, {})
        old = added.get(row.id)
        if old is None and state.observations > len(added):
            old = self.stored(state, row.id)
        if old is not None:
            if old.line == row.line or (is_provisional(row) and not is_open(old)):
                return False
            self.totals.add(old, -1)
            if row.id not in added:
                self.replaced.append((state.number or 0, row.id))
        added[row.id] = row
        state.add(row, old)
        self.totals.add(row)
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

    def observation_rows(self) -> Iterator[tuple[Any, ...]]:
        """Yield the observations to insert: the number of the trace, then the columns `OBSERVATION`."""
        for trace_id, rows in self._added.items():
            number = self.states[trace_id].number
            for row in rows.values():
                yield (number, *row[1:])

    def score_rows(self) -> list[tuple[Any, ...]]:
        """Return the scores to insert or replace: trace, id, name, time, line."""
        return [(row.trace_id, row.id, row.name, row.time_us, row.line) for row in self._scores.values()]
