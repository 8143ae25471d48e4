"""
The PostgreSQL store: for more than one collector, and for more than one disk.

Observations are in partitions by day, so that deleting by age drops tables. Every batch is one transaction, and durable
when `write` returns.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from queue import Empty, LifoQueue
from typing import Any

from ...errors import ConfigError
from ...reading.filters import CollectorFilter
from ..record_rows import Observation, Row, time_us
from .changes import OBSERVATION
from .contract import Deletion, Page, Step, StoreError, Totals, Written
from .cursors import cursor_of, position_of
from .postgres_queries import condition_of, record_contains
from .postgres_schema import OTHER_DAY, day_of, make_partition, migrate
from .postgres_writing import PostgresWriting, add_totals
from .rows import HOUR_US, SHOWN, TotalsChange, object_of, session_of
from .totals import steps_of

MAX_CONNECTIONS = 16
"""Of one collector to the database."""

QUERY_S = 30
"""After which a query is cancelled."""

_RETRIES = 5
"""Attempts at a transaction that the database aborts because of another one."""

_COLUMNS = ", ".join(f"t.{name}" for name in SHOWN)
_DELETE_AT_ONCE = 500


class PostgresStore:
    """
    A store in the database at *url*, whose tables are made if they are missing.

    Raises:
        StoreError: If it cannot be reached, or was written by a newer version.
        ConfigError: If the client library is missing, or the URL is not one.
    """

    name = "postgresql"

    def __init__(self, url: str) -> None:
        try:
            import psycopg
        except ModuleNotFoundError:
            raise ConfigError("a PostgreSQL store needs psycopg: pip install 'fluxloop[postgres]'") from None
        self._psycopg = psycopg
        self._url = url
        try:
            psycopg.conninfo.conninfo_to_dict(url)
        except psycopg.ProgrammingError:
            raise ConfigError("the URL of a PostgreSQL store must be postgresql://USER@HOST/DATABASE") from None
        self._idle: LifoQueue[Any] = LifoQueue()
        self._slots: LifoQueue[None] = LifoQueue()
        for _ in range(MAX_CONNECTIONS):
            self._slots.put(None)
        self._days: set[Any] = set()
        self._is_closed = False
        try:
            with self._connection() as connection:
                migrate(connection)
        except BaseException:
            self.close()
            raise

    @contextmanager
    def _connection(self) -> Iterator[Any]:
        """Yield a connection; it is used again, unless it fails."""
        if self._is_closed:
            raise StoreError("the store is closed")
        self._slots.get()
        connection = None
        try:
            try:
                connection = self._idle.get_nowait()
            except Empty:
                connection = self._psycopg.connect(
                    self._url,
                    autocommit=True,
                    connect_timeout=10,
                    application_name="fluxloop",
                    options=f"-c statement_timeout={QUERY_S}s -c synchronous_commit=on -c timezone=UTC",
                )
            yield connection
        except self._psycopg.Error as error:
            if connection is not None:
                connection.close()
            reason = str(error).strip().partition("\n")[0] or type(error).__name__
            raise StoreError(f"the PostgreSQL store does not answer now: {reason}") from error
        finally:
            if connection is not None and not connection.closed:
                self._idle.put(connection)
            self._slots.put(None)
            if self._is_closed:
                self._forget_idle()

    def _transact(self, task: Callable[[Any], Any]) -> Any:
        """Call *task* in a transaction, again if the database aborts it because of another one, or has restarted."""
        for attempt in range(_RETRIES):
            try:
                with self._connection() as connection, connection.transaction():
                    return task(connection)
            except StoreError as error:
                cause = error.__cause__
                lost = isinstance(cause, self._psycopg.OperationalError)
                if not lost or attempt == _RETRIES - 1:
                    raise
                if not isinstance(cause, self._psycopg.errors.TransactionRollback):
                    self._forget_idle()
                time.sleep(0.05 * 2**attempt)
        raise AssertionError

    def _forget_idle(self) -> None:
        """Close connections that are idle: those to a server that was restarted are of no use."""
        while True:
            try:
                self._idle.get_nowait().close()
            except Empty:
                return

    # Writing.

    def write(self, rows: Sequence[Row]) -> Written:
        """Keep *rows*; they are durable when this returns."""
        for day in {day_of(row.start_us) for row in rows if type(row) is Observation} - self._days:
            with self._connection() as connection:
                make_partition(connection, day)
            self._days.add(day)

        def task(connection: Any) -> Written:
            writing = PostgresWriting(connection)
            written = writing.add(rows)
            writing.finish()
            return written

        try:
            return self._transact(task)  # type: ignore[no-any-return]  # what the task returns
        except StoreError as error:
            if isinstance(error.__cause__, self._psycopg.errors.CheckViolation):
                self._days.clear()  # a partition was dropped by another collector
            raise

    def delete(self, which: Deletion) -> int:
        """Delete traces with all their records, and return the number of traces."""
        conditions: list[tuple[str, Any]] = [
            (f"{column} = %s", value)
            for column, value in (
                ("trace_id", which.trace_id),
                ("session_id", which.session_id),
                ("user_id", which.user_id),
            )
            if value is not None
        ]
        if which.before is not None:
            self._drop_partitions(which.before)
            conditions.append(("start_us < %s", time_us(which.before.isoformat())))
        if len(conditions) != 1:
            raise ValueError("a deletion names a trace, a session, a user or a time")
        condition, value = conditions[0]
        deleted = 0
        while count := self._transact(lambda connection: _delete_some(connection, condition, value)):
            deleted += count
        return deleted

    def _drop_partitions(self, before: datetime) -> None:
        """Drop the days that end a day before *before*: all their observations are of traces that began earlier."""
        last = (before - timedelta(days=1)).date()
        sql = "SELECT relid::regclass::text FROM pg_partition_tree('observations') WHERE isleaf ORDER BY 1"
        with self._connection() as connection:
            names = [name for (name,) in connection.execute(sql).fetchall()]
        for name in names:
            day = datetime.strptime(name.rpartition("_")[2], "%Y%m%d").replace(tzinfo=UTC).date()
            if day == OTHER_DAY or day >= last:
                continue
            start = time_us(f"{day}T00:00:00+00:00")

            def drop(connection: Any, name: str = name, start: int = start) -> None:
                connection.execute(
                    "DELETE FROM totals WHERE hour_us >= %s AND hour_us < %s", (start, start + 24 * HOUR_US)
                )
                connection.execute(f"DROP TABLE {name}")

            self._transact(drop)
            self._days.discard(day)

    def backup(self, path: str) -> None:
        """Refuse: PostgreSQL has tools of its own."""
        raise StoreError("back up a PostgreSQL store with pg_dump, or export its records: fluxloop backup --records")

    # Reading.

    def check(self) -> None:
        """Raise `StoreError` unless the store can be read and written now."""
        with self._connection() as connection:
            (is_replica,) = connection.execute("SELECT pg_is_in_recovery()").fetchone()
        if is_replica:
            raise StoreError("the PostgreSQL store can only be read now")

    def _all(self, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        with self._connection() as connection:
            return connection.execute(sql, values).fetchall()  # type: ignore[no-any-return]

    def traces(
        self, wanted: CollectorFilter, *, limit: int, cursor: str | None = None, oldest_first: bool = False
    ) -> Page:
        """Return traces in the order of their starts."""
        condition, parameters = condition_of(wanted)
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
        """Return the numbers of traces and observations, and the size in bytes."""
        sql = (
            "SELECT count(*), coalesce(sum(observations), 0)::bigint, pg_database_size(current_database()) FROM traces"
        )
        ((traces, observations, size),) = self._all(sql)
        return {"traces": traces, "observations": observations, "bytes": size}

    def close(self) -> None:
        """Close all connections; those in use are closed when they are given back."""
        self._is_closed = True
        self._forget_idle()


def _delete_some(connection: Any, condition: str, value: Any) -> int:
    """Delete some of the traces that meet *condition*, and return their number."""
    sql = f"""SELECT number, trace_id FROM traces WHERE number IN
              (SELECT number FROM traces WHERE {condition} LIMIT {_DELETE_AT_ONCE}) ORDER BY trace_id FOR UPDATE"""
    found = connection.execute(sql, (value,)).fetchall()
    if not found:
        return 0
    numbers, ids = [number for number, _ in found], [trace_id for _, trace_id in found]
    totals = TotalsChange()
    names = OBSERVATION.rpartition(", ")[0]
    for columns in connection.execute(f"DELETE FROM observations WHERE trace = ANY(%s) RETURNING {names}", (numbers,)):
        totals.add(Observation._make(("", *columns, b"")), -1)
    connection.execute("DELETE FROM scores WHERE trace_id = ANY(%s)", (ids,))
    connection.execute("DELETE FROM traces WHERE number = ANY(%s)", (numbers,))
    with connection.cursor() as cursor:
        add_totals(cursor, totals)
    connection.execute("DELETE FROM totals WHERE count <= 0")
    return len(found)


def _plain(trace_id: str) -> str:
    """Return *trace_id* without NUL, which PostgreSQL does not accept in a text; no id has it."""
    return trace_id.replace("\0", "�")
