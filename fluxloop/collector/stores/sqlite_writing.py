"""
Write rows to the SQLite store: the statements of one transaction.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, TypeVar

from ..records import Observation, Row, Score, TraceLine, is_open
from .contract import Written
from .lines import Resolve
from .rows import COLUMNS, TotalsChange, TraceState, changed_facets
from .sqlite_words import forget_words

T = TypeVar("T")

_CHUNK = 500
"""Values in one statement."""

OBSERVATION = (
    "id, parent_id, type, name, status, level, start_us, duration_ms, model, input_tokens, output_tokens, tokens, cost, "
    "line"
)
"""The columns of an observation, in the order of `Observation` without its trace."""

_INSERT_OBSERVATION = f"INSERT INTO observations (trace, {OBSERVATION}) VALUES ({', '.join('?' * 15)})"
_INSERT_TRACE = f"INSERT INTO traces ({', '.join(COLUMNS)}) VALUES ({', '.join('?' * len(COLUMNS))})"
_UPDATE_TRACE = f"UPDATE traces SET {', '.join(f'{name} = ?' for name in COLUMNS)} WHERE number = ?"
_ADD_TOTALS = """
INSERT INTO totals VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT DO UPDATE SET count = count + excluded.count, errors = errors + excluded.errors,
    input_tokens = input_tokens + excluded.input_tokens, output_tokens = output_tokens + excluded.output_tokens,
    tokens = tokens + excluded.tokens, cost = cost + excluded.cost
"""


class Writing:
    """The changes of one transaction, which the caller begins and commits."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._states: dict[str, TraceState] = {}
        self._totals = TotalsChange()
        self._new: dict[str, dict[str, Observation]] = {}
        """Observations that this transaction adds, by trace and id; nothing of them is in the store yet."""

    def add(self, rows: Sequence[Row]) -> Written:
        """Add a batch; call `finish` behind the last one."""
        self._load({row.trace_id for row in rows if not isinstance(row, Score)})
        accepted = 0
        for row in rows:
            if type(row) is Observation:
                accepted += self._add_observation(row)
            elif type(row) is TraceLine:
                accepted += self._add_line(row)
            else:
                accepted += self._add_score(row)  # type: ignore[arg-type]  # the only type left
        return Written(accepted, len(rows) - accepted)

    def _load(self, trace_ids: set[str]) -> None:
        """Load the states of traces; a trace that is unknown gets its number now."""
        missing = sorted(trace_ids - self._states.keys())
        for some in chunks(missing):
            sql = f"SELECT number, {', '.join(COLUMNS)} FROM traces WHERE trace_id IN ({', '.join('?' * len(some))})"
            for number, *columns in self._connection.execute(sql, some):
                self._states[columns[0]] = TraceState.of_columns(number, tuple(columns))
        for trace_id in missing:
            if trace_id not in self._states:
                state = self._states[trace_id] = TraceState(trace_id)
                state.number = self._connection.execute(_INSERT_TRACE, state.columns()).lastrowid
                self._new[trace_id] = {}

    def _add_observation(self, row: Observation) -> bool:
        state = self._states[row.trace_id]
        added = self._new.setdefault(row.trace_id, {})
        old = added.get(row.id)
        if old is None and (state.observations > len(added)):
            old = self._stored(state, row.id)
        if old is not None:
            if old.line == row.line or (is_open(row) and not is_open(old)):
                return False
            self._totals.add(old, -1)
            if row.id not in added:
                self._connection.execute("DELETE FROM observations WHERE trace = ? AND id = ?", (state.number, row.id))
        added[row.id] = row
        state.add(row, old)
        self._totals.add(row)
        return True

    def _stored(self, state: TraceState, id: str) -> Observation | None:
        sql = f"SELECT {OBSERVATION} FROM observations WHERE trace = ? AND id = ?"
        found = self._connection.execute(sql, (state.number, id)).fetchone()
        return None if found is None else Observation(state.trace_id, *found)

    def _add_line(self, row: TraceLine) -> bool:
        state = self._states[row.trace_id]
        if state.has_line and (state.line or self._stored_line(state)) == row.line:
            return False
        state.add_line(row)
        return True

    def _stored_line(self, state: TraceState) -> bytes | None:
        (line,) = self._connection.execute("SELECT line FROM traces WHERE number = ?", (state.number,)).fetchone()
        return line  # type: ignore[no-any-return]  # a BLOB

    def _add_score(self, row: Score) -> bool:
        known = self._connection.execute(
            "SELECT line FROM scores WHERE trace_id = ? AND id = ?", (row.trace_id, row.id)
        ).fetchone()
        if known == (row.line,):
            return False
        values = (row.trace_id, row.id, row.name, row.time_us, row.line)
        self._connection.execute("INSERT OR REPLACE INTO scores VALUES (?, ?, ?, ?, ?)", values)
        return True

    def finish(self) -> None:
        """Write what the batches have changed."""
        run = self._connection.executemany
        states = self._states
        run(
            _INSERT_OBSERVATION,
            ((states[trace_id].number, *row[1:]) for trace_id, rows in self._new.items() for row in rows.values()),
        )
        run(_UPDATE_TRACE, ((*state.columns(), state.number) for state in states.values()))
        removed, added = changed_facets(states.values())
        run("DELETE FROM facets WHERE facet = ? AND at_us = ? AND trace = ?", removed)
        run("INSERT OR IGNORE INTO facets VALUES (?, ?, ?)", added)
        lines = [(state.line, state.number) for state in states.values() if state.line is not None]
        run("UPDATE traces SET line = ? WHERE number = ?", lines)
        run("INSERT OR IGNORE INTO new_words VALUES (?)", [(-(number or 0),) for _, number in lines])
        run(_ADD_TOTALS, self._totals.rows())


def delete_traces(connection: sqlite3.Connection, numbers: Iterable[int], resolve: Resolve) -> int:
    """Delete traces with all their records, and return their number."""
    count = 0
    totals = TotalsChange()
    for number in numbers:
        found = connection.execute("SELECT trace_id, start_us, facets FROM traces WHERE number = ?", (number,)).fetchone()
        if found is None:
            continue
        state_id, start_us, facets = found
        forget_words(connection, number, resolve)
        for columns in connection.execute(f"SELECT {OBSERVATION} FROM observations WHERE trace = ?", (number,)):
            totals.add(Observation(state_id, *columns), -1)
        connection.execute("DELETE FROM observations WHERE trace = ?", (number,))
        connection.execute("DELETE FROM scores WHERE trace_id = ?", (state_id,))
        connection.execute(
            "DELETE FROM facets WHERE at_us = ? AND trace = ? AND facet IN (SELECT value FROM json_each(?))",
            (start_us, number, facets),
        )
        connection.execute("DELETE FROM new_words WHERE number = ?", (-number,))
        connection.execute("DELETE FROM traces WHERE number = ?", (number,))
        count += 1
    connection.executemany(_ADD_TOTALS, totals.rows())
    connection.execute("DELETE FROM totals WHERE count <= 0")
    return count


def chunks(values: Iterable[T], size: int = _CHUNK) -> Iterator[list[Any]]:
    """Yield *values* in lists of up to *size*."""
    rest = iter(values)
    while some := list(islice(rest, size)):
        yield some
