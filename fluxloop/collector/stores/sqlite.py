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
from typing import Any, TypeVar

from ...reading.catalog.query import query_of
from ...reading.filters import CollectorFilter
from ..record_rows import Row
from .contract import Deletion, StoreError, Written
from .lines import Resolve, as_stored
from .sqlite_reading import SqliteReading, problem_of
from .sqlite_schema import connected, open_file
from .sqlite_words import index_some
from .sqlite_writing import Writing, chunks, delete_traces

T = TypeVar("T")

MAX_TOGETHER = 20_000
"""Records in one commit."""

_WORDS_AT_ONCE = 100
"""Records whose texts are indexed between two looks for new batches."""

_IDLE_S = 0.25
"""How long the writer waits for a batch before it indexes texts."""

_DELETE_AT_ONCE = 200
"""Traces in one commit of a deletion, so that batches do not wait for all of it."""

Task = Callable[[sqlite3.Connection], Any]


class SqliteStore(SqliteReading):
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
        super().__init__(path, resolve)
        self._writer = open_file(path)
        self._tasks: queue.SimpleQueue[tuple[Sequence[Row] | Task, Future[Any]] | None] = queue.SimpleQueue()
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
            if len(tasks) > 1 and not _is_locked(error):
                for task in tasks:
                    self._commit([task])
                return
            problem = problem_of(error, self.path) if isinstance(error, sqlite3.Error) else error
            for _, future in tasks:
                future.set_exception(problem)
            return
        for (_, future), result in zip(tasks, results, strict=True):
            future.set_result(result)

    def _transact(self, tasks: list[Sequence[Row] | Task]) -> list[Any]:
        connection = self._writer
        with _transaction(connection):
            writing = Writing(connection)
            results: list[Any] = []
            for task in tasks:
                if isinstance(task, Sequence):
                    results.append(writing.add(task))
                else:  # it sees what was written before it, such as the observations of a trace that it deletes
                    writing.finish()
                    results.append(task(connection))
                    writing = Writing(connection)
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
        with self._reading(inf) as connection:  # a deletion may look at all traces
            numbers = [n for (n,) in connection.execute(f"SELECT number FROM traces WHERE {condition}", (value,))]
        return sum(
            self.run(lambda connection, some=some: delete_traces(connection, some, self._resolve))  # type: ignore[misc]
            for some in chunks(numbers, _DELETE_AT_ONCE)
        )

    # Reading.

    def check(self) -> None:
        """Raise `StoreError` unless the store can be read and written now."""
        self.run(lambda connection: connection.execute("SELECT count(*) FROM files").fetchone())

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
            raise problem_of(error, self.path) from error

    def close(self) -> None:
        """Finish what was begun, and release the file."""
        if self._is_closed:
            return
        self._is_closed = True
        self._tasks.put(None)
        self._thread.join()
        for connection in [*self._open, self._writer]:
            connection.close()


def _is_locked(error: Exception) -> bool:
    """Whether another process writes, which has been waited for: it would be waited for as long for each task."""
    return isinstance(error, sqlite3.Error) and getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_BUSY


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
