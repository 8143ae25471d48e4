"""
Select traces of an index: a `TraceFilter` and an order as SQL. Filters are evaluated here and nowhere else.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from orjson import dumps

from ..filters import TraceFilter

ORDERS = {
    "start": ("start_us DESC", "start_us NULLS LAST"),
    "duration": ("duration_ms DESC", "duration_ms NULLS LAST"),
    "tokens": ("tokens DESC", "tokens NULLS LAST"),
    "cost": ("dollars DESC", "dollars NULLS LAST"),
    "errors": ("errors DESC", "errors"),
    "observations": ("observations DESC", "observations"),
    "name": ("name COLLATE NOCASE", "name COLLATE NOCASE DESC"),
    "status": ("coalesce(status, 'running')", "coalesce(status, 'running') DESC"),
}
"""The orders of a list by name (newest, longest, most expensive first), each with its reverse; unknown values last."""

EVERY_TRACE = "1"
"""The condition that every trace meets."""


class Query(NamedTuple):
    """A condition in SQL with its parameters."""

    condition: str
    parameters: list[Any]


def query_of(wanted: TraceFilter, *, day: str | None = None) -> Query:
    """Return the condition for the traces that *wanted* accepts, without its ``text``; of one *day* only, if given."""
    parts: list[tuple[str, list[Any]]] = []
    if day is not None:
        parts.append(("day = ?", [day]))
    if wanted.status is not None:
        parts.append((f"coalesce(status, 'running') IN ({_marks(wanted.status)})", [*wanted.status]))
    for column, patterns in (("name", wanted.name), ("session_id", wanted.session), ("user_id", wanted.user)):
        if patterns is not None:
            parts.append(_any(f"{column} LIKE ? ESCAPE '\\'", map(_pattern, patterns)))
    for column, patterns in (("tags", wanted.tag), ("models", wanted.model)):
        if patterns is not None:
            each = "EXISTS (SELECT 1 FROM json_each({column}) WHERE value LIKE ? ESCAPE '\\')"
            conditions = [
                (each if "*" in text else "{column} LIKE ? ESCAPE '\\'").format(column=column) for text in patterns
            ]
            values = [_pattern(text) if "*" in text else f"%{_pattern(dumps(text).decode())}%" for text in patterns]
            parts.append((f"{column} != '[]' AND ({' OR '.join(conditions)})", values))
    if wanted.since is not None:
        parts.append(("start_us >= ?", [_us(wanted.since)]))
    if wanted.until is not None:
        parts.append(("start_us < ?", [_us(wanted.until)]))
    if wanted.min_duration is not None:
        parts.append(("duration_ms >= ?", [wanted.min_duration / timedelta(milliseconds=1)]))
    if wanted.min_tokens is not None:
        parts.append(("tokens >= ?", [wanted.min_tokens]))
    if wanted.has_error is not None:
        failed = "(errors > 0 OR status IS 'error')"
        parts.append((failed if wanted.has_error else f"NOT {failed}", []))
    condition = " AND ".join(f"({condition})" for condition, _ in parts) or EVERY_TRACE
    return Query(condition, [value for _, values in parts for value in values])


def _any(condition: str, values: Iterable[Any]) -> tuple[str, list[Any]]:
    parameters = [*values]
    return " OR ".join([condition] * len(parameters)), parameters


def _marks(values: Iterable[Any]) -> str:
    return ", ".join("?" for _ in values)


def _pattern(text: str) -> str:
    """Return *text* as a pattern of LIKE, which ignores the case of ASCII letters; ``*`` is any characters."""
    return re.sub(r"([\\%_])", r"\\\1", text).replace("*", "%")


def _us(moment: datetime) -> int:
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
