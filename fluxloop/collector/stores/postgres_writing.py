"""
Write rows to the PostgreSQL store: the statements of one transaction.

Traces that the store has are locked in the order of their ids, and new ones are inserted in that order, so that several
collectors can write to one database without a deadlock. Two of them may insert the same trace at the same time; the
transaction that comes second fails, and is run again. Changes of the totals are appended, and added to them later.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from ..record_rows import Observation, Score
from .changes import OBSERVATION, Changes
from .postgres_copying import copied, copied_observations, copied_traces
from .rows import COLUMNS, TraceState
from .totals import TotalsChange

_FACETS = COLUMNS.index("facets")
_COPY_TRACES = f"COPY traces (number, {', '.join(COLUMNS)}, line) FROM STDIN"
_UPDATE = (
    f"UPDATE traces SET {', '.join(f'{name} = %s' for name in COLUMNS)}, line = coalesce(%s, line) WHERE number = %s"
)
_KEYS = "hour_us, type, name, model, bucket"
_SUMS = ("count", "errors", "input_tokens", "output_tokens", "tokens", "cost")
_FOLD_TOTALS = f"""
WITH moved AS (DELETE FROM new_totals RETURNING *)
INSERT INTO totals AS t SELECT {_KEYS}, {", ".join(f"sum({name})" for name in _SUMS)} FROM moved GROUP BY {_KEYS}
ON CONFLICT ({_KEYS}) DO UPDATE SET {", ".join(f"{name} = t.{name} + excluded.{name}" for name in _SUMS)}
"""
_SCORE = """
INSERT INTO scores VALUES (%s, %s, %s, %s, %s)
ON CONFLICT (trace_id, id) DO UPDATE SET name = excluded.name, time_us = excluded.time_us, line = excluded.line
"""


class PostgresWriting(Changes):
    """
    The changes of one transaction, which the caller begins and commits.

    Args:
        connection: To the database.
        days: The day of the partition by the start of an observation.
    """

    def __init__(self, connection: Any, days: Mapping[int, str]) -> None:
        super().__init__()
        self._connection = connection
        self._days = days
        self._new: dict[str, TraceState] = {}
        """The states that the store does not have, in the order of their ids."""
        self._stored: dict[tuple[int, str], Observation] = {}

    def load(self, trace_ids: list[str], observations: Mapping[str, list[Observation]]) -> None:
        """Load and lock the states of traces, and what the store has of the observations among *rows*."""
        run = self._connection.execute
        sql = f"SELECT number, {', '.join(COLUMNS)} FROM traces WHERE trace_id = ANY(%s) ORDER BY trace_id FOR UPDATE"
        for number, *columns in run(sql, (trace_ids,)):
            columns[_FACETS] = orjson.dumps(columns[_FACETS])
            self.states[columns[0]] = TraceState.of_columns(number, tuple(columns))
        if new := [trace_id for trace_id in trace_ids if trace_id not in self.states]:
            sql = "SELECT nextval('traces_number_seq') FROM generate_series(1, %s)"
            for trace_id, (number,) in zip(new, run(sql, (len(new),)), strict=True):
                self.states[trace_id] = self._new[trace_id] = TraceState(trace_id, number=number)
        self._load_observations(observations)

    def _load_observations(self, observations: Mapping[str, list[Observation]]) -> None:
        wanted = [
            (state.number, row.id)
            for trace_id, rows in observations.items()
            if (state := self.states[trace_id]).observations
            for row in rows
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
            with cursor.copy(_COPY_TRACES) as copy:
                copy.write(copied_traces(self._new.values()))
            if self.replaced:
                cursor.executemany("DELETE FROM observations WHERE trace = %s AND id = %s", self.replaced)
            with cursor.copy(f"COPY observations (day, trace, {OBSERVATION}) FROM STDIN") as copy:
                copy.write(copied_observations([*self.observations()], self._days))
            if known := [state for trace_id, state in self.states.items() if trace_id not in self._new]:
                rows = [(*to_columns(state), _text(state.line), state.number) for state in known]
                cursor.executemany(_UPDATE, rows)
            if self.states:
                with cursor.copy("COPY new_words FROM STDIN") as copy:
                    copy.write("".join(f"{state.number}\n" for state in self.states.values()).encode())
            if scores := [(*values, line.decode()) for *values, line in self.score_rows()]:
                cursor.executemany(_SCORE, sorted(scores))
            add_totals(cursor, self.totals)


def add_totals(cursor: Any, totals: TotalsChange) -> None:
    """Append a change of the totals, which `fold_totals` adds to them later: to do so takes much longer."""
    if rows := totals.rows():
        with cursor.copy("COPY new_totals FROM STDIN") as copy:
            copy.write(copied(rows))


def fold_totals(connection: Any) -> bool:
    """Add the changes of the totals to them, in the caller's transaction; False if another collector does."""
    if not connection.execute("SELECT pg_try_advisory_xact_lock(%s)", (TOTALS_LOCK,)).fetchone()[0]:
        return False
    if connection.execute(_FOLD_TOTALS).rowcount:
        connection.execute("DELETE FROM totals WHERE count <= 0")
    return True


TOTALS_LOCK = 0x464C5845
"""The advisory lock of the collector that changes the totals."""


def to_columns(state: TraceState) -> list[Any]:
    """Return the values of `COLUMNS`."""
    columns = [*state.columns()]
    columns[_FACETS] = orjson.loads(columns[_FACETS])
    return columns


def _text(line: bytes | None) -> str | None:
    return None if line is None else line.decode()
