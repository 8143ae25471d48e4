"""
Encode rows in the text format of PostgreSQL's COPY: one line per row, with tabs between its values.

Most batches have no character that must be escaped. They are formatted first, and the whole text is searched for such
characters; only where it has some, the rows are formatted again, each value on its own.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import orjson

from .rows import COLUMNS, TraceState

_NULL = r"\N"
_FACETS = COLUMNS.index("facets")


def copied_observations(rows: Sequence[tuple[Any, ...]], days: Mapping[int, str]) -> bytes:
    """
    Return the rows of observations: the number of the trace, then the columns `OBSERVATION`.

    Args:
        rows: They come behind the day of their partition.
        days: Those days by the start of an observation.
    """
    if not rows:
        return b""
    heads, nulls = [_head(row, days[row[7]]) for row in rows], sum([row.count(None) for row in rows])
    if not _is_plain("\n".join(heads), len(rows), _TABS, nulls):
        heads = [_head(tuple(map(_escaped, row)), days[row[7]]) for row in rows]
    encoded = "\n".join(heads).encode("utf-8", "replace").split(b"\n")
    lines = _escaped_lines([row[-1] for row in rows])
    return b"".join([b"%b%b\n" % pair for pair in zip(encoded, lines, strict=True)])


_TABS = 15
"""In the row of an observation."""


def _head(row: tuple[Any, ...], day: str) -> str:
    """Return the row of an observation without its line."""
    trace, id, parent, kind, name, status, level, start_us, duration_ms, model, given, made, total, cost, _ = row
    return (
        f"{day}\t{trace}\t{id}\t{_NULL if parent is None else parent}\t{kind}\t{name}\t"
        f"{_NULL if status is None else status}\t{level}\t{start_us}\t{_NULL if duration_ms is None else duration_ms}\t"
        f"{_NULL if model is None else model}\t{given}\t{made}\t{total}\t{_NULL if cost is None else cost}\t"
    )


def _is_plain(text: str, rows: int, tabs: int, nulls: int) -> bool:
    """Whether *text*, of so many rows, has no characters that must be escaped."""
    return (
        text.count("\\") == nulls
        and text.count("\n") == rows - 1
        and text.count("\t") == rows * tabs
        and "\r" not in text
    )


def _escaped(value: Any) -> Any:
    return _SPECIAL.sub(lambda found: repr(found[0])[1:-1], value) if type(value) is str else value


_SPECIAL = re.compile(r"[\\\n\r\t]")
"""Characters that are escaped."""


def _escaped_lines(lines: Sequence[bytes]) -> list[bytes]:
    """Return *lines*, which have no line ends, for COPY."""
    text = b"\n".join(lines)
    if b"\\" in text:
        text = text.replace(b"\\", b"\\\\")
    if b"\t" in text or b"\r" in text:
        text = text.replace(b"\t", b"\\t").replace(b"\r", b"\\r")
    return text.split(b"\n")


def copied_traces(states: Iterable[TraceState]) -> bytes:
    """Return the rows of traces: their number, `COLUMNS`, and their line."""
    rows = list[list[Any]]()
    for state in states:
        values = [state.number, *state.columns(), None if state.line is None else state.line.decode()]
        values[1 + _FACETS] = _array_of(values[1 + _FACETS])
        rows.append(values)
    if not rows:
        return b""
    text = "\n".join(map(_values, rows))
    if not _is_plain(text, len(rows), len(rows[0]) - 1, sum([row.count(None) for row in rows])):
        text = "\n".join([_values(map(_escaped, row)) for row in rows])
    return f"{text}\n".encode("utf-8", "replace")


def _values(row: Iterable[Any]) -> str:
    return "\t".join([_NULL if value is None else str(value) for value in row])


def _array_of(facets: str) -> str:
    """Return a JSON list of texts as an array of PostgreSQL, which escapes quotes and backslashes in the same way."""
    if "\\" not in facets or _OTHER_ESCAPE.search(facets) is None:
        return f"{{{facets[1:-1]}}}"
    quoted = (re.sub(r'(["\\])', r"\\\1", facet) for facet in orjson.loads(facets))
    return "{" + ",".join(f'"{facet}"' for facet in quoted) + "}"


_OTHER_ESCAPE = re.compile(r'\\[^"\\]')
"""What JSON escapes otherwise, perhaps: control characters."""


def array_of_numbers(values: Sequence[float | int]) -> str:
    """Return numbers as an array of PostgreSQL, in much less time than psycopg takes for each of them."""
    return f"{{{','.join(map(repr, values))}}}"
