"""
Search in the SQLite store: which records contain a text, by an index of all sequences of three characters.

The index is made while the store has nothing else to write, so that receiving records does not wait for it. What is not
indexed yet is searched record by record. The index names candidates; each of them is compared with its record, so that
a text means the same as in `fluxloop list --text`.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from typing import NamedTuple

from ...reading.catalog.text import contains
from ...storage.decoding import decode
from .lines import Resolve
from .sequences import LONG, indexed_text, sequences_of

MAX_CANDIDATES = 2_000
"""Where more records than this may contain a text, the newest traces are compared one after the other instead."""

MAX_PENDING = 20_000
"""Where more observations are not indexed yet, the same."""


def index_some(connection: sqlite3.Connection, limit: int, resolve: Resolve) -> int:
    """Index up to *limit* observations and as many traces, in the caller's transaction; return how many."""
    sql = "SELECT number, line FROM observations WHERE number > ? ORDER BY number LIMIT ?"
    rows = connection.execute(sql, (_indexed_to(connection), limit)).fetchall()
    if rows:
        connection.execute("INSERT OR REPLACE INTO files VALUES ('words', ?)", (str(rows[-1][0]),))
    sql = "SELECT n.number, line FROM new_words n JOIN traces ON traces.number = -n.number LIMIT ?"
    lines = connection.execute(sql, (limit,)).fetchall()
    connection.executemany("DELETE FROM new_words WHERE number = ?", [(number,) for number, _ in lines])
    texts = [(number, indexed_text(resolve(line))) for number, line in [*rows, *lines]]
    connection.executemany("INSERT INTO words (rowid, text) VALUES (?, ?)", texts)
    return len(texts)


def forget_words(connection: sqlite3.Connection, trace: int, resolve: Resolve) -> None:
    """Remove the records of a trace from the index."""
    lines = "SELECT number, line FROM observations WHERE trace = ? AND number <= ?"
    own = "SELECT -number, line FROM traces WHERE number = ? AND line IS NOT NULL AND -number NOT IN new_words"
    found = connection.execute(f"{lines} UNION ALL {own}", (trace, _indexed_to(connection), trace)).fetchall()
    texts = [(number, indexed_text(resolve(line))) for number, line in found]
    connection.executemany("INSERT INTO words (words, rowid, text) VALUES ('delete', ?, ?)", texts)


def pending_words(connection: sqlite3.Connection) -> int:
    """Return the number of observations that are not indexed yet, about."""
    (last,) = connection.execute("SELECT max(number) FROM observations").fetchone()
    return max(0, (last or 0) - _indexed_to(connection))


Candidates = dict[int, list[int]]
"""The records that may contain a text, by trace: the number of an observation, or minus that of a trace."""


class Newest(NamedTuple):
    """The newest records that may contain a text."""

    by_trace: Candidates
    lowest: int
    """No other observation with this number or a higher one may contain the text."""
    is_all: bool


def newest_candidates(connection: sqlite3.Connection, text: str, limit: int) -> Newest | None:
    """Return about *limit* records that may contain *text*, with traces' lines last; None without an index."""
    query = _query_of(text)
    if query is None or pending_words(connection) > MAX_PENDING:
        return None
    sql = "SELECT rowid FROM words WHERE words MATCH ? ORDER BY rowid DESC LIMIT ?"
    numbers = [number for (number,) in connection.execute(sql, (query, limit + 1))]
    sql = "SELECT trace, number FROM observations WHERE number IN (SELECT value FROM json_each(?)) OR number > ?"
    found: Candidates = {}
    for trace, number in connection.execute(sql, (str(numbers), _indexed_to(connection))):
        found.setdefault(trace, []).append(number)
    for number in [*(n for n in numbers if n < 0), *(n for (n,) in connection.execute("SELECT number FROM new_words"))]:
        found.setdefault(-number, []).append(number)
    is_all = len(numbers) <= limit
    return Newest(found, 0 if is_all else max(0, numbers[-1]), is_all)


def candidates_in(
    connection: sqlite3.Connection, traces: list[int], text: str, known: Newest | None, *, is_large: bool
) -> Candidates | None:
    """
    Return the records of *traces* that may contain *text*; the newest are *known*.

    None if they are many and the traces, too (*is_large*), so that fewer traces should be searched at once.
    """
    query = _query_of(text)
    found = None
    if query is not None and traces:
        found = _indexed_candidates(connection, query, traces, known)
    if found is None and not is_large:  # a short text, or records that are far apart in the index
        found = {trace: [-trace] for trace in traces}
        sql = "SELECT trace, number FROM observations WHERE trace IN (SELECT value FROM json_each(?))"
        for trace, number in connection.execute(sql, (str(traces),)):
            found[trace].append(number)
    return found


def _indexed_candidates(
    connection: sqlite3.Connection, query: str, traces: list[int], known: Newest | None
) -> Candidates | None:
    """Return what the index finds of *traces*, and what it does not have; None if it is much."""
    own = _own_lines(connection, query, min(traces), max(traces))
    if own is None:
        return None
    new = [n for (n,) in connection.execute("SELECT number FROM new_words")]
    wanted = set(traces)
    found: Candidates = {-number: [number] for number in {*own, *new} if -number in wanted}
    if known is not None and _first_observation(connection, traces) >= known.lowest:
        for trace in wanted & known.by_trace.keys():
            found[trace] = [*found.get(trace, ()), *(n for n in known.by_trace[trace] if n > 0)]
        return found
    numbers = _indexed_observations(connection, query, traces)
    if numbers is None:
        return None
    for trace, number in numbers:
        if trace in wanted:
            found.setdefault(trace, []).append(number)
    return found


