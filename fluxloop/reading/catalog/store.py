"""
The file of the index: an SQLite database beside the record files, hidden, and safe to delete at any time.

One process writes it at a time. Where it cannot be written, or is in use for longer than `WAIT_S`, an index in memory
takes its place, made from as much of the file as can be read.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Any

import orjson

from .facts import MOST_KNOWN, TYPES, TraceFacts
from .labels import Labels
from .new_records import FileState
from .row import COLUMNS

NAME = ".index.sqlite"

VERSION = 2
"""Of the tables and of what is in them; a file of any other version is made again."""

WAIT_S = 3.0
"""How long another process's use of the file is waited for."""

_COLUMN_TYPES = {"start_us": "INTEGER", "duration_ms": "REAL"}
_INTEGERS = {"observations", "errors", "warnings", "input_tokens", "output_tokens", "tokens"}

_TABLES = f"""
CREATE TABLE files (name TEXT PRIMARY KEY, day TEXT, inode INTEGER, size INTEGER, mtime_ns INTEGER,
                    offset INTEGER, landmarks BLOB, skipped INTEGER);
CREATE TABLE labels (number INTEGER PRIMARY KEY, label TEXT UNIQUE);
CREATE TABLE traces (number INTEGER PRIMARY KEY, reversed_id TEXT, is_open INTEGER,
    {", ".join(f"{name} {_COLUMN_TYPES.get(name, 'INTEGER' if name in _INTEGERS else 'TEXT')}" for name in COLUMNS)});
CREATE INDEX by_open ON traces (day) WHERE is_open;
CREATE TABLE facts (number INTEGER PRIMARY KEY, facts BLOB);
CREATE TABLE costs (number INTEGER PRIMARY KEY, dollars REAL, calls INTEGER, unknown TEXT);
CREATE TABLE prices (version TEXT);
PRAGMA user_version = {VERSION};
"""


_INDEXES = {
    "by_id": "CREATE UNIQUE INDEX by_id ON traces (reversed_id, day)",
    "by_start": "CREATE INDEX by_start ON traces (start_us)",
}
"""Made when the first records are in, or looked up: to sort many entries at once is faster than to insert each."""


