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
from .postgres_queries import condition_of
from .postgres_search import with_text
from .postgres_words import rare_candidates
from .rows import SHOWN, object_of, session_of
from .totals import steps_of

_COLUMNS = ", ".join(f"t.{name}" for name in SHOWN)

_PART, _LARGEST_PART = 100, 1_600
"""Traces that are searched for a text together, at first and at last."""

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
        position = None if cursor is None else position_of(cursor)
        if wanted.text is None:
            rows = self._part(wanted, limit + 1, position, oldest_first, SHOWN)
        else:
            numbers = self._numbers_with_text(wanted, limit + 1, position, oldest_first)
            sql = f"SELECT t.number, {_COLUMNS} FROM traces t WHERE t.number = ANY(%s)"
            found = {row[0]: row for row in self._all(sql, (numbers,))}
            rows = [found[number] for number in numbers if number in found]
        shown = rows[:limit]
        following = None
        if len(rows) > limit:
            following = cursor_of(shown[-1][1 + SHOWN.index("start_us")], shown[-1][0])
        return Page([object_of(row[1:]) for row in shown], following)

    def _part(
        self,
        wanted: CollectorFilter,
        limit: int,
        position: tuple[int, int] | None,
        oldest_first: bool,
        shown: tuple[str, ...],
        among: list[int] | None = None,
    ) -> list[tuple[Any, ...]]:
        """Return up to *limit* rows of a filter without its text: the number and the columns *shown*."""
        condition, parameters = condition_of(wanted)
        comparison, order = (">", "ASC") if oldest_first else ("<", "DESC")
        if among is not None:
            condition, parameters = f"t.number = ANY(%s) AND {condition}", [among, *parameters]
        if position is not None:
            condition = f"{condition} AND (t.start_us, t.number) {comparison} (%s, %s)"
            parameters = [*parameters, *position]
        names = ", ".join(f"t.{name}" for name in shown)
        sql = f"""SELECT t.number, {names} FROM traces t WHERE {condition}
                  ORDER BY t.start_us {order}, t.number {order} LIMIT %s"""
        return self._all(sql, [*parameters, limit])

    def _numbers_with_text(
        self, wanted: CollectorFilter, limit: int, position: tuple[int, int] | None, oldest_first: bool
    ) -> list[int]:
        """Return the numbers of up to *limit* traces that match the filter with its text."""
        text = wanted.text or ""
        with self._connection() as connection:
            rare = rare_candidates(connection, text)
        numbers: list[int] = []
        size = _PART
        end = time.monotonic() + QUERY_S
        while True:
            part = self._part(wanted, size, position, oldest_first, ("start_us",), rare)
            with self._connection() as connection:
                having = with_text(connection, [number for number, _ in part], text)
            numbers += [number for number, _ in part if number in having]
            if len(numbers) >= limit or len(part) < size:
                return numbers[:limit]
            if time.monotonic() > end:
                raise StoreError("the search took too long; add a condition such as since")
            position = (part[-1][1], part[-1][0])
            size = min(2 * size, _LARGEST_PART)

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
                  FROM (SELECT * FROM totals UNION ALL SELECT * FROM new_totals) AS both_totals
                  WHERE {" AND ".join(conditions)} GROUP BY 1, 2, 3"""
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
