"""
A filter as SQL of PostgreSQL. Texts are found in the array of facets, which has an index.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from ...reading.catalog.query import Query
from ...reading.catalog.text import contains, plain_part
from ...reading.filters import CollectorFilter
from ...storage.decoding import decode
from ..record_rows import time_us
from .rows import FAILED, NUMBERS, folded

_TEXTS = ("status", "name", "session", "user", "tag", "model", "type", "observation", "metadata")

_COMPARED = (*NUMBERS, ("since", "start_us", ">="), ("until", "start_us", "<"))


def condition_of(wanted: CollectorFilter) -> Query:
    """Return the condition of a filter; a text is compared with the records afterwards, see `record_contains`."""
    parts: list[str] = ["true"]
    values: list[Any] = []
    for name in _TEXTS:
        if (texts := getattr(wanted, name)) is not None:
            condition, own = _text_condition(name, texts)
            parts.append(condition)
            values += own
    for name, column, comparison in _COMPARED:
        if (limit := getattr(wanted, name)) is not None:
            parts.append(f"t.{column} {comparison} %s")
            values.append(_number(limit))
    if wanted.has_error is not None:
        parts.append(f"{'' if wanted.has_error else 'NOT '}t.facets @> ARRAY['{FAILED}']")
    if wanted.text is not None and (part := plain_part(wanted.text).decode()):
        pattern = f"%{_escaped(part)}%"
        own_line = "t.line ILIKE %s"
        parts.append(
            f"({own_line} OR EXISTS (SELECT 1 FROM observations o WHERE o.trace = t.number AND o.line ILIKE %s))"
        )
        values += [pattern, pattern]
    return Query(" AND ".join(f"({part})" for part in parts), values)


def _text_condition(name: str, texts: tuple[str, ...]) -> tuple[str, list[Any]]:
    facets = [f"{name}:{folded(text)}" for text in texts]
    if not any("*" in text for text in texts):
        return "t.facets && %s::text[]", [facets]
    patterns = [_escaped(facet).replace("*", "%") for facet in facets]
    return "EXISTS (SELECT 1 FROM unnest(t.facets) AS f WHERE f LIKE ANY(%s::text[]))", [patterns]


def record_contains(line: bytes, text: str) -> bool:
    """Whether a record contains *text* in its name, input, output or error, ignoring case."""
    try:
        return contains(decode(line), text.casefold())
    except ValueError:
        return False


def _escaped(text: str) -> str:
    for character in "\\%_":
        text = text.replace(character, f"\\{character}")
    return text


def _number(limit: Any) -> Any:
    if isinstance(limit, timedelta):
        return limit / timedelta(milliseconds=1)
    return time_us(limit.isoformat()) if hasattr(limit, "isoformat") else limit
