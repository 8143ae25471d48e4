"""
Temporary databases for what would take too much memory. They are on disk, and are deleted when they are closed.
"""

from __future__ import annotations

import sqlite3
import weakref
from collections.abc import Iterator
from contextlib import contextmanager

CACHE_KB = 4_000
"""Kilobytes of a database that stay in memory."""


def scratch_database(owner: object) -> sqlite3.Connection:
    """Return a new database, which is closed when *owner* is collected."""
    database = sqlite3.connect("", isolation_level=None, check_same_thread=False)  # a file without a name
    for setting in ("journal_mode = OFF", "synchronous = OFF", f"cache_size = -{CACHE_KB}"):
        database.execute(f"PRAGMA {setting}")
    weakref.finalize(owner, database.close)
    return database


@contextmanager
def transaction(database: sqlite3.Connection) -> Iterator[None]:
    """Write everything in a block together, which is faster."""
    database.execute("BEGIN")
    yield
    database.execute("COMMIT")
