"""
Which traces of the PostgreSQL store have a text in one of their records.

The database compares the lines with a part of the text that every encoding of it has; the lines it returns are decoded.
"""

from __future__ import annotations

from typing import Any

from ...reading.catalog.text import contains, plain_part
from ...storage.decoding import decode
from .postgres_queries import escaped

_LINES = 3
"""Of each trace that are returned at first; one is enough where the text is not in a key or another field."""

_MORE_LINES = 200
"""Of a trace that are returned at once after that."""


def with_text(connection: Any, traces: list[int], text: str) -> set[int]:
    """Return those of *traces* that have *text* in a name, input, output or error."""
    wanted, pattern = text.casefold(), f"%{escaped(plain_part(text).decode())}%"
    sql = f"""SELECT given.trace, matching.line FROM unnest(%s::bigint[]) AS given (trace) CROSS JOIN LATERAL
              (SELECT line FROM observations WHERE trace = given.trace AND line ILIKE %s LIMIT {_LINES}) AS matching
              UNION ALL SELECT number, line FROM traces WHERE number = ANY(%s) AND line ILIKE %s"""
    found: set[int] = set()
    returned: dict[int, int] = {}
    for trace, line in connection.execute(sql, (traces, pattern, traces, pattern)):
        returned[trace] = returned.get(trace, 0) + 1
        if trace not in found and _contains(line, wanted):
            found.add(trace)
    for trace, count in returned.items():
        if count >= _LINES and trace not in found and _any_contains(connection, trace, wanted, pattern):
            found.add(trace)
    return found


def _any_contains(connection: Any, trace: int, wanted: str, pattern: str) -> bool:
    """Whether an observation of *trace* contains *wanted*."""
    sql = f"""SELECT start_us, number, line FROM observations
              WHERE trace = %s AND (start_us, number) > (%s, %s) AND line ILIKE %s
              ORDER BY start_us, number LIMIT {_MORE_LINES}"""
    after = (-(2**62), 0)
    while rows := connection.execute(sql, (trace, *after, pattern)).fetchall():
        if any(_contains(line, wanted) for _, _, line in rows):
            return True
        after = rows[-1][:2]
    return False


def _contains(line: str, wanted: str) -> bool:
    try:
        return contains(decode(line.encode()), wanted)
    except ValueError:
        return False
