"""
The ClickHouse store: for those who outgrow one machine.

Collectors share a database without coordination. A batch is durable when `write` returns; the server puts the batches
that come at the same time into one part.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from typing import Any

from ...reading.catalog.text import contains
from ...reading.filters import CollectorFilter
from ...reading.moments import earlier
from ...storage.decoding import decode
from ..record_rows import Row, time_us
from .clickhouse_connection import QUERY_S, Connection
from .clickhouse_queries import (
    LINES,
    MOST_IDS,
    Values,
    condition_of,
    in_parts,
    pattern_of,
    totals_query,
)
from .clickhouse_schema import OLDEST_SERVER, SCHEMA, TABLES, Layout, migrate
from .clickhouse_url import Address, address_of
from .clickhouse_writing import ClickHouseWriting
from .contract import Deletion, Page, Step, StoreError, Totals, Written
from .cursors import cursor_of, position_of
from .postgres_schema import OTHER_DAY
from .rows import SHOWN, object_of, session_of
from .totals import steps_of

EXACT_ROWS = 1_000_000
"""Up to so many rows are counted; of more, `counts` returns the number that the parts have."""

_COLUMNS = ", ".join(SHOWN)
_START = 2 + SHOWN.index("start_us")
_TRACE_ID = 2 + SHOWN.index("trace_id")
_NUMBER = "toInt64(bitAnd(version, 9223372036854775807))"
"""The time of the version of an observation: its place among those that began in the same microsecond."""

_DELETE = {"lightweight_deletes_sync": 2, "mutations_sync": 2}


class ClickHouseStore:
    """
    A store in the database at *url*, whose tables are made if they are missing.

    Raises:
        StoreError: If it cannot be reached, or was written by a newer version.
        ConfigError: If the client library is missing, or the URL is not one.
    """

    name = "clickhouse"

    def __init__(self, url: str) -> None:
        self._address = address_of(url)
        self._layout = Layout(self._address.cluster, self._address.database)
        self._connection = Connection(self._address)
        self._all, self._run = self._connection.all, self._connection.run
        self._writing = ClickHouseWriting(self._all, self._connection.insert)
        try:
            self._check_version()
            migrate(self._run, lambda sql: int(self._all(sql, Values())[0][0] or 0), self._layout)
            self._set_ttl(self._address)
        except BaseException:
            self.close()
            raise

    def _check_version(self) -> None:
        version = self._connection.server_version()
        if tuple(int(part) for part in version.split(".")[:2]) < OLDEST_SERVER:
            oldest = ".".join(map(str, OLDEST_SERVER))
            raise StoreError(f"the ClickHouse store needs ClickHouse {oldest} or newer; the server is {version}")

    def _set_ttl(self, address: Address) -> None:
        """Let the server remove what is too old, as the URL asks."""
        if address.ttl_days is None:
            return
        days = address.ttl_days or None
        sql = "SELECT name, create_table_query FROM system.tables WHERE database = currentDatabase()"
        made = dict(self._all(sql, Values()))
        for table, statement in zip(TABLES, self._layout.keep_days(days), strict=True):
            present = made.get(self._layout.local(table.name), "")
            if ("TTL " in present) if days is None else (f"toIntervalDay({days})" not in present):
                self._run(statement)

    # Writing.

    def write(self, rows: Sequence[Row]) -> Written:
        """Keep *rows*; they are durable when this returns. Of two collectors that get one at once, both accept it."""
        self._connection.ensure_open()
        return self._writing.write(rows)

    def delete(self, which: Deletion) -> int:
        """Delete traces with all their records, and return the number of traces."""
        columns = {"trace_id": which.trace_id, "session_id": which.session_id, "user_id": which.user_id}
        values = Values()
        conditions = [f"{name} = {values.add(value)}" for name, value in columns.items() if value is not None]
        deleted = 0
        if which.before is not None:
            deleted = self._drop_partitions(which)
            conditions.append(f"start_us < {values.add(time_us(which.before.isoformat()), 'Int64')}")
        if len(conditions) != 1:
            raise ValueError("a deletion names a trace, a session, a user or a time")
        position = None
        while True:
            rows, position = self._page(conditions[0], values, MOST_IDS, position, oldest_first=True)
            for ids in in_parts(row[_TRACE_ID] for row in rows):
                self._delete_traces(ids)
                deleted += len(ids)
            if position is None:
                return deleted

    def _delete_traces(self, ids: list[str]) -> None:
        for table in reversed(TABLES):  # the rows of traces first: nothing lists a trace that is half deleted
            values = Values()
            name = f"{self._layout.local(table.name)}{self._layout.on}"
            self._run(f"DELETE FROM {name} WHERE trace_id IN {values.texts(ids)}", values, _DELETE)

    def _drop_partitions(self, which: Deletion) -> int:
        """Drop the days that end a day before: all their observations are of traces that began earlier."""
        assert which.before is not None
        last = earlier(which.before, timedelta(days=1)).date()
        tables = {self._layout.local(table.name): table.name for table in TABLES}
        values = Values()
        source = "system.parts" if self._layout.cluster is None else f"cluster(`{self._layout.cluster}`, system.parts)"
        sql = f"""SELECT DISTINCT table, partition FROM {source} WHERE database = currentDatabase() AND active
                  AND table IN {values.texts(tables)}"""
        old = {(table, day) for table, day in self._all(sql, values) if str(OTHER_DAY) < day < str(last)}
        days = sorted({day for table, day in old if tables[table] == "traces"})
        count = self._delete_beside(days, last, which.before.date()) if days else 0
        for table, day in sorted(old):
            self._run(f"ALTER TABLE {table}{self._layout.on} DROP PARTITION '{day}'")
        return count

    def _delete_beside(self, days: list[str], last: date, end: date) -> int:
        """Delete what traces of *days* have in later partitions, and return the number of the traces."""
        values = Values()
        traces = f"SELECT trace_id FROM {self._layout.local('traces')} WHERE day IN {values.add(days, 'Array(Date)')}"
        between = f"day BETWEEN {values.add(str(last), 'Date')} AND {values.add(str(end), 'Date')} AND "
        for table, condition in (("scores", ""), ("observations", between)):
            name = f"{self._layout.local(table)}{self._layout.on}"
            settings = {**_DELETE, "allow_nondeterministic_mutations": 1}
            self._run(f"DELETE FROM {name} WHERE {condition}trace_id IN ({traces})", values, settings)
        values = Values()
        sql = f"SELECT uniq(trace_id) FROM traces WHERE day IN {values.add(days, 'Array(Date)')}"
        return int(self._all(sql, values)[0][0])

    def backup(self, path: str) -> None:
        """Refuse: ClickHouse has a statement of its own."""
        raise StoreError(
            "back up a ClickHouse store with its statement BACKUP DATABASE, or export its records: "
            "fluxloop backup --records"
        )

    # Reading.

    def check(self) -> None:
        """Raise `StoreError` unless the store can be read and written now."""
        sql = "SELECT count() FROM system.replicas WHERE database = currentDatabase() AND is_readonly"
        self._all(f"SELECT max(version) FROM {SCHEMA}", Values())
        if self._layout.cluster and self._all(sql, Values())[0][0]:
            raise StoreError("the ClickHouse store can only be read now: its replicas have lost ClickHouse Keeper")

    def traces(
        self, wanted: CollectorFilter, *, limit: int, cursor: str | None = None, oldest_first: bool = False
    ) -> Page:
        """Return traces in the order of their starts."""
        values = Values()
        condition = condition_of(wanted, values)
        position = None if cursor is None else position_of(cursor)
        rows: list[tuple[Any, ...]] = []
        end = time.monotonic() + QUERY_S
        while len(rows) <= limit:
            part, position = self._page(condition, values, limit + 1, position, oldest_first=oldest_first)
            rows += part if wanted.text is None else self._with_text(part, wanted.text)
            if position is None:
                break
            if time.monotonic() > end:
                raise StoreError("the search took too long; add a condition such as since")
        shown = rows[:limit]
        following = cursor_of(shown[-1][_START], shown[-1][0]) if len(rows) > limit else None
        return Page([object_of(row[2:]) for row in shown], following)

    def _page(
        self, condition: str, values: Values, limit: int, after: tuple[int, int] | None, *, oldest_first: bool
    ) -> tuple[list[tuple[Any, ...]], tuple[int, int] | None]:
        """
        Return rows of traces, each number, version and `SHOWN`, and the position behind which others may be.

        Rows that were replaced are found as well, until they are merged or if their trace began at another time. So
        those are left out that are not the newest of their trace.
        """
        comparison, order = (">", "ASC") if oldest_first else ("<", "DESC")
        own = Values()
        own.by_name.update(values.by_name)
        behind = ""
        if after is not None:
            start, number = own.add(after[0], "Int64"), own.add(after[1], "Int64")
            behind = f"AND start_us {comparison}= {start} AND (start_us, number) {comparison} ({start}, {number})"
        sql = f"""SELECT number, version, {_COLUMNS} FROM traces WHERE ({condition}) {behind}
                  ORDER BY start_us {order}, number {order} LIMIT {limit}"""
        found = self._all(sql, own)
        newest = self._versions(row[_TRACE_ID] for row in found)
        rows = {row[_TRACE_ID]: row for row in found if newest.get(row[_TRACE_ID]) == row[1]}
        return [*rows.values()], (found[-1][_START], found[-1][0]) if len(found) == limit else None

    def _versions(self, trace_ids: Iterator[str] | Sequence[str]) -> dict[str, int]:
        """Return the versions of the newest rows of traces."""
        versions: dict[str, int] = {}
        for ids in in_parts(dict.fromkeys(trace_ids)):
            values = Values()
            sql = f"SELECT trace_id, max(version) FROM traces WHERE trace_id IN {values.texts(ids)} GROUP BY trace_id"
            versions.update(self._all(sql, values))
        return versions

    def _with_text(self, rows: list[tuple[Any, ...]], text: str) -> list[tuple[Any, ...]]:
        """Return those of *rows* whose records contain *text*."""
        wanted, pattern = text.casefold(), pattern_of(text)
        found: set[str] = set()
        for ids in in_parts(row[_TRACE_ID] for row in rows):
            for table in LINES:
                values = Values()
                has_part = "1" if pattern is None else f"lower(line) LIKE {values.add(pattern)}"
                sql = f"SELECT trace_id, line FROM {table} FINAL WHERE trace_id IN {values.texts(ids)} AND {has_part}"
                for trace_id, line in self._all(sql, values):
                    if trace_id not in found and _contains(line, wanted):
                        found.add(trace_id)
        return [row for row in rows if row[_TRACE_ID] in found]

    def trace(self, trace_id: str) -> dict[str, Any] | None:
        """Return the row of a trace; None if it is unknown."""
        values = Values()
        keys = "day, start_us, number, trace_id, version"
        sql = f"""SELECT {_COLUMNS} FROM traces WHERE ({keys}) IN (SELECT {keys} FROM traces
                  WHERE trace_id = {values.add(trace_id)} ORDER BY version DESC LIMIT 1) LIMIT 1"""
        rows = self._all(sql, values)
        return object_of(rows[0]) if rows else None

    def matching(self, part: str, *, limit: int) -> list[dict[str, Any]]:
        """Return the traces whose id begins or ends with *part*, newest first."""
        values = Values()
        name = values.add(part)
        condition = f"startsWith(trace_id, {name}) OR endsWith(trace_id, {name})"
        rows: list[tuple[Any, ...]] = []
        position = None
        while len(rows) < limit:
            more, position = self._page(condition, values, limit, position, oldest_first=False)
            rows += more
            if position is None:
                break
        return [object_of(row[2:]) for row in rows[:limit]]

    def records(self, trace_id: str) -> Iterator[bytes]:
        """Yield the lines of a trace as they were received: observations, the trace's own line, scores."""
        after: str | None = None
        while True:
            lines, after = self.piece(trace_id, limit=1_000, after=after)
            yield from lines
            if after is None:
                break
        values = Values()
        for (line,) in self._all(f"SELECT line FROM trace_lines FINAL WHERE trace_id = {values.add(trace_id)}", values):
            yield line.encode()
        yield from self.scores(trace_id)

    def piece(self, trace_id: str, *, limit: int, after: str | None = None) -> tuple[list[bytes], str | None]:
        """Return up to *limit* lines of observations in start order, and the cursor of the next piece."""
        values = Values()
        trace = f"trace_id = {values.add(trace_id)}"
        start, number = (values.add(part, "Int64") for part in (position_of(after) if after else (-(2**62), 0)))
        # The ids are found first, so that the lines of other pieces are not read.
        ids = f"""SELECT id FROM observations FINAL WHERE {trace} AND (start_us, {_NUMBER}) > ({start}, {number})
                  ORDER BY start_us, {_NUMBER} LIMIT {limit + 1}"""
        sql = f"""SELECT start_us, {_NUMBER} AS number, line FROM observations FINAL WHERE {trace} AND id IN ({ids})
                  ORDER BY start_us, number"""
        rows = self._all(sql, values)
        following = cursor_of(*rows[limit - 1][:2]) if len(rows) > limit else None
        return [line.encode() for _, _, line in rows[:limit]], following

    def scores(self, trace_id: str) -> list[bytes]:
        """Return the lines of the scores of a trace, oldest first."""
        values = Values()
        sql = f"SELECT line FROM scores FINAL WHERE trace_id = {values.add(trace_id)} ORDER BY time_us, id"
        return [line.encode() for (line,) in self._all(sql, values)]

    def sessions(self, wanted: CollectorFilter, *, limit: int, cursor: str | None = None) -> Page:
        """Return sessions, the most recent first."""
        values = Values()
        condition = condition_of(wanted, values)
        having = ""
        if cursor is not None:
            start, number = (values.add(part, "Int64") for part in position_of(cursor))
            having = f"HAVING (last, last_number) < ({start}, {number})"
        sql = f"""SELECT session_id, count(), min(start_us), max(start_us) AS last, countIf(errors > 0),
                         sum(observations), sum(tokens), sum(cost), max(number) AS last_number
                  FROM (SELECT * FROM traces ORDER BY version DESC LIMIT 1 BY trace_id)
                  WHERE isNotNull(session_id) AND {condition}
                  GROUP BY session_id {having} ORDER BY last DESC, last_number DESC LIMIT {limit + 1}"""
        rows = self._all(sql, values)
        shown = rows[:limit]
        following = cursor_of(shown[-1][3], shown[-1][8]) if len(rows) > limit else None
        return Page([session_of(row) for row in shown], following)

    def totals(self, wanted: Totals) -> list[Step]:
        """Return the totals that *wanted* describes."""
        values = Values()
        return steps_of(self._all(totals_query(wanted, values), values))

    def counts(self) -> dict[str, int]:
        """Return the numbers of traces and observations, and the size in bytes; of many, about."""
        sizes = self._sizes()
        rows = {name: self._all(f"SELECT count() FROM {name}", Values())[0][0] for name in sizes}
        counts = {name: rows[name] for name in ("traces", "observations")}
        if rows["traces"] + rows["observations"] <= EXACT_ROWS:
            ((counts["traces"],),) = self._all("SELECT uniqExact(trace_id) FROM traces", Values())
            ((counts["observations"],),) = self._all("SELECT count() FROM observations FINAL", Values())
        # Deleted rows are on the disk until their parts are merged: their share is left out.
        size = sum(bytes * rows[name] // max(count, 1) for name, (count, bytes) in sizes.items())
        return {**counts, "bytes": size}

    def _sizes(self) -> dict[str, tuple[int, int]]:
        """Return the rows and the bytes on the disk of each table."""
        sizes = {table.name: (0, 0) for table in TABLES}
        values = Values()
        names = values.texts(self._layout.local(table.name) for table in TABLES)
        source = "system.parts" if self._layout.cluster is None else f"cluster(`{self._layout.cluster}`, system.parts)"
        sql = f"""SELECT table, sum(rows), sum(bytes_on_disk) FROM {source}
                  WHERE database = currentDatabase() AND active AND table IN {names} GROUP BY table"""
        for table, rows, size in self._all(sql, values):
            sizes[table.removesuffix("_local")] = rows, size
        return sizes

    def close(self) -> None:
        """Close the connections."""
        self._connection.close()


def _contains(line: str, wanted: str) -> bool:
    try:
        return contains(decode(line.encode()), wanted)
    except ValueError:
        return False