class Store:
    """The tables of an index."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection
        self.labels = Labels(connection)
        self._numbers: dict[tuple[Any, ...], int] = {}
        self._has_indexes = False

    @classmethod
    def on_disk(cls, folder: Path) -> Store:
        """
        Open the index of *folder*, made if it is missing or of another version.

        Raises:
            sqlite3.OperationalError: If it cannot be opened for writing now.
            sqlite3.DatabaseError: If it is damaged.
        """
        path = folder / NAME
        with suppress(OSError):  # as private as the records: SQLite itself asks for no permissions
            os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
        store = cls(_connected(str(path)))
        try:
            (version,) = store.connection.execute("PRAGMA user_version").fetchone()
            if version != VERSION:
                store._create()
        except BaseException:
            store.connection.close()
            raise
        return store

    @classmethod
    def in_memory(cls, folder: Path | None = None) -> Store:
        """Return an index in memory, with what the file in *folder* has, as far as it can be read."""
        store = cls(_connected(":memory:"))
        path = folder / NAME if folder is not None else None
        if path is not None and path.is_file():
            source = f"file:{_quoted(path)}?mode=ro"
            with suppress(sqlite3.Error), closing(sqlite3.connect(source, timeout=WAIT_S, uri=True)) as disk:
                if disk.execute("PRAGMA user_version").fetchone() == (VERSION,):
                    disk.backup(store.connection)
        if store.connection.execute("PRAGMA user_version").fetchone() != (VERSION,):
            store.connection.close()
            store = cls(_connected(":memory:"))
            store._create()
        return store

    def _create(self) -> None:
        with self.transaction():
            for (name,) in self.connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
                self.connection.execute(f"DROP TABLE {name}")
            for statement in _TABLES.split(";"):
                self.connection.execute(statement)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Write everything in the block or nothing of it; the only writer meanwhile."""
        self.connection.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self.connection.execute("ROLLBACK")
            raise
        self.connection.execute("COMMIT")

    def data_version(self) -> int:
        """Return a number that changes when another connection changes the file."""
        return int(self.connection.execute("PRAGMA data_version").fetchone()[0])

    def files(self) -> dict[str, FileState]:
        """Return the state of each file that has been read, by name."""
        return {row[0]: FileState(*row) for row in self.connection.execute("SELECT * FROM files")}

    def set_file(self, state: FileState) -> None:
        """Remember how far a file has been read."""
        self.connection.execute("INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?, ?, ?, ?, ?)", state)

    def forget_day(self, day: str) -> None:
        """Remove all that the files of *day* have added."""
        for table in ("facts", "costs"):
            self.connection.execute(
                f"DELETE FROM {table} WHERE number IN (SELECT number FROM traces WHERE day = ?)", (day,)
            )
        self.connection.execute("DELETE FROM traces WHERE day = ?", (day,))
        self.connection.execute("DELETE FROM files WHERE day = ?", (day,))

    def number_of(self, label: tuple[Any, ...]) -> int:
        """Return the number of the label with these fields, added if it is new."""
        try:
            return self._numbers[label]
        except (KeyError, TypeError):
            return self._added(label)

    def _added(self, label: tuple[Any, ...]) -> int:
        if label[0] not in TYPES:
            raise ValueError(label[0])
        text = orjson.dumps([value if value is None or type(value) is str else str(value) for value in label]).decode()
        self.connection.execute("INSERT OR IGNORE INTO labels (label) VALUES (?)", (text,))
        (number,) = self.connection.execute("SELECT number FROM labels WHERE label = ?", (text,)).fetchone()
        if len(self._numbers) >= MOST_KNOWN:
            self._numbers.clear()
        with suppress(TypeError):  # a value of another program that is not text
            self._numbers[label] = number
        return int(number)

    def add_indexes(self) -> None:
        """Make it quick to find a trace by its id or start, if it is not yet."""
        if self._has_indexes:
            return
        found = {name for (name,) in self.connection.execute("SELECT name FROM sqlite_master WHERE type = 'index'")}
        for name, statement in _INDEXES.items():
            if name not in found:
                self.connection.execute(statement)
        self._has_indexes = True

    def facts(self, day: str, trace_id: str) -> TraceFacts | None:
        """Return the facts of a trace; None if it is not in the index."""
        self.add_indexes()
        row = self.connection.execute(
            "SELECT number, facts FROM traces JOIN facts USING (number) WHERE reversed_id = ? AND day = ?",
            (trace_id[::-1], day),
        ).fetchone()
        if row is None:
            return None
        found = TraceFacts.decoded(trace_id, row[1])
        found.number = row[0]
        return found

    def has_day(self, day: str) -> bool:
        """Whether the index has traces of *day*."""
        sql = "SELECT 1 FROM files WHERE day = ? UNION ALL SELECT 1 FROM traces WHERE is_open AND day = ? LIMIT 1"
        return self.connection.execute(sql, (day, day)).fetchone() is not None

    def write(self, rows: list[tuple[TraceFacts, tuple[Any, ...]]], *, is_open: bool = False) -> None:
        """
        Add traces, or replace those that have a number.

        Args:
            rows: The facts and the columns of each.
            is_open: Whether the rows depend on a journal.
        """
        connection = self.connection
        (last,) = connection.execute("SELECT max(number) FROM traces").fetchone()
        numbers = count((last or 0) + 1)
        replaced = [(facts.number,) for facts, _ in rows if facts.number is not None]
        for table in ("traces", "facts", "costs") if replaced else ():
            connection.executemany(f"DELETE FROM {table} WHERE number = ?", replaced)
        for facts, _ in rows:
            if facts.number is None:
                facts.number = next(numbers)
        connection.executemany(
            _INSERT, [(facts.number, columns[1][::-1], is_open, *columns) for facts, columns in rows]
        )
        connection.executemany(
            "INSERT INTO facts VALUES (?, ?)", [(facts.number, facts.encoded()) for facts, _ in rows]
        )

    def open_traces(self) -> list[tuple[str, str]]:
        """Return the day and the id of each trace whose row depends on a journal."""
        return self.connection.execute("SELECT day, trace_id FROM traces WHERE is_open").fetchall()

    def remove(self, day: str, trace_id: str) -> None:
        """Remove a trace."""
        self.add_indexes()
        for (number,) in self.connection.execute(_FIND, (trace_id[::-1], day)).fetchall():
            for table in ("facts", "costs", "traces"):
                self.connection.execute(f"DELETE FROM {table} WHERE number = ?", (number,))


_FIND = "SELECT number FROM traces WHERE reversed_id = ? AND day = ?"
_INSERT = (
    f"INSERT INTO traces (number, reversed_id, is_open, {', '.join(COLUMNS)}) "
    f"VALUES (?, ?, ?, {', '.join('?' * len(COLUMNS))})"
)


def _connected(path: str) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=WAIT_S, isolation_level=None)
    try:
        for setting in ("trusted_schema = OFF", "cache_size = -16000", "synchronous = NORMAL"):
            connection.execute(f"PRAGMA {setting}")
    except BaseException:  # of a damaged file
        connection.close()
        raise
    return connection


def _quoted(path: Path) -> str:
    from urllib.parse import quote

    return quote(os.fspath(path.absolute()))
