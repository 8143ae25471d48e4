"""
The PostgreSQL store: for more than one collector, and for more than one disk.

Observations are in partitions by day, so that deleting by age drops tables. Every batch is one transaction, and durable
when `write` returns.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from ...reading.moments import earlier
from ..record_rows import Observation, Row, time_us
from .changes import OBSERVATION
from .contract import Deletion, StoreError, Written
from .postgres_reading import PostgresReading
from .postgres_schema import DAY_US, OTHER_DAY, days_of, make_partition, migrate
from .postgres_words import index_some
from .postgres_writing import TOTALS_LOCK, PostgresWriting, add_totals, fold_totals
from .rows import HOUR_US
from .totals import TotalsChange

_RETRIES = 5
"""Attempts at a transaction that the database aborts because of another one, or that it does not answer."""

_INSERT_RETRIES = 50
"""Attempts at one that inserts a trace at the same time as another one; each of them finds more traces inserted."""

_DELETE_AT_ONCE = 500

_WORDS_AT_ONCE = 50
"""Traces whose texts are indexed in one transaction."""

_IDLE_S = 0.25
"""How long nothing must have been received before the totals are changed and texts are indexed."""

_LOOK_S = 0.05
"""How often that is looked at."""

_MOST_NEW_TOTALS = 50_000
"""Changes after which the totals are changed although records are being received: every query reads the changes."""


class PostgresStore(PostgresReading):
    """
    A store in the database at *url*, whose tables are made if they are missing.

    Raises:
        StoreError: If it cannot be reached, or was written by a newer version.
        ConfigError: If the client library is missing, or the URL is not one.
    """

    name = "postgresql"

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self._days = set[str]()
        self._written_at = 0.0
        self._new_totals = 0
        """Changes of the totals since they were added to them, about."""
        self._has_work = threading.Event()
        self._has_work.set()  # what was written before
        try:
            with self._connection() as connection:
                migrate(connection)
        except BaseException:
            super().close()
            raise
        self._thread = threading.Thread(target=self._work_later, name="fluxloop-words", daemon=True)
        self._thread.start()

    def _transact(self, task: Callable[[Any], Any]) -> Any:
        """Call *task* in a transaction, again if the database aborts it because of another one, or has restarted."""
        failures, conflicts = 0, 0
        while True:
            try:
                with self._writing() as connection, connection.transaction():
                    return task(connection)
            except StoreError as error:
                cause = error.__cause__
                if isinstance(cause, self._psycopg.errors.UniqueViolation) and conflicts < _INSERT_RETRIES:
                    conflicts += 1
                    continue
                failures += 1
                if not isinstance(cause, self._psycopg.OperationalError) or failures == _RETRIES:
                    raise
                if isinstance(cause, self._psycopg.errors.QueryCanceled):  # the sender tries again, others go on
                    raise
                if not isinstance(cause, self._psycopg.errors.TransactionRollback):
                    self._forget_idle()
                time.sleep(0.05 * 2 ** (failures - 1))

    # Writing.

    def write(self, rows: Sequence[Row]) -> Written:
        """Keep *rows*; they are durable when this returns."""

        days = days_of({row[7] // DAY_US for row in rows if type(row) is Observation})

        def task(connection: Any) -> Written:
            writing = PostgresWriting(connection, days)
            written = writing.add(rows)
            writing.finish()
            self._new_totals += len(writing.totals.by_key)
            return written

        self._written_at = time.monotonic()
        try:
            for _ in range(_RETRIES):
                self._make_partitions({*days.values()})
                try:
                    return self._transact(task)  # type: ignore[no-any-return]  # what the task returns
                except StoreError as error:
                    if not isinstance(error.__cause__, self._psycopg.errors.CheckViolation):
                        raise
                    self._days.clear()  # a partition was dropped meanwhile
            raise StoreError("the days of the batch are being deleted; send it again later")
        finally:
            self._has_work.set()

    def _make_partitions(self, days: set[str]) -> None:
        for day in days - self._days:
            self._transact(partial(make_partition, day=day))
            self._days.add(day)

    def _work_later(self) -> None:
        """Add to the totals and index texts while nothing is received; this thread ends with the store."""
        while self._has_work.wait() and not self._is_closed:
            is_idle = time.monotonic() - self._written_at >= _IDLE_S
            if not is_idle and self._new_totals < _MOST_NEW_TOTALS:
                time.sleep(_LOOK_S)
                continue
            self._has_work.clear()
            with suppress(StoreError):  # the next batch wakes this thread when the database answers again
                self._new_totals = 0
                is_done = self._transact(fold_totals)
                if is_idle:
                    is_done &= not self._transact(lambda connection: index_some(connection, _WORDS_AT_ONCE))
                if not is_done or not is_idle:
                    self._has_work.set()

    def close(self) -> None:
        """Close all connections; those in use are closed when they are given back."""
        super().close()
        self._has_work.set()
        self._thread.join(5)

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
        """
        Drop the days that end a day before *before*, if all their observations are of traces that began earlier.

        A day with other observations is left: those of the traces that are deleted are deleted one by one.
        """
        last = earlier(before, timedelta(days=1)).date()
        sql = "SELECT relid::regclass::text FROM pg_partition_tree('observations') WHERE isleaf ORDER BY 1"
        with self._connection() as connection:
            names = [name for (name,) in connection.execute(sql).fetchall()]
        for name in names:
            day = datetime.strptime(name.rpartition("_")[2], "%Y%m%d").replace(tzinfo=UTC).date()
            if day == OTHER_DAY or day >= last:
                continue
            start = time_us(f"{day}T00:00:00+00:00")

            def drop(connection: Any, name: str = name, start: int = start) -> None:
                connection.execute("SELECT pg_advisory_xact_lock(%s)", (TOTALS_LOCK,))
                connection.execute(f"LOCK TABLE {name} IN SHARE ROW EXCLUSIVE MODE")  # waits for those who write to it
                if _has_others(connection, name, start, time_us(before.isoformat())):
                    return
                connection.execute(f"DROP TABLE {name}")
                for totals in ("totals", "new_totals"):
                    sql = f"DELETE FROM {totals} WHERE hour_us >= %s AND hour_us < %s"
                    connection.execute(sql, (start, start + 24 * HOUR_US))

            self._transact(drop)
            self._days.discard(f"{day}")

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


def _has_others(connection: Any, name: str, start: int, before: int) -> bool:
    """
    Whether the partition *name*, of the day from *start*, is more or less than what is deleted *before* a time.

    It can have observations of traces whose line says that they began later, such as a run that was resumed under its
    id; and `OTHER_DAY` can have observations of the day, which the totals of the day count, too.
    """
    connection.execute("SET LOCAL statement_timeout = '10min'")  # it reads the whole partition
    sql = f"""SELECT EXISTS (SELECT FROM {name} o JOIN traces t ON t.number = o.trace WHERE t.start_us >= %s)
              OR EXISTS (SELECT FROM observations WHERE day = %s AND start_us >= %s AND start_us < %s)"""
    (found,) = connection.execute(sql, (before, OTHER_DAY, start, start + DAY_US)).fetchone()
    return bool(found)


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
    rows = connection.execute(f"DELETE FROM observations WHERE trace = ANY(%s) RETURNING {names}", (numbers,))
    totals.add((Observation._make(("", *columns, b"")) for columns in rows), -1)
    connection.execute("DELETE FROM scores WHERE trace_id = ANY(%s)", (ids,))
    connection.execute("DELETE FROM traces WHERE number = ANY(%s)", (numbers,))
    connection.execute("DELETE FROM words WHERE trace = ANY(%s)", (numbers,))
    with connection.cursor() as cursor:
        add_totals(cursor, totals)
    return len(found)
