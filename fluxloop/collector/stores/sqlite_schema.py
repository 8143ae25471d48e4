"""
The tables of the SQLite store, its versions, and its connections.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing, suppress
from pathlib import Path

from .contract import StoreError
from .rows import COLUMNS

APPLICATION_ID = 0x464C5843
"""Marks a file as a store of the collector: "FLXC"."""

BUSY_S = 10.0
"""How long another process's write is waited for."""

_TYPES = dict.fromkeys(
    ("start_us", "observations", "errors", "warnings", "input_tokens", "output_tokens", "tokens"), "INTEGER"
) | {"duration_ms": "REAL", "cost": "REAL"}

_COLUMNS = ", ".join(f"{name} {_TYPES.get(name, 'TEXT')}" for name in COLUMNS)

MIGRATIONS = (
    f"""
    CREATE TABLE traces (number INTEGER PRIMARY KEY AUTOINCREMENT, {_COLUMNS}, line BLOB, UNIQUE (trace_id));
    CREATE INDEX traces_by_start ON traces (start_us);
    CREATE INDEX traces_by_duration ON traces (duration_ms);
    CREATE INDEX traces_by_tokens ON traces (tokens) WHERE tokens IS NOT NULL;
    CREATE INDEX traces_by_cost ON traces (cost) WHERE cost IS NOT NULL;
    CREATE INDEX traces_by_session ON traces (session_id, start_us) WHERE session_id IS NOT NULL;
    CREATE TABLE facets (facet TEXT, at_us INTEGER, trace INTEGER, PRIMARY KEY (facet, at_us, trace)) WITHOUT ROWID;
    CREATE TABLE observations (number INTEGER PRIMARY KEY AUTOINCREMENT, trace INTEGER NOT NULL, id TEXT NOT NULL,
        parent_id TEXT, type TEXT, name TEXT, status TEXT, level TEXT, start_us INTEGER, duration_ms REAL, model TEXT,
        input_tokens INTEGER, output_tokens INTEGER, tokens INTEGER, cost REAL, line BLOB, UNIQUE (trace, id));
    CREATE INDEX observations_in_order ON observations (trace, start_us);
    CREATE TABLE scores (trace_id TEXT, id TEXT, name TEXT, time_us INTEGER, line BLOB,
        PRIMARY KEY (trace_id, id)) WITHOUT ROWID;
    CREATE TABLE totals (hour_us INTEGER, type TEXT, name TEXT, model TEXT, bucket INTEGER, count INTEGER,
        errors INTEGER, input_tokens INTEGER, output_tokens INTEGER, tokens INTEGER, cost REAL,
        PRIMARY KEY (hour_us, type, name, model, bucket)) WITHOUT ROWID;
    CREATE VIRTUAL TABLE words USING fts5(text, content='',
        tokenize='trigram case_sensitive 1', detail='none', columnsize=0);
    CREATE TABLE new_words (number INTEGER PRIMARY KEY);
    CREATE TABLE files (name TEXT PRIMARY KEY, state TEXT);
    """,
    """
    DROP INDEX traces_by_duration;
    DROP INDEX traces_by_tokens;
    DROP INDEX traces_by_cost;
    CREATE INDEX traces_by_duration ON traces (duration_ms, start_us);
    CREATE INDEX traces_by_tokens ON traces (tokens, start_us) WHERE tokens IS NOT NULL;
    CREATE INDEX traces_by_cost ON traces (cost, start_us) WHERE cost IS NOT NULL;
    """,
    "ALTER TABLE traces ADD COLUMN after_observation INTEGER",
)
"""The statements that lead from each version of the tables to the next; a released entry is never changed."""

VERSION = len(MIGRATIONS)


def open_file(path: Path) -> sqlite3.Connection:
    """
    Open the store at *path* for writing, made if it is missing and migrated if it is older.

    Raises:
        StoreError: If it cannot be opened, is not a store, or was written by a newer version.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileExistsError):  # as private as the records: SQLite itself asks for no permissions
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
        with closing(sqlite3.connect(path, timeout=BUSY_S)) as unchanged:
            _version(unchanged, path)  # before `connected`, whose settings change the file
        connection = connected(path)
        try:
            _migrate(connection, path)
        except BaseException:
            connection.close()
            raise
    except (OSError, sqlite3.Error) as error:
        if isinstance(error, StoreError):
            raise
        is_read_only = path.parent.is_dir() and not os.access(path.parent, os.W_OK)
        reason = f"the folder {path.parent} cannot be written" if is_read_only else error
        raise StoreError(f"the store {path} cannot be opened: {reason}. Choose another file with --store") from error
    return connection


_SETTINGS = (
    "trusted_schema = OFF",
    "journal_mode = WAL",
    "synchronous = FULL",  # in WAL mode, a commit is durable with FULL only
    "cache_size = -32000",
    "wal_autocheckpoint = 8000",  # pages that are written often reach the file once
    "journal_size_limit = 67108864",
    "temp_store = MEMORY",
)


def connected(path: Path) -> sqlite3.Connection:
    """Return a connection that may be used from any thread, by one at a time."""
    connection = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
    try:
        for setting in _SETTINGS:
            connection.execute(f"PRAGMA {setting}")
    except BaseException:  # of a damaged file
        connection.close()
        raise
    return connection


def _migrate(connection: sqlite3.Connection, path: Path) -> None:
    connection.execute("BEGIN IMMEDIATE")
    try:
        if missing := MIGRATIONS[_version(connection, path) :]:  # else nothing is written: the disk may be full
            for statement in filter(str.strip, ";".join(missing).split(";")):
                connection.execute(statement)
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version = {VERSION}")
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


def _version(connection: sqlite3.Connection, path: Path) -> int:
    """
    Return the version of the tables, 0 for an empty file.

    Raises:
        StoreError: If the file is not a store, or was written by a newer version.
    """
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if application != APPLICATION_ID and tables:
        raise StoreError(f"{path} is an SQLite database, but not a store of FluxLoop. Choose another file")
    if version > VERSION:
        raise StoreError(
            f"{path} was written by a newer FluxLoop (schema {version}, this version knows {VERSION}). "
            "Next step: pip install --upgrade fluxloop"
        )
    return int(version)
