"""
Write rows to the PostgreSQL store: the statements of one transaction.

Traces are locked in the order of their ids, and totals in the order of their keys, so that several collectors can write
to one database without a deadlock.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson

from ..record_rows import Observation, Row, Score
from .changes import OBSERVATION, Changes
from .postgres_schema import day_of
from .rows import COLUMNS, TotalsChange, TraceState

_FACETS = COLUMNS.index("facets")
_EMPTY = TraceState("")

_UPDATE = f"UPDATE traces SET {', '.join(f'{name} = %s' for name in COLUMNS)} WHERE number = %s"
ADD_TOTALS = """
INSERT INTO totals AS t VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
ON CONFLICT (hour_us, type, name, model, bucket) DO UPDATE SET count = t.count + excluded.count,
    errors = t.errors + excluded.errors, input_tokens = t.input_tokens + excluded.input_tokens,
    output_tokens = t.output_tokens + excluded.output_tokens, tokens = t.tokens + excluded.tokens,
    cost = t.cost + excluded.cost
"""
_SCORE = """
INSERT INTO scores VALUES (%s, %s, %s, %s, %s)
ON CONFLICT (trace_id, id) DO UPDATE SET name = excluded.name, time_us = excluded.time_us, line = excluded.line
"""


class PostgresWriting(Changes):
    """The changes of one transaction, which the caller begins and commits."""

    def __init__(self, connection: Any) -> None:
        super().__init__()
        self._connection = connection
        self._stored: dict[tuple[int, str], Observation] = {}

    def load(self, trace_ids: list[str], rows: Sequence[Row]) -> None:
        """Load and lock the states of traces, and what the store has of the observations among *rows*."""
        run = self._connection.execute
        first = dict(zip(COLUMNS, to_columns(_EMPTY), strict=True))
        names = [name for name in COLUMNS if name != "trace_id"]
        run(
            f"INSERT INTO traces (trace_id, {', '.join(names)}) SELECT id, {', '.join(['%s'] * len(names))} "
            'FROM unnest(%s::text[]) AS given (id) ORDER BY id COLLATE "C" ON CONFLICT (trace_id) DO NOTHING',
            [*(first[name] for name in names), trace_ids],
        )
        sql = f"SELECT number, {', '.join(COLUMNS)} FROM traces WHERE trace_id = ANY(%s) ORDER BY trace_id FOR UPDATE"
        for number, *columns in run(sql, (trace_ids,)):
            columns[_FACETS] = orjson.dumps(columns[_FACETS])
            self.states[columns[0]] = TraceState.of_columns(number, tuple(columns))
        self._load_observations(set(trace_ids), rows)

    def _load_observations(self, trace_ids: set[str], rows: Sequence[Row]) -> None:
        wanted = [
            (self.states[row.trace_id].number, row.id)
            for row in rows
            if type(row) is Observation and row.trace_id in trace_ids and self.states[row.trace_id].observations
        ]
        if not wanted:
            return
        sql = f"""SELECT o.trace, {", ".join(f"o.{name}" for name in OBSERVATION.split(", "))}
                  FROM unnest(%s::bigint[], %s::text[]) AS given (trace, id)
                  JOIN observations o ON o.trace = given.trace AND o.id = given.id"""
        by_number = {state.number: state for state in self.states.values()}
        numbers, ids = zip(*wanted, strict=True)
        for number, *columns in self._connection.execute(sql, ([*numbers], [*ids])):
            *values, line = columns
            row = Observation._make((by_number[number].trace_id, *values, line.encode()))
            self._stored[number, row.id] = row

    def stored(self, state: TraceState, id: str) -> Observation | None:
        """Return an observation of the store."""
        return self._stored.get((state.number or 0, id))

    def stored_line(self, state: TraceState) -> bytes | None:
        """Return the line of a trace of the store."""
        (line,) = self._connection.execute("SELECT line FROM traces WHERE number = %s", (state.number,)).fetchone()
        return None if line is None else line.encode()

    def stored_score(self, row: Score) -> bytes | None:
        """Return the line of a score of the store."""
        sql = "SELECT line FROM scores WHERE trace_id = %s AND id = %s"
        found = self._connection.execute(sql, (row.trace_id, row.id)).fetchone()
        return None if found is None else found[0].encode()

    def finish(self) -> None:
        """Write what the batches have changed."""
        with self._connection.cursor() as cursor:
            if self.replaced:
                cursor.executemany("DELETE FROM observations WHERE trace = %s AND id = %s", self.replaced)
            with cursor.copy(f"COPY observations (day, trace, {OBSERVATION}) FROM STDIN") as copy:
                for row in self.observation_rows():
                    *values, line = row
                    copy.write_row((day_of(row[7]), *values, line.decode()))
            if self.states:
                states = sorted(self.states.values(), key=lambda state: state.trace_id)
                cursor.executemany(_UPDATE, [(*to_columns(state), state.number) for state in states])
                lines = [(state.line.decode(), state.number) for state in states if state.line is not None]
                if lines:
                    cursor.executemany("UPDATE traces SET line = %s WHERE number = %s", lines)
            if scores := [(*values, line.decode()) for *values, line in self.score_rows()]:
                cursor.executemany(_SCORE, sorted(scores))
            add_totals(cursor, self.totals)


def add_totals(cursor: Any, totals: TotalsChange) -> None:
    """Add a change to the totals."""
    if rows := totals.rows():
        cursor.executemany(ADD_TOTALS, rows)


def to_columns(state: TraceState) -> list[Any]:
    """Return the values of `COLUMNS`."""
    columns = [*state.columns()]
    columns[_FACETS] = orjson.loads(columns[_FACETS])
    return columns
