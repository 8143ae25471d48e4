"""
Read the parameters of a query: filters, the length of a page, cursors, times.
"""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime
from typing import Any

from starlette.datastructures import QueryParams

from ..errors import FilterError
from ..reading.filters import CollectorFilter
from .record_rows import MAX_TEXT, time_us
from .stores.contract import Totals
from .stores.rows import HOUR_US

MAX_PAGE = 1_000
"""Rows in one part of a list."""

_MOST_VALUES = 50
"""Values of one condition."""

_MOST_STARS = 8
"""Wildcards in one value."""

_FLAGS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}

_SEVERAL = frozenset({"status", "name", "session", "user", "tag", "model", "type", "observation", "metadata"})
"""Conditions that accept several values."""

_STEPS = {"hour": HOUR_US, "day": 24 * HOUR_US, "week": 7 * 24 * HOUR_US}
_GROUPS = ("name", "type", "model")

FILTERS = tuple(field.name for field in dataclasses.fields(CollectorFilter))


class Parameters:
    """
    The parameters of one request; every one must be read by one of the methods.

    Raises:
        FilterError: From every method, if a value is not accepted; the message names it and what is accepted.
    """

    def __init__(self, query: QueryParams) -> None:
        self._values: dict[str, list[str]] = {}
        for name, value in query.multi_items():
            if "\0" in value or len(value) > MAX_TEXT:
                raise FilterError(f"{name[:40]} must be a text of up to {MAX_TEXT} characters without NUL")
            self._values.setdefault(name, []).append(value)
        self._accepted: list[str] = []

    def filter(self) -> CollectorFilter:
        """Return the filter of all parameters that are conditions."""
        self._accepted += FILTERS
        chosen: dict[str, Any] = {}
        for name in FILTERS:
            values = [value for value in self._values.pop(name, ()) if value]
            if not values:
                continue
            if len(values) > (_MOST_VALUES if name in _SEVERAL else 1):
                raise FilterError(f"{name} may be given {_MOST_VALUES if name in _SEVERAL else 1} times")
            if name in _SEVERAL and any(value.count("*") > _MOST_STARS for value in values):
                raise FilterError(f"{name} may have up to {_MOST_STARS} wildcards")
            chosen[name] = values if name in _SEVERAL else values[0]
        if "has_error" in chosen:
            chosen["has_error"] = _FLAGS.get(chosen["has_error"].lower(), chosen["has_error"])
        return CollectorFilter.of(zone=UTC, **chosen)

    def text(self, name: str) -> str | None:
        """Return the value of a parameter; None if it is not given."""
        self._accepted.append(name)
        values = self._values.pop(name, [])
        if len(values) > 1:
            raise FilterError(f"{name} may be given once")
        return values[0] if values and values[0] else None

    def choice(self, name: str, choices: tuple[str, ...]) -> str | None:
        """Return one of *choices*; None if the parameter is not given."""
        value = self.text(name)
        if value is not None and value not in choices:
            raise FilterError(f"{name} must be one of {', '.join(choices)}, got {value[:60]!r}")
        return value

    def limit(self, default: int) -> int:
        """Return the length of a page."""
        value = self.text("limit")
        if value is None:
            return default
        if not (value.isascii() and value.isdigit() and 1 <= int(value[:9]) <= MAX_PAGE and len(value) < 9):
            raise FilterError(f"limit must be a number from 1 to {MAX_PAGE}, got {value[:60]!r}")
        return int(value)

    def oldest_first(self) -> bool:
        """Return whether the order is that of the starts, not the reverse."""
        return self.choice("order", ("newest", "oldest")) == "oldest"

    def totals(self) -> Totals:
        """Return what totals are asked for."""
        step = self.choice("step", tuple(_STEPS))
        by = self.choice("by", _GROUPS)
        given = {name: self._values.pop(name, None) for name in ("since", "until", "type", "name", "model")}
        self._accepted += given
        for name, values in given.items():
            if values and len(values) > (_MOST_VALUES if name in _SEVERAL else 1):
                raise FilterError(f"{name} is given too often")
        times = {name: values[0] for name in ("since", "until") if (values := given[name])}
        chosen = CollectorFilter.of(zone=UTC, **times)
        texts = {name: tuple(values) for name in ("type", "name", "model") if (values := given[name])}
        since, until = _hour(chosen.since), _hour(chosen.until, up=True)
        return Totals(since, until, _STEPS.get(step or ""), by, **texts)

    def finish(self) -> None:
        """Refuse parameters that nothing has read: a misspelled condition would select everything."""
        if self._values:
            name = next(iter(self._values))
            raise FilterError(f"unknown parameter {name[:40]!r} (accepted: {', '.join(self._accepted)})")


def _hour(moment: datetime | None, *, up: bool = False) -> int | None:
    """Return the start of the hour of *moment*, or that of the following one."""
    if moment is None:
        return None
    us = time_us(moment.isoformat()) + (HOUR_US - 1) * up
    return us - us % HOUR_US
