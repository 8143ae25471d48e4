"""
The SQLite store: one file, one thread that writes, any number of readers.

A batch is durable when `write` returns. The writer commits all batches that wait for it together, and indexes the texts
of records for search while nothing waits.
"""

from __future__ import annotations

import os
import queue
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import closing, contextmanager, suppress
from math import inf
from pathlib import Path
from time import monotonic
from typing import Any, TypeVar

from ...reading.catalog.query import query_of
from ...reading.filters import CollectorFilter
from ..record_rows import Row
from .contract import Deletion, Page, Step, StoreError, Totals, Written
from .cursors import cursor_of, position_of
from .lines import Resolve, as_stored
from .rows import SHOWN, object_of, session_of
from .sqlite_queries import COLUMNS, Selection
from .sqlite_schema import connected, open_file
from .sqlite_words import index_some, pending_words
from .sqlite_writing import Writing, chunks, delete_traces
from .totals import steps_of

T = TypeVar("T")

MAX_TOGETHER = 20_000
"""Records in one commit."""

_WORDS_AT_ONCE = 100
"""Records whose texts are indexed between two looks for new batches."""

_IDLE_S = 0.25
"""How long the writer waits for a batch before it indexes texts."""

QUERY_S = 30.0
"""After which a query is stopped."""

_DELETE_AT_ONCE = 200
"""Traces in one commit of a deletion, so that batches do not wait for all of it."""

Task = Callable[[sqlite3.Connection], Any]


