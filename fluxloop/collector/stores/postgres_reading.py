"""
What the PostgreSQL store answers: lists, traces, records, sessions, totals.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any

from ...reading.filters import CollectorFilter
from .contract import Page, Step, StoreError, Totals
from .cursors import cursor_of, position_of
from .postgres_connections import QUERY_S, Connections
from .postgres_queries import condition_of, record_contains
from .postgres_words import rare_candidates
from .rows import SHOWN, object_of, session_of
from .totals import steps_of

_COLUMNS = ", ".join(f"t.{name}" for name in SHOWN)

_SAMPLE = 2_000
"""Observations from which their size is computed."""

_EMPTY_BYTES, _OBSERVATION_BYTES, _TRACE_BYTES = 8_000_000, 400, 3_000
"""Measured: a database without records, an observation beside its line, and a trace; each with its indexes."""


class PostgresReading(Connections):
    """Answers questions about the store in a database, from any thread."""

    def _all(self, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        with self._connection() as connection:
            return connection.execute(sql, values).fetchall()  # type: ignore[no-any-return]

    def traces(
        self, wanted: CollectorFilter, *, limit: int, cursor: str | None = None, oldest_first: bool = False
    ) -> Page:
        """Return traces in the order of their starts."""
        condition, parameters = condition_of(wanted)
        if wanted.text is not None and (numbers := self._rare(wanted.text)) is not None:
            condition, parameters = f"t.number = ANY(%s) AND {condition}", [numbers, *parameters]
        comparison, order = (">", "ASC") if oldest_first else ("<", "DESC")
        position = None if cursor is None else position_of(cursor)
        size = limit + 1 if wanted.text is None else max(limit + 1, 100)
        rows: list[tuple[Any, ...]] = []
        end = time.monotonic() + QUERY_S
        while True:
            after = "" if position is None else f"AND (t.start_us, t.number) {comparison} (%s, %s)"
            sql = f"""SELECT t.number, {_COLUMNS} FROM traces t WHERE {condition} {after}
                      ORDER BY t.start_us {order}, t.number {order} LIMIT %s"""
            part = self._all(sql, [*parameters, *(position or ()), size])
            for row in part:
                if wanted.text is None or self._has_text(row[0], wanted.text):
                    rows.append(row)
                if len(rows) > limit:
                    break
            if len(rows) > limit or len(part) < size:
                break
            if time.monotonic() > end:
                raise StoreError("the search took too long; add a condition such as since")
            position = (part[-1][1 + SHOWN.index("start_us")], part[-1][0])
        shown = rows[:limit]
        following = None
        if len(rows) > limit:
            following = cursor_of(shown[-1][1 + SHOWN.index("start_us")], shown[-1][0])
        return Page([object_of(row[1:]) for row in shown], following)

    def _rare(self, text: str) -> list[int] | None:
        """Return the traces that may have *text*, if they are few."""
        with self._connection() as connection:
            return rare_candidates(connection, text)

    def _has_text(self, number: int, text: str) -> bool:
        sql = "SELECT line FROM traces WHERE number = %s UNION ALL SELECT line FROM observations WHERE trace = %s"
        return any(line and record_contains(line.encode(), text) for (line,) in self._all(sql, (number, number)))

    def trace(self, trace_id: str) -> dict[str, Any] | None:
        """Return the row of a trace; None if it is unknown."""
        rows = self._all(f"SELECT {_COLUMNS} FROM traces t WHERE trace_id = %s", (_plain(trace_id),))
        return object_of(rows[0]) if rows else None

    def matching(self, part: str, *, limit: int) -> list[dict[str, Any]]:
        """Return the traces whose id begins or ends with *part*, newest first."""
        sql = f"""SELECT {_COLUMNS} FROM traces t WHERE starts_with(trace_id, %s) OR right(trace_id, %s) = %s
                  ORDER BY start_us DESC, number DESC LIMIT %s"""
        return [object_of(row) for row in self._all(sql, (part, len(part), part, limit))]

    def records(self, trace_id: str) -> Iterator[bytes]:
        """Yield the lines of a trace as they were received: observations, the trace's own line, scores."""
        after: str | None = None
        while True:
            lines, after = self.piece(trace_id, limit=1_000, after=after)
            yield from lines
            if after is None:
                break
        for (line,) in self._all("SELECT line FROM traces WHERE trace_id = %s", (_plain(trace_id),)):
            if line is not None:
                yield line.encode()
        yield from self.scores(trace_id)

    def piece(self, trace_id: str, *, limit: int, after: str | None = None) -> tuple[list[bytes], str | None]:
        """Return up to *limit* lines of observations in start order, and the cursor of the next piece."""
        sql = """SELECT start_us, number, line FROM observations
                 WHERE trace = (SELECT number FROM traces WHERE trace_id = %s) AND (start_us, number) > (%s, %s)
                 ORDER BY start_us, number LIMIT %s"""
        start = (-(2**62), 0) if after is None else position_of(after)
        rows = self._all(sql, (_plain(trace_id), *start, limit + 1))
        following = cursor_of(*rows[limit - 1][:2]) if len(rows) > limit else None
        return [line.encode() for _, _, line in rows[:limit]], following

    def scores(self, trace_id: str) -> list[bytes]:
        """Return the lines of the scores of a trace, oldest first."""
        sql = "SELECT line FROM scores WHERE trace_id = %s ORDER BY time_us, id"
        return [line.encode() for (line,) in self._all(sql, (_plain(trace_id),))]

    def sessions(self, wanted: CollectorFilter, *, limit: int, cursor: str | None = None) -> Page:
        """Return sessions, the most recent first."""
        condition, parameters = condition_of(wanted)
        after = [] if cursor is None else [*position_of(cursor)]
        having = "HAVING (max(start_us), max(number)) < (%s, %s)" if after else ""
        sql = f"""SELECT session_id, count(*), min(start_us), max(start_us), count(*) FILTER (WHERE errors > 0),
                         sum(observations)::bigint, sum(tokens)::bigint, sum(cost), max(number)
                  FROM traces t WHERE session_id IS NOT NULL AND {condition}
                  GROUP BY session_id {having} ORDER BY max(start_us) DESC, max(number) DESC LIMIT %s"""
        rows = self._all(sql, [*parameters, *after, limit + 1])
        shown = rows[:limit]
        following = cursor_of(shown[-1][3], shown[-1][8]) if len(rows) > limit else None
        return Page([session_of(row) for row in shown], following)

    def totals(self, wanted: Totals) -> list[Step]:
        """Return the totals that *wanted* describes."""
        conditions, values = ["true"], list[Any]()
        for condition, value in (("hour_us >= %s", wanted.since_us), ("hour_us < %s", wanted.until_us)):
            if value is not None:
                conditions.append(condition)
                values.append(value)
        for column in ("type", "name", "model"):
            if (texts := getattr(wanted, column)) is not None:
                conditions.append(f"lower({column}) = ANY(%s)")
                values.append([text.lower() for text in texts])
        group = wanted.by or "NULL::text"
        step = "NULL::bigint" if wanted.step_us is None else f"hour_us - (hour_us %% {int(wanted.step_us)})"
        sql = f"""SELECT {step}, {group}, bucket, sum(count), sum(errors), sum(input_tokens), sum(output_tokens),
                         sum(tokens), sum(cost)
                  FROM totals WHERE {" AND ".join(conditions)} GROUP BY 1, 2, 3"""
        return steps_of(self._all(sql, values))

    def counts(self) -> dict[str, int]:
        """
        Return the numbers of traces and observations, the size in bytes, and the changes not indexed yet.

        The size is that of the records that are there, computed from some of them: files do not become smaller when
        rows are deleted, and a limit on their size would delete everything.
        """
        ((traces, observations, on_disk),) = self._all(
            "SELECT count(*), coalesce(sum(observations), 0)::bigint, pg_database_size(current_database()) FROM traces"
        )
        some = f"SELECT line FROM observations LIMIT {_SAMPLE}"
        ((line_bytes,),) = self._all(f"SELECT coalesce(avg(pg_column_size(line)), 0)::bigint FROM ({some}) AS sample")
        size = _EMPTY_BYTES + observations * (line_bytes + _OBSERVATION_BYTES) + traces * _TRACE_BYTES
        ((waiting,),) = self._all("SELECT count(*) FROM new_words")
        return {
            "traces": traces,
            "observations": observations,
            "bytes": min(size, on_disk),
            "unindexed": waiting,
        }


def _plain(trace_id: str) -> str:
    """Return *trace_id* without NUL, which PostgreSQL does not accept in a text; no id has it."""
    return trace_id.replace("\0", "�")
