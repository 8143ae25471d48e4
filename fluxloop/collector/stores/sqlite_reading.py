"""
What the SQLite store answers: lists, traces, records, sessions, totals, each from one state of the file.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from math import inf
from pathlib import Path
from time import monotonic
from typing import Any

from ...reading.filters import CollectorFilter
from .contract import Page, Step, StoreError, Totals
from .cursors import cursor_of, position_of
from .lines import Resolve
from .rows import SHOWN, object_of, session_of
from .sqlite_queries import COLUMNS, Selection, condition_of
from .sqlite_schema import connected
from .sqlite_words import pending_words
from .totals import steps_of

QUERY_S = 30.0
"""After which a query is stopped."""


class SqliteReading:
    """
    Answers questions about the store in the file *path*, from any thread.

    Args:
        path: The file.
        resolve: Returns the line for a stored value, see `fluxloop.collector.stores.lines`.
    """

    def __init__(self, path: Path, resolve: Resolve) -> None:
        self.path = path
        self._resolve = resolve
        self._readers = threading.local()
        self._open: list[sqlite3.Connection] = []
        self._lock = threading.Lock()
        self._is_closed = False

    def traces(
        self, wanted: CollectorFilter, *, limit: int, cursor: str | None = None, oldest_first: bool = False
    ) -> Page:
        """Return traces in the order of their starts."""
        after = None if cursor is None else position_of(cursor)
        with self._reading() as connection:
            selection = Selection(connection, wanted, self._resolve, self._readers.end)
            rows = selection.rows(limit + 1, after, oldest_first=oldest_first)
        shown = rows[:limit]
        last = shown[-1] if len(rows) > limit else None
        following = None if last is None else cursor_of(last[1 + SHOWN.index("start_us")], last[0])
        return Page([object_of(row[1:]) for row in shown], following)

    def trace(self, trace_id: str) -> dict[str, Any] | None:
        """Return the row of a trace; None if it is unknown."""
        sql = f"SELECT {COLUMNS} FROM traces t WHERE trace_id = ?"
        with self._reading() as connection:
            found = connection.execute(sql, (trace_id,)).fetchone()
        return None if found is None else object_of(found)

    def matching(self, part: str, *, limit: int) -> list[dict[str, Any]]:
        """Return the traces whose id begins or ends with *part*, newest first."""
        sql = f"""SELECT {COLUMNS} FROM traces t WHERE substr(trace_id, 1, ?) = ? OR substr(trace_id, -?) = ?
                  ORDER BY start_us DESC LIMIT ?"""
        with self._reading() as connection:
            rows = connection.execute(sql, (len(part), part, len(part), part, limit)).fetchall()
        return [object_of(row) for row in rows]

    def records(self, trace_id: str) -> Iterator[bytes]:
        """Yield the lines of a trace as they were received: observations, the trace's own line, scores."""
        after: str | None = None
        while True:
            lines, after = self.piece(trace_id, limit=1_000, after=after)
            yield from lines
            if after is None:
                break
        with self._reading() as connection:
            own = connection.execute("SELECT line FROM traces WHERE trace_id = ?", (trace_id,)).fetchone()
        if own is not None and own[0] is not None and (line := self._resolve(own[0])):
            yield line
        yield from self.scores(trace_id)

    def piece(self, trace_id: str, *, limit: int, after: str | None = None) -> tuple[list[bytes], str | None]:
        """Return up to *limit* lines of observations in start order, and the cursor of the next piece."""
        sql = """SELECT o.start_us, o.number, o.line FROM observations o WHERE trace = ? AND (start_us, number) > (?, ?)
                 ORDER BY start_us, number LIMIT ?"""
        start = (-(2**62), 0) if after is None else position_of(after)
        with self._reading() as connection:
            found = connection.execute("SELECT number FROM traces WHERE trace_id = ?", (trace_id,)).fetchone()
            if found is None:
                return [], None
            rows = connection.execute(sql, (found[0], *start, limit + 1)).fetchall()
        lines = [self._resolve(line) for _, _, line in rows[:limit]]
        following = cursor_of(*rows[limit - 1][:2]) if len(rows) > limit else None
        return [line for line in lines if line], following

    def scores(self, trace_id: str) -> list[bytes]:
        """Return the lines of the scores of a trace, oldest first."""
        sql = "SELECT line FROM scores WHERE trace_id = ? ORDER BY time_us, id"
        with self._reading() as connection:
            rows = connection.execute(sql, (trace_id,)).fetchall()
        return [line for (value,) in rows if (line := self._resolve(value))]

    def sessions(self, wanted: CollectorFilter, *, limit: int, cursor: str | None = None) -> Page:
        """Return sessions, the most recent first."""
        condition, parameters = condition_of(wanted)
        having, after = "", [] if cursor is None else [*position_of(cursor)]
        if after:
            having = "HAVING (max(start_us), max(number)) < (?, ?)"
        sql = f"""SELECT session_id, count(*), min(start_us), max(start_us), sum(errors > 0), sum(observations),
                         sum(tokens), sum(cost), max(number)
                  FROM traces t WHERE session_id IS NOT NULL AND ({condition})
                  GROUP BY session_id {having} ORDER BY max(start_us) DESC, max(number) DESC LIMIT ?"""
        with self._reading() as connection:
            rows = connection.execute(sql, [*parameters, *after, limit + 1]).fetchall()
        shown = rows[:limit]
        following = cursor_of(shown[-1][3], shown[-1][8]) if len(rows) > limit else None
        return Page([session_of(row) for row in shown], following)

    def totals(self, wanted: Totals) -> list[Step]:
        """Return the totals that *wanted* describes."""
        conditions, values = ["1"], list[Any]()
        for condition, value in (("hour_us >= ?", wanted.since_us), ("hour_us < ?", wanted.until_us)):
            if value is not None:
                conditions.append(condition)
                values.append(value)
        for column in ("type", "name", "model"):
            if (texts := getattr(wanted, column)) is not None:
                conditions.append(f"{column} COLLATE NOCASE IN ({', '.join('?' * len(texts))})")
                values += texts
        group = wanted.by or "NULL"
        step = "NULL" if wanted.step_us is None else f"hour_us - (hour_us % {int(wanted.step_us)})"
        sql = f"""SELECT {step} AS step, {group} AS part, bucket, sum(count), sum(errors), sum(input_tokens),
                         sum(output_tokens), sum(tokens), sum(cost)
                  FROM totals WHERE {" AND ".join(conditions)} GROUP BY 1, 2, 3"""
        with self._reading() as connection:
            return steps_of(connection.execute(sql, values))

    def counts(self) -> dict[str, int]:
        """Return the numbers of traces and observations, the size in bytes, and the texts not indexed yet."""
        with self._reading() as connection:
            (traces,) = connection.execute("SELECT count(*) FROM traces").fetchone()
            (observations,) = connection.execute("SELECT coalesce(sum(observations), 0) FROM traces").fetchone()
            waiting = pending_words(connection)
            pages, free, page_bytes = (
                connection.execute(f"PRAGMA {name}").fetchone()[0]
                for name in ("page_count", "freelist_count", "page_size")
            )
        return {
            "traces": traces,
            "observations": observations,
            "bytes": (pages - free) * page_bytes,
            "unindexed": waiting,
        }

    def _read(self) -> sqlite3.Connection:
        """Return the connection of this thread."""
        connection: sqlite3.Connection | None = getattr(self._readers, "connection", None)
        if connection is None:
            connection = connected(self.path)
            connection.execute("PRAGMA query_only = ON")
            connection.set_progress_handler(self._is_late, 100_000)
            self._readers.connection = connection
            with self._lock:
                self._open.append(connection)
        return connection

    def _is_late(self) -> bool:
        """Whether the query of this thread has taken too long; SQLite asks this meanwhile, and then stops it."""
        return monotonic() > getattr(self._readers, "end", inf)

    @contextmanager
    def _reading(self, seconds: float = QUERY_S) -> Iterator[sqlite3.Connection]:
        """Yield a connection, for so long, that sees the store as it is now, whatever is written meanwhile."""
        if self._is_closed:
            raise StoreError("the store is closed")
        try:
            connection = self._read()
            self._readers.end = monotonic() + seconds
            connection.execute("BEGIN")
            try:
                yield connection
            finally:
                connection.execute("COMMIT")
        except sqlite3.Error as error:
            raise problem_of(error, self.path) from error


def problem_of(error: Exception, path: Path) -> StoreError:
    """Return an error of SQLite as that of the store at *path*, with what to do."""
    remedy = "Free some space; nothing that was acknowledged is lost" if "full" in str(error) else "Try again later"
    return StoreError(f"the store {path} cannot be used now: {error}. {remedy}")
