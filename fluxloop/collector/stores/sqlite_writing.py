"""
Write rows to the SQLite store: the statements of one transaction.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice
from typing import Any, TypeVar

from ..record_rows import Observation, Score
from .changes import OBSERVATION, Changes
from .lines import Resolve
from .rows import COLUMNS, TraceState, changed_facets
from .sqlite_words import forget_words
from .totals import TotalsChange

T = TypeVar("T")

_CHUNK = 500
"""Values in one statement."""

_MOST_VALUES = 990
"""Values that one statement inserts; SQLite before 3.32 binds no more than 999."""

_INSERT_OBSERVATION = f"INSERT INTO observations (trace, {OBSERVATION})"
_INSERT_TRACE = f"INSERT INTO traces ({', '.join(COLUMNS)}, number, line, after_observation)"
_INSERT_FACET = "INSERT OR IGNORE INTO facets"
_UPDATE_TRACE = f"UPDATE traces SET {', '.join(f'{name} = ?' for name in COLUMNS)} WHERE number = ?"
_INSERT_TOTALS = "INSERT INTO totals"
_ADD_TOTALS = """
ON CONFLICT DO UPDATE SET count = count + excluded.count, errors = errors + excluded.errors,
    input_tokens = input_tokens + excluded.input_tokens, output_tokens = output_tokens + excluded.output_tokens,
    tokens = tokens + excluded.tokens, cost = cost + excluded.cost
"""


class Writing(Changes):
    """The changes of one transaction, which the caller begins and commits."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        super().__init__()
        self._connection = connection
        self._first: int | None = None
        """The last number of a trace before this transaction; None while it is not known."""
        self._last: int | None = None
        self._last_observation = 0
        """The last number of an observation before this transaction; those of a new trace are higher."""

    def load(self, trace_ids: list[str], observations: Mapping[str, list[Observation]]) -> None:
        """Load the states of traces; a trace that is unknown gets its number now."""
        for some in chunks(trace_ids):
            sql = f"SELECT number, {', '.join(COLUMNS)} FROM traces WHERE trace_id IN ({', '.join('?' * len(some))})"
            for number, *columns in self._connection.execute(sql, some):
                self.states[columns[0]] = TraceState.of_columns(number, tuple(columns))
        for trace_id in trace_ids:
            if trace_id not in self.states:
                self.states[trace_id] = TraceState(trace_id, number=self._new_number())

    def _new_number(self) -> int:
        """Return the next number of a trace; no other writer is in its transaction."""
        if self._last is None:
            last = dict(self._connection.execute("SELECT name, seq FROM sqlite_sequence"))
            self._first = self._last = last.get("traces", 0)
            self._last_observation = last.get("observations", 0)
        self._last += 1
        return self._last

    def stored(self, state: TraceState, id: str) -> Observation | None:
        """Return an observation of the store."""
        sql = f"SELECT {OBSERVATION} FROM observations WHERE trace = ? AND id = ?"
        found = self._connection.execute(sql, (state.number, id)).fetchone()
        return None if found is None else Observation(state.trace_id, *found)

    def stored_line(self, state: TraceState) -> bytes | None:
        """Return the line of a trace of the store."""
        (line,) = self._connection.execute("SELECT line FROM traces WHERE number = ?", (state.number,)).fetchone()
        return line  # type: ignore[no-any-return]  # a BLOB

    def stored_score(self, row: Score) -> bytes | None:
        """Return the line of a score of the store."""
        sql = "SELECT line FROM scores WHERE trace_id = ? AND id = ?"
        found = self._connection.execute(sql, (row.trace_id, row.id)).fetchone()
        return None if found is None else found[0]

    def finish(self) -> None:
        """Write what the batches have changed."""
        run = self._connection.executemany
        run("DELETE FROM observations WHERE trace = ? AND id = ?", self.replaced)
        insert(self._connection, _INSERT_OBSERVATION, [(number, *row[1:]) for number, row in self.observations()])
        known, new = list[TraceState](), list[TraceState]()
        for state in self.states.values():
            is_new = self._first is not None and (state.number or 0) > self._first
            (new if is_new else known).append(state)
        before = self._last_observation
        insert(self._connection, _INSERT_TRACE, [(*state.columns(), state.number, state.line, before) for state in new])
        run(_UPDATE_TRACE, ((*state.columns(), state.number) for state in known))
        removed, added = changed_facets(self.states.values())
        run("DELETE FROM facets WHERE facet = ? AND at_us = ? AND trace = ?", removed)
        insert(self._connection, _INSERT_FACET, added)
        lines = [(state.line, state.number) for state in self.states.values() if state.line is not None]
        changed = [(state.line, state.number) for state in known if state.line is not None]
        run("UPDATE traces SET line = ? WHERE number = ?", changed)
        insert(self._connection, "INSERT OR IGNORE INTO new_words", [(-(number or 0),) for _, number in lines])
        run("INSERT OR REPLACE INTO scores VALUES (?, ?, ?, ?, ?)", self.score_rows())
        insert(self._connection, _INSERT_TOTALS, self.totals.rows(), _ADD_TOTALS)


def insert(
    connection: sqlite3.Connection, statement: str, rows: Sequence[tuple[Any, ...]], otherwise: str = ""
) -> None:
    """
    Insert *rows*, as many as possible with each execution of *statement*, which ends with *otherwise*.

    An execution costs more than the values of a row; and Python's lock is released for each of them, so that
    threads which parse other batches take it as often.
    """
    if not rows:
        return
    one = f"({', '.join('?' * len(rows[0]))})"
    at_once, first = _MOST_VALUES // len(rows[0]), 0
    while first < len(rows):
        at_once = max(1, at_once)
        last = len(rows) - (len(rows) - first) % at_once
        parts = (list(chain.from_iterable(rows[at : at + at_once])) for at in range(first, last, at_once))
        connection.executemany(f"{statement} VALUES {', '.join([one] * at_once)} {otherwise}", parts)
        first, at_once = last, at_once // 4


def delete_traces(connection: sqlite3.Connection, numbers: Iterable[int], resolve: Resolve) -> int:
    """Delete traces with all their records, and return their number."""
    count = 0
    totals = TotalsChange()
    for number in numbers:
        found = connection.execute(
            "SELECT trace_id, start_us, facets FROM traces WHERE number = ?", (number,)
        ).fetchone()
        if found is None:
            continue
        state_id, start_us, facets = found
        forget_words(connection, number, resolve)
        rows = connection.execute(f"SELECT {OBSERVATION} FROM observations WHERE trace = ?", (number,))
        totals.add((Observation(state_id, *columns) for columns in rows), -1)
        connection.execute("DELETE FROM observations WHERE trace = ?", (number,))
        connection.execute("DELETE FROM scores WHERE trace_id = ?", (state_id,))
        connection.execute(
            "DELETE FROM facets WHERE at_us = ? AND trace = ? AND facet IN (SELECT value FROM json_each(?))",
            (start_us, number, facets),
        )
        connection.execute("DELETE FROM new_words WHERE number = ?", (-number,))
        connection.execute("DELETE FROM traces WHERE number = ?", (number,))
        count += 1
    insert(connection, _INSERT_TOTALS, totals.rows(), _ADD_TOTALS)
    connection.execute("DELETE FROM totals WHERE count <= 0")
    return count


def chunks(values: Iterable[T], size: int = _CHUNK) -> Iterator[list[Any]]:
    """Yield *values* in lists of up to *size*."""
    rest = iter(values)
    while some := list(islice(rest, size)):
        yield some
