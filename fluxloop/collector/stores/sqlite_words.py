"""
Search in the SQLite store: which records contain a text, by an index of all sequences of three characters.

The index is made while the store has nothing else to write, so that receiving records does not wait for it. What is not
indexed yet is searched record by record. The index names candidates; each of them is compared with its record, so that
a text means the same as in `fluxloop list --text`.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

from ...reading.catalog.text import contains, searched_text
from ...storage.decoding import decode
from .lines import Resolve

MAX_INDEXED = 16_384
"""Characters of a record that are indexed; a record with more is always a candidate."""

MAX_CANDIDATES = 5_000
"""Where more records than this may contain a text, the newest traces are compared one after the other instead."""

_LONG = "\ue001\ue002\ue003"
"""Is added to the indexed text of a record with more than `MAX_INDEXED` characters."""

_MAX_SEQUENCES = 64
"""Sequences of a text that are looked up; they make candidates, so more of them gain little."""


def index_some(connection: sqlite3.Connection, limit: int, resolve: Resolve) -> int:
    """Index up to *limit* observations and as many traces, in the caller's transaction; return how many."""
    sql = "SELECT number, line FROM observations WHERE number > ? ORDER BY number LIMIT ?"
    rows = connection.execute(sql, (_indexed_to(connection), limit)).fetchall()
    if rows:
        connection.execute("INSERT OR REPLACE INTO files VALUES ('words', ?)", (str(rows[-1][0]),))
    sql = "SELECT n.number, line FROM new_words n JOIN traces ON traces.number = -n.number LIMIT ?"
    lines = connection.execute(sql, (limit,)).fetchall()
    connection.executemany("DELETE FROM new_words WHERE number = ?", [(number,) for number, _ in lines])
    texts = [(number, _indexed_text(line, resolve)) for number, line in [*rows, *lines]]
    connection.executemany("INSERT INTO words (rowid, text) VALUES (?, ?)", texts)
    return len(texts)


def forget_words(connection: sqlite3.Connection, trace: int, resolve: Resolve) -> None:
    """Remove the records of a trace from the index."""
    lines = "SELECT number, line FROM observations WHERE trace = ? AND number <= ?"
    own = "SELECT -number, line FROM traces WHERE number = ? AND line IS NOT NULL AND -number NOT IN new_words"
    found = connection.execute(f"{lines} UNION ALL {own}", (trace, _indexed_to(connection), trace)).fetchall()
    texts = [(number, _indexed_text(line, resolve)) for number, line in found]
    connection.executemany("INSERT INTO words (words, rowid, text) VALUES ('delete', ?, ?)", texts)


def pending_words(connection: sqlite3.Connection) -> int:
    """Return the number of observations that are not indexed yet, about."""
    (last,) = connection.execute("SELECT max(number) FROM observations").fetchone()
    return max(0, (last or 0) - _indexed_to(connection))


def traces_with(connection: sqlite3.Connection, text: str, resolve: Resolve) -> set[int] | None:
    """Return the numbers of the traces with *text*; None where too many records may contain it."""
    wanted = text.casefold()
    sequences = list(dict.fromkeys(wanted[at : at + 3] for at in range(len(wanted) - 2)))[:_MAX_SEQUENCES]
    if not sequences:
        return None
    query = f"({' AND '.join(map(_quoted, sequences))}) OR {_quoted(_LONG)}"
    sql = "SELECT rowid FROM words WHERE words MATCH ? LIMIT ?"
    candidates = [number for (number,) in connection.execute(sql, (query, MAX_CANDIDATES + 1))]
    if len(candidates) > MAX_CANDIDATES or pending_words(connection) > 4 * MAX_CANDIDATES:
        return None
    found: set[int] = set()
    for trace, line in _lines(connection, candidates):
        if trace not in found and line_contains(resolve(line), wanted):
            found.add(trace)
    return found


def trace_contains(connection: sqlite3.Connection, trace: int, text: str, resolve: Resolve) -> bool:
    """Whether a record of a trace contains *text*."""
    wanted = text.casefold()
    sql = "SELECT line FROM traces WHERE number = ? UNION ALL SELECT line FROM observations WHERE trace = ?"
    return any(line and line_contains(resolve(line), wanted) for (line,) in connection.execute(sql, (trace, trace)))


def line_contains(line: bytes, wanted: str) -> bool:
    """Whether a line contains *wanted*, which is case-folded, in its name, input, output or error."""
    try:
        return contains(decode(line), wanted)
    except ValueError:
        return False


def _lines(connection: sqlite3.Connection, candidates: list[int]) -> Iterator[tuple[int, bytes]]:
    """Yield the trace and the line of each candidate, and of each record that is not indexed."""
    for number in candidates:
        if number > 0:
            yield from connection.execute("SELECT trace, line FROM observations WHERE number = ?", (number,))
        else:
            sql = "SELECT number, line FROM traces WHERE number = ? AND line IS NOT NULL"
            yield from connection.execute(sql, (-number,))
    indexed = _indexed_to(connection)
    yield from connection.execute("SELECT trace, line FROM observations WHERE number > ?", (indexed,))
    sql = "SELECT traces.number, line FROM new_words n JOIN traces ON traces.number = -n.number WHERE line IS NOT NULL"
    yield from connection.execute(sql)


def _indexed_to(connection: sqlite3.Connection) -> int:
    """Return the number of the last observation that is indexed."""
    found = connection.execute("SELECT state FROM files WHERE name = 'words'").fetchone()
    return int(found[0]) if found else 0


def _indexed_text(line: bytes, resolve: Resolve) -> str:
    try:
        text = searched_text(decode(resolve(line)))
    except ValueError:
        return ""
    text = text.replace("\0", " ")
    return text if len(text) <= MAX_INDEXED else f"{text[:MAX_INDEXED]}\n{_LONG}"


def _quoted(sequence: str) -> str:
    escaped = sequence.replace("\0", " ").replace('"', '""')
    return f'"{escaped}"'
