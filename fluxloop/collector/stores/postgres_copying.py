"""
Encode rows in the text format of PostgreSQL's COPY: one line per row, with tabs between its values.

Most batches have no character that must be escaped. They are formatted first, and the whole text is searched for such
characters; only where it has some, the rows are formatted again, each value on its own.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain, repeat
from typing import Any

import orjson

from ..record_rows import Observation
from .postgres_schema import DAY_US
from .rows import COLUMNS, TraceState

_NULL = r"\N"
_FACETS = COLUMNS.index("facets")


def copied_observations(rows: Sequence[tuple[int, Observation]], days: Mapping[int, str]) -> bytes:
    """
    Return the rows of observations: the day of their partition, the number of the trace, the columns `OBSERVATION`.

    Args:
        rows: Each with the number of its trace.
        days: The days of partitions by the day since 1970 on which an observation began.
    """
    if not rows:
        return b""
    heads = _heads(rows, days)
    if not _is_plain("".join(heads), len(rows), _TABS):
        heads = _heads([(number, tuple(map(_escaped, row))) for number, row in rows], days)
    encoded = "\n".join(heads).encode("utf-8", "replace").replace(_NULL_MARK.encode(), _NULL.encode()).split(b"\n")
    lines = _escaped_lines([row[-1] for _, row in rows])
    return b"".join(chain.from_iterable(zip(encoded, lines, repeat(b"\n"), strict=False)))


_NULL_MARK = "\0"
"""Is in the place of no value until the texts, which have none, have been searched for backslashes."""

_TABS = 15
"""In the row of an observation."""


def _heads(rows: Sequence[tuple[int, tuple[Any, ...]]], days: Mapping[int, str]) -> list[str]:
    """Return the rows of observations without their lines."""
    null = _NULL_MARK
    return [
        f"{days[start_us // DAY_US]}\t{number}\t{id}\t{null if parent is None else parent}\t{kind}\t{name}\t"
        f"{null if status is None else status}\t{level}\t{start_us}\t{null if duration_ms is None else duration_ms}\t"
        f"{null if model is None else model}\t{given}\t{made}\t{total}\t{null if cost is None else cost}\t"
        for number, (
            _, id, parent, kind, name, status, level, start_us, duration_ms, model, given, made, total, cost, _,
        ) in rows
    ]  # fmt: skip


def _is_plain(text: str, lines: int, tabs: int) -> bool:
    """Whether *text*, of rows with so many *tabs* each, has no other characters that must be escaped."""
    return "\\" not in text and text.count("\t") == lines * tabs and "\n" not in text and "\r" not in text


def _escaped(value: Any) -> Any:
    return _SPECIAL.sub(lambda found: repr(found[0])[1:-1], value) if type(value) is str else value


_SPECIAL = re.compile(r"[\\\n\r\t]")
"""Characters that are escaped."""


def _escaped_lines(lines: list[bytes]) -> list[bytes]:
    """Return *lines*, which have no line ends, for COPY."""
    text = b"\n".join(lines)
    if all(text.find(special) < 0 for special in (b"\\", b"\t", b"\r")):
        return lines
    return text.replace(b"\\", b"\\\\").replace(b"\t", b"\\t").replace(b"\r", b"\\r").split(b"\n")


def copied_traces(states: Iterable[TraceState]) -> bytes:
    """Return the rows of traces: their number, `COLUMNS`, and their line."""
    rows = list[list[Any]]()
    for state in states:
        values = [state.number, *state.columns(), None if state.line is None else state.line.decode()]
        values[1 + _FACETS] = _array_of(values[1 + _FACETS])
        rows.append(values)
    return copied(rows)


def copied(rows: Sequence[Sequence[Any]]) -> bytes:
    """Return *rows* of texts and numbers, all with the same number of values."""
    if not rows:
        return b""
    lines = ["\t".join([_NULL_MARK if value is None else str(value) for value in row]) for row in rows]
    if not _is_plain("".join(lines), len(rows), len(rows[0]) - 1):
        lines = ["\t".join([_NULL_MARK if value is None else str(_escaped(value)) for value in row]) for row in rows]
    return "\n".join([*lines, ""]).replace(_NULL_MARK, _NULL).encode("utf-8", "replace")


def _array_of(facets: str) -> str:
    """Return a JSON list of texts as an array of PostgreSQL, which escapes quotes and backslashes in the same way."""
    if "\\" not in facets or _OTHER_ESCAPE.search(facets) is None:
        return f"{{{facets[1:-1]}}}"
    quoted = (re.sub(r'(["\\])', r"\\\1", facet) for facet in orjson.loads(facets))
    return "{" + ",".join(f'"{facet}"' for facet in quoted) + "}"


_OTHER_ESCAPE = re.compile(r'\\[^"\\]')
"""What JSON escapes otherwise, perhaps: control characters."""
