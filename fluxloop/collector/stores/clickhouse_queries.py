"""
A filter as SQL of ClickHouse, with all values as parameters of the query.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from ...reading.catalog.text import plain_part
from ...reading.filters import CollectorFilter
from ..record_rows import time_us
from .contract import Totals
from .postgres_schema import OTHER_DAY
from .rows import FAILED, HOUR_US, NUMBERS, folded

_TEXTS = ("status", "name", "session", "user", "tag", "model", "type", "observation", "metadata")

_COMPARED = (*NUMBERS, ("since", "start_us", ">="), ("until", "start_us", "<"))

MOST_BYTES = 60_000
"""Of the ids in one query; the server accepts 128 KiB per parameter, and some characters are sent as two."""

MOST_IDS = 2_000


class Values:
    """The parameters of a query."""

    def __init__(self) -> None:
        self.by_name: dict[str, Any] = {}

    def add(self, value: Any, type: str = "String") -> str:
        """Add a parameter, and return its placeholder in the query."""
        name = f"p{len(self.by_name)}"
        self.by_name[name] = value
        return f"{{{name}:{type}}}"

    def texts(self, values: Iterable[str]) -> str:
        """Add a list of texts."""
        return self.add([*values], "Array(String)")


def in_parts(ids: Iterable[str]) -> Iterator[list[str]]:
    """Yield *ids* in lists that fit into a query."""
    part, size = list[str](), 0
    for text in ids:
        length = len(text.encode()) + 4
        if part and (size + length > MOST_BYTES or len(part) == MOST_IDS):
            yield part
            part, size = [], 0
        part.append(text)
        size += length
    if part:
        yield part


def condition_of(wanted: CollectorFilter, values: Values) -> str:
    """Return the condition of a filter on rows of traces; a text is compared with the records afterwards."""
    given = [(name, texts) for name in _TEXTS if (texts := getattr(wanted, name)) is not None]
    parts = ["1", *(_text_condition(name, texts, values) for name, texts in given)]
    for name, column, comparison in _COMPARED:
        if (limit := getattr(wanted, name)) is not None:
            number, type = _number(limit)
            parts.append(f"{column} {comparison} {values.add(number, type)}")
    parts += days_condition(wanted.since, wanted.until, values)
    if wanted.has_error is not None:
        parts.append(f"{'' if wanted.has_error else 'NOT '}has(facets, '{FAILED}')")
    if wanted.text is not None and (pattern := pattern_of(wanted.text)):
        parts.append(_line_condition(wanted, pattern, values))
    return " AND ".join(f"({part})" for part in parts)


def days_condition(since: datetime | None, until: datetime | None, values: Values) -> list[str]:
    """Return conditions by which the server leaves out partitions; the day alone decides nothing."""
    parts = []
    for moment, comparison in ((since, ">="), (until, "<=")):
        if moment is not None:
            day = str(moment.astimezone(UTC).date())
            parts.append(f"day {comparison} {values.add(day, 'Date')} OR day = toDate('{OTHER_DAY}')")
    return parts


def pattern_of(text: str) -> str | None:
    """Return the pattern that lines with *text* match, in lower case; None if any line may have it."""
    part = plain_part(text).decode().replace("_", "\\_")
    return f"%{part}%" if part else None


def _line_condition(wanted: CollectorFilter, pattern: str, values: Values) -> str:
    days = ""
    if wanted.since is not None:  # clocks differ, so that a record may be a little older than its trace
        days = "".join(f" AND ({part})" for part in days_condition(wanted.since - timedelta(days=1), None, values))
    name = values.add(pattern)
    parts = (f"SELECT trace_id FROM {table} WHERE lower(line) LIKE {name}{days}" for table in LINES)
    return " OR ".join(f"trace_id IN ({part})" for part in parts)


LINES = ("observations", "trace_lines")
"""The tables whose lines are searched for a text."""


def _text_condition(name: str, texts: tuple[str, ...], values: Values) -> str:
    facets = [f"{name}:{folded(text)}" for text in texts]
    if not any("*" in text for text in texts):
        return f"hasAny(facets, {values.texts(facets)})"
    patterns = [values.add(_escaped(facet).replace("*", "%")) for facet in facets]
    each = " OR ".join(f"facet LIKE {pattern}" for pattern in patterns)
    return f"arrayExists(facet -> {each}, facets)"


def _escaped(text: str) -> str:
    for character in "\\%_":
        text = text.replace(character, f"\\{character}")
    return text


def _number(limit: Any) -> tuple[Any, str]:
    if isinstance(limit, timedelta):
        return limit / timedelta(milliseconds=1), "Float64"
    if isinstance(limit, datetime):
        return time_us(limit.isoformat()), "Int64"
    return (limit, "Int64") if isinstance(limit, int) else (float(limit), "Float64")


def totals_query(wanted: Totals, values: Values) -> str:
    """Return the query for totals: time, group, bucket, then the sums."""
    parts = ["isNotNull(status)"]
    for limit, comparison in ((wanted.since_us, ">="), (wanted.until_us, "<")):
        if limit is not None:
            parts.append(f"start_us {comparison} {values.add(limit, 'Int64')}")
    since, until = (None if limit is None else _moment(limit) for limit in (wanted.since_us, wanted.until_us))
    parts += days_condition(since, until, values)
    for column in ("type", "name", "model"):
        if (texts := getattr(wanted, column)) is not None:
            parts.append(f"has({values.texts(text.lower() for text in texts)}, lower(ifNull({column}, '')))")
    group = "CAST(NULL AS Nullable(String))" if wanted.by is None else f"toString(ifNull({wanted.by}, ''))"
    hour = f"start_us - positiveModulo(start_us, {HOUR_US})"
    step = "CAST(NULL AS Nullable(Int64))"
    if wanted.step_us is not None:
        step = f"({hour}) - positiveModulo({hour}, {int(wanted.step_us)})"
    return f"""SELECT {step} AS step, {group} AS part, bucket, count(), countIf(status = 'error'),
                      sum(input_tokens), sum(output_tokens), sum(tokens), sum(ifNull(cost, 0))
               FROM observations FINAL WHERE {" AND ".join(f"({part})" for part in parts)}
               GROUP BY step, part, bucket SETTINGS do_not_merge_across_partitions_select_final = 1"""


def _moment(us: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=min(max(us, 0), 250_000_000_000_000_000))
