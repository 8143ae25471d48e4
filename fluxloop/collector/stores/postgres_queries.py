"""
A filter as SQL of PostgreSQL. Texts are found in the array of facets, which has an index.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from ...reading.catalog.query import Query
from ...reading.filters import CollectorFilter
from ..record_rows import time_us
from .rows import FAILED, NUMBERS, folded

_TEXTS = ("status", "name", "session", "user", "tag", "model", "type", "observation", "metadata")

_COMPARED = (*NUMBERS, ("since", "start_us", ">="), ("until", "start_us", "<"))


def condition_of(wanted: CollectorFilter) -> Query:
    """Return the condition of a filter without its text, see `postgres_search`."""
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
    return Query(" AND ".join(f"({part})" for part in parts), values)


def _text_condition(name: str, texts: tuple[str, ...]) -> tuple[str, list[Any]]:
    facets = [f"{name}:{folded(text)}" for text in texts]
    if not any("*" in text for text in texts):
        return "t.facets && %s::text[]", [facets]
    patterns = [escaped(facet).replace("*", "%") for facet in facets]
    return "EXISTS (SELECT 1 FROM unnest(t.facets) AS f WHERE f LIKE ANY(%s::text[]))", [patterns]


def escaped(text: str) -> str:
    for character in "\\%_":
        text = text.replace(character, f"\\{character}")
    return text


def _number(limit: Any) -> Any:
    if isinstance(limit, timedelta):
        return limit / timedelta(milliseconds=1)
    return time_us(limit.isoformat()) if hasattr(limit, "isoformat") else limit
