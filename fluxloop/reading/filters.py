"""
State which traces are wanted: `TraceFilter`, the one filter of the command line and of `fluxloop.read_traces`.

A filter is checked when it is made. The index evaluates it, see `fluxloop.reading.catalog`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, tzinfo
from typing import Any, Self

from ..encoding.long_text import valid_utf8
from ..enums import Status
from ..errors import FilterError
from .moments import DURATIONS, TIMES, duration_of, moment_of

STATUSES = (*(str(status) for status in Status), "running")
"""What `TraceFilter.status` accepts; a trace that has not ended is ``running``."""


@dataclass(frozen=True, slots=True)
class TraceFilter:
    """
    Conditions that a trace must meet, all of them; a condition that is None accepts every trace.

    A tuple accepts any of its values. Texts ignore the case of ASCII letters, and ``*`` matches any characters.
    Make one with `TraceFilter.of`, which checks the values.
    """

    status: tuple[str, ...] | None = None
    """Of `STATUSES`."""
    name: tuple[str, ...] | None = None
    session: tuple[str, ...] | None = None
    user: tuple[str, ...] | None = None
    tag: tuple[str, ...] | None = None
    """The trace has one of these tags."""
    model: tuple[str, ...] | None = None
    """One of the trace's observations used one of these models."""
    since: datetime | None = None
    """The trace began at this time or later."""
    until: datetime | None = None
    """The trace began before this time."""
    min_duration: timedelta | None = None
    min_tokens: int | None = None
    has_error: bool | None = None
    """Whether an observation of the trace has the status ``error``, also where the trace itself succeeded."""
    text: str | None = None
    """A name, input, output or error in the trace contains this text, ignoring case."""

    @classmethod
    def of(cls, *, zone: tzinfo | None = None, **values: Any) -> Self:
        """
        Return the filter with these *values*, given as text or as Python objects.

        Args:
            zone: The time zone of days and of times that state none; None for local time.
            values: Fields of the filter. None sets no condition; a text or a list of texts is accepted where the field
                holds texts, ``"2h"`` or ``"yesterday"`` where it holds a time, ``"500ms"`` where it holds a duration.

        Raises:
            FilterError: If a name or a value is not accepted; the message names it and what is accepted.
        """
        fields = [field.name for field in dataclasses.fields(cls)]
        for name in values:
            if name not in fields:
                raise FilterError(f"unknown filter {name!r}{_suggestion(name, fields)} (accepted: {_listed(fields)})")
        given = {name: value for name, value in values.items() if value is not None and value != () and value != []}
        return cls(**{name: _parsed(name, value, zone) for name, value in given.items()})

    def also(self, other: TraceFilter) -> Self:
        """Return the filter with the conditions of both; where both have one, that of *other*."""
        given = {field.name: getattr(other, field.name) for field in dataclasses.fields(other)}
        return dataclasses.replace(self, **{name: value for name, value in given.items() if value is not None})

    def __bool__(self) -> bool:
        """Whether there is any condition."""
        return any(getattr(self, field.name) is not None for field in dataclasses.fields(self))


@dataclass(frozen=True, slots=True)
class CollectorFilter(TraceFilter):
    """The conditions that a collector evaluates: those of `TraceFilter`, and some more."""

    type: tuple[str, ...] | None = None
    """One of the trace's observations has one of these types."""
    observation: tuple[str, ...] | None = None
    """One of the trace's observations has one of these names."""
    metadata: tuple[str, ...] | None = None
    """The metadata of the trace has this key (``key``), or this value of it (``key=value``)."""
    max_duration: timedelta | None = None
    max_tokens: int | None = None
    min_cost: float | None = None
    """In US dollars."""
    max_cost: float | None = None


def _parsed(name: str, value: Any, zone: tzinfo | None) -> Any:
    try:
        return _PARSERS[name](value, zone)
    except FilterError:
        raise
    except (ValueError, TypeError) as error:
        raise FilterError(f"{name} must be {error}, got {str(value)!r}") from None


def _statuses(value: Any, zone: tzinfo | None) -> tuple[str, ...]:
    words = tuple(word.strip().lower() for text in _texts(value, zone) for word in text.split(","))
    for word in words:
        if word not in STATUSES:
            raise FilterError(f"status must be one of {_listed(STATUSES)}, got {word!r}{_suggestion(word, STATUSES)}")
    return words


def _texts(value: Any, zone: tzinfo | None) -> tuple[str, ...]:
    items = (value,) if isinstance(value, str) else tuple(value) if isinstance(value, Iterable) else ()
    if not items or not all(isinstance(item, str) and item for item in items):
        raise ValueError("a text that is not empty, or a list of them")
    return tuple(map(as_recorded, items))


def _text(value: Any, zone: tzinfo | None) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError("a text that is not empty")
    return as_recorded(value)


def as_recorded(text: str) -> str:
    """
    Return *text* as a record would have it.

    Bytes of a command line that the locale cannot decode, which Python keeps as surrogates, are read as UTF-8. Other
    lone surrogates become U+FFFD.
    """
    try:
        return text.encode(errors="surrogateescape").decode(errors="replace")
    except UnicodeEncodeError:
        return valid_utf8(text)


def _moment(value: Any, zone: tzinfo | None, *, is_end: bool = False) -> datetime:
    if isinstance(value, datetime):
        return value.astimezone(UTC)
    if isinstance(value, date):
        value = value.isoformat()
    if isinstance(value, timedelta):
        return datetime.now(UTC) - value
    if not isinstance(value, str):
        raise ValueError(TIMES)
    return moment_of(value, zone=zone, is_end=is_end)


def _duration(value: Any, zone: tzinfo | None) -> timedelta:
    if isinstance(value, timedelta):
        return value
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError(DURATIONS)
    return duration_of(str(value))


_MOST_COUNT = 2**63 - 1
"""The largest integer of a database."""


def _count(value: Any, zone: tzinfo | None) -> int:
    if isinstance(value, bool) or not str(value).isascii() or not str(value).isdigit():
        raise ValueError("a whole number from 0 up")
    return min(int(str(value)[:20]), _MOST_COUNT)  # beyond it, no count of a record is


def _flag(value: Any, zone: tzinfo | None) -> bool:
    if not isinstance(value, bool):
        raise ValueError("True or False")
    return value


def _amount(value: Any, zone: tzinfo | None) -> float:
    try:
        amount = float(value)
    except (TypeError, ValueError, OverflowError):
        amount = -1.0
    if isinstance(value, bool) or not 0 <= amount < float("inf"):
        raise ValueError("an amount of dollars from 0 up")
    return amount


_PARSERS: Mapping[str, Callable[[Any, tzinfo | None], Any]] = {
    "status": _statuses,
    "name": _texts,
    "session": _texts,
    "user": _texts,
    "tag": _texts,
    "model": _texts,
    "since": _moment,
    "until": lambda value, zone: _moment(value, zone, is_end=True),
    "min_duration": _duration,
    "min_tokens": _count,
    "has_error": _flag,
    "text": _text,
    "type": _texts,
    "observation": _texts,
    "metadata": _texts,
    "max_duration": _duration,
    "max_tokens": _count,
    "min_cost": _amount,
    "max_cost": _amount,
}


def _listed(words: Iterable[str]) -> str:
    return ", ".join(words)


def _suggestion(word: str, words: Iterable[str]) -> str:
    from difflib import get_close_matches  # for messages only

    close = get_close_matches(word, list(words), n=1)
    return f", did you mean {close[0]!r}?" if close else ""