def _own_lines(connection: sqlite3.Connection, query: str, first: int, last: int) -> list[int] | None:
    """Return the indexed lines of the traces from *first* to *last* that may match; None if they are many."""
    # Traces have the lowest numbers of the index, so their range is reached from its beginning.
    sql = "SELECT rowid FROM words WHERE words MATCH ? AND rowid BETWEEN ? AND ? ORDER BY rowid ASC LIMIT ?"
    own = [n for (n,) in connection.execute(sql, (query, -last, -first, MAX_CANDIDATES))]
    return own if len(own) < MAX_CANDIDATES else None


def newest_traces(connection: sqlite3.Connection, text: str, known: Newest) -> tuple[int, Candidates] | None:
    """
    Return the lowest number of a trace whose records are all among the newest, and what may contain *text* from there.

    Every trace with this number or a higher one has no older records. None if too many lines of traces match.
    """
    sql = "SELECT number, after_observation FROM traces WHERE number >= ? ORDER BY number LIMIT 1"
    (last,) = connection.execute("SELECT max(number) FROM traces").fetchone()
    low, first = 0, (last or 0) + 1
    while low < first:  # both numbers grow together
        middle = (low + first) // 2
        number, after = connection.execute(sql, (middle,)).fetchone()
        if after is not None and after + 1 >= known.lowest:
            first = middle
        else:
            low = number + 1
    query = _query_of(text)
    own = None if query is None else _own_lines(connection, query, first, last or 0)
    if own is None:
        return None
    found = {trace: numbers for trace, numbers in known.by_trace.items() if trace >= first}
    for number in own:
        if number not in found.get(-number, ()):
            found[-number] = [*found.get(-number, ()), number]
    return first, found


def _first_observation(connection: sqlite3.Connection, traces: list[int]) -> int:
    """
    Return a number that no observation of *traces* is below.

    A trace that was inserted earlier has a lower number, and follows an observation with a lower number, too.
    """
    sql = "SELECT after_observation FROM traces WHERE number = ?"
    (after,) = connection.execute(sql, (min(traces),)).fetchone()
    if after is None:  # inserted by a version that did not keep it
        sql = "SELECT min(number) - 1 FROM observations WHERE trace IN (SELECT value FROM json_each(?))"
        (after,) = connection.execute(sql, (str(traces),)).fetchone()
    return 0 if after is None else int(after) + 1


def _indexed_observations(
    connection: sqlite3.Connection, query: str, traces: list[int]
) -> list[tuple[int, int]] | None:
    """Return the trace and number of observations that may match, of *traces* and of others; None if they are many."""
    sql = "SELECT min(number), max(number) FROM observations WHERE trace IN (SELECT value FROM json_each(?))"
    first, last = connection.execute(sql, (str(traces),)).fetchone()
    if first is None:
        return []
    sql = "SELECT rowid FROM words WHERE words MATCH ? AND rowid BETWEEN ? AND ? ORDER BY rowid DESC LIMIT ?"
    numbers = [n for (n,) in connection.execute(sql, (query, first, last, MAX_CANDIDATES))]
    if len(numbers) == MAX_CANDIDATES:
        return None
    sql = "SELECT trace, number FROM observations WHERE number IN (SELECT value FROM json_each(?))"
    later = "SELECT trace, number FROM observations WHERE number BETWEEN ? AND ?"
    values = (str(numbers), max(first, _indexed_to(connection) + 1), last)
    return connection.execute(f"{sql} UNION ALL {later}", values).fetchall()


def _query_of(text: str) -> str | None:
    """Return the query of the index for *text*; None for a text that is too short for it."""
    sequences = sequences_of(text)
    return f"({' AND '.join(map(_quoted, sequences))}) OR {_quoted(LONG)}" if sequences else None


def any_contains(connection: sqlite3.Connection, numbers: list[int], text: str, resolve: Resolve) -> bool:
    """Whether one of the records contains *text*."""
    wanted = text.casefold()
    return any(line and line_contains(resolve(line), wanted) for line in _lines(connection, numbers))


def line_contains(line: bytes, wanted: str) -> bool:
    """Whether a line contains *wanted*, which is case-folded, in its name, input, output or error."""
    try:
        return contains(decode(line), wanted)
    except ValueError:
        return False


def _lines(connection: sqlite3.Connection, numbers: list[int]) -> Iterator[bytes]:
    """Yield the line of each record."""
    for number in numbers:
        table = "observations" if number > 0 else "traces"
        for (line,) in connection.execute(f"SELECT line FROM {table} WHERE number = ?", (abs(number),)):
            yield line


def _indexed_to(connection: sqlite3.Connection) -> int:
    """Return the number of the last observation that is indexed."""
    found = connection.execute("SELECT state FROM files WHERE name = 'words'").fetchone()
    return int(found[0]) if found else 0


def _quoted(sequence: str) -> str:
    escaped = sequence.replace("\0", " ").replace('"', '""')
    return f'"{escaped}"'