class SqliteStore:
    """
    A store in the file *path*, made if it is missing.

    Args:
        path: The file.
        resolve: Returns the line for a stored value, see `fluxloop.collector.stores.lines`.

    Raises:
        StoreError: If the file cannot be opened, is not a store, or was written by a newer version.
    """

    name = "sqlite"

    def __init__(self, path: Path, *, resolve: Resolve = as_stored) -> None:
        self.path = path
        self._resolve = resolve
        self._writer = open_file(path)
        self._readers = threading.local()
        self._open: list[sqlite3.Connection] = []
        self._lock = threading.Lock()
        self._tasks: queue.SimpleQueue[tuple[Sequence[Row] | Task, Future[Any]] | None] = queue.SimpleQueue()
        self._is_closed = False
        self._thread = threading.Thread(target=self._run, name="fluxloop-store", daemon=True)
        self._thread.start()

    # Writing.

    def write(self, rows: Sequence[Row]) -> Written:
        """Keep *rows*; they are durable when this returns."""
        return self._do(rows)  # type: ignore[no-any-return]  # the writer returns it for rows

    def run(self, task: Callable[[sqlite3.Connection], T]) -> T:
        """Call *task* in the writer's thread, in a transaction of its own."""
        return self._do(task)  # type: ignore[no-any-return]  # what the task returns

    def _do(self, task: Sequence[Row] | Task) -> Any:
        if self._is_closed:
            raise StoreError("the store is closed")
        future: Future[Any] = Future()
        self._tasks.put((task, future))
        return future.result()

    def _run(self) -> None:
        has_words = True
        while True:
            try:
                first = self._tasks.get(timeout=_IDLE_S) if has_words else self._tasks.get()
            except queue.Empty:
                while has_words and self._tasks.empty():
                    has_words = self._index_words()
                continue
            if first is None:
                return
            tasks = [first]
            size = len(first[0]) if isinstance(first[0], Sequence) else MAX_TOGETHER
            is_last = False
            while size < MAX_TOGETHER and not is_last:
                try:
                    following = self._tasks.get_nowait()
                except queue.Empty:
                    break
                if following is None:
                    is_last = True
                else:
                    tasks.append(following)
                    size += len(following[0]) if isinstance(following[0], Sequence) else MAX_TOGETHER
            self._commit(tasks)
            has_words = True
            if is_last:
                return

    def _commit(self, tasks: list[tuple[Sequence[Row] | Task, Future[Any]]]) -> None:
        """Run *tasks* in one transaction; if that fails, each in its own, so that one does not harm another."""
        try:
            results = self._transact([task for task, _ in tasks])
        except Exception as error:
            if len(tasks) > 1:
                for task in tasks:
                    self._commit([task])
                return
            problem = _problem(error, self.path) if isinstance(error, sqlite3.Error) else error
            tasks[0][1].set_exception(problem)
            return
        for (_, future), result in zip(tasks, results, strict=True):
            future.set_result(result)

    def _transact(self, tasks: list[Sequence[Row] | Task]) -> list[Any]:
        connection = self._writer
        with _transaction(connection):
            writing = Writing(connection)
            results = [writing.add(task) if isinstance(task, Sequence) else task(connection) for task in tasks]
            writing.finish()
        return results

    def _index_words(self) -> bool:
        """Index the texts of some records; return whether there are more."""
        with suppress(sqlite3.Error), _transaction(self._writer):
            return index_some(self._writer, _WORDS_AT_ONCE, self._resolve) > 0
        return False

    def delete(self, which: Deletion) -> int:
        """Delete traces with all their records, and return the number of traces."""
        columns = {"trace_id": which.trace_id, "session_id": which.session_id, "user_id": which.user_id}
        conditions = [(f"{name} = ?", value) for name, value in columns.items() if value is not None]
        if which.before is not None:
            before = query_of(CollectorFilter(until=which.before))
            conditions.append((before.condition, before.parameters[0]))
        if len(conditions) != 1:
            raise ValueError("a deletion names a trace, a session, a user or a time")
        condition, value = conditions[0]
        numbers = [n for (n,) in self._read().execute(f"SELECT number FROM traces WHERE {condition}", (value,))]
        return sum(
            self.run(lambda connection, some=some: delete_traces(connection, some, self._resolve))  # type: ignore[misc]
            for some in chunks(numbers, _DELETE_AT_ONCE)
        )

    # Reading.

    def check(self) -> None:
        """Raise `StoreError` unless the store can be read and written now."""
        self.run(lambda connection: connection.execute("SELECT count(*) FROM files").fetchone())

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
        if own is not None and own[0] is not None:
            yield self._resolve(own[0])
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
            return [self._resolve(line) for (line,) in connection.execute(sql, (trace_id,)).fetchall()]

    def sessions(self, wanted: CollectorFilter, *, limit: int, cursor: str | None = None) -> Page:
        """Return sessions, the most recent first."""
        condition, parameters = query_of(wanted)
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

    def backup(self, path: str) -> None:
        """Write a copy of the store to the file *path*, while it is in use."""
        if Path(path).exists():
            raise StoreError(f"{path} exists already; choose another file")
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        try:
            with closing(connected(self.path)) as source, closing(sqlite3.connect(path)) as target:
                source.backup(target)
        except sqlite3.Error as error:
            Path(path).unlink(missing_ok=True)
            raise _problem(error, self.path) from error

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
    def _reading(self) -> Iterator[sqlite3.Connection]:
        """Yield a connection that sees the store as it is now, whatever is written meanwhile."""
        if self._is_closed:
            raise StoreError("the store is closed")
        try:
            connection = self._read()
            self._readers.end = monotonic() + QUERY_S
            connection.execute("BEGIN")
            try:
                yield connection
            finally:
                connection.execute("COMMIT")
        except sqlite3.Error as error:
            raise _problem(error, self.path) from error

    def close(self) -> None:
        """Finish what was begun, and release the file."""
        if self._is_closed:
            return
        self._is_closed = True
        self._tasks.put(None)
        self._thread.join()
        for connection in [*self._open, self._writer]:
            connection.close()


@contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        with suppress(sqlite3.Error):  # a full disk can have rolled it back already
            connection.execute("ROLLBACK")
        raise


def _problem(error: Exception, path: Path) -> StoreError:
    remedy = "Free some space; nothing that was acknowledged is lost" if "full" in str(error) else "Try again later"
    return StoreError(f"the store {path} cannot be used now: {error}. {remedy}")
