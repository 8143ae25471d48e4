"""
Parse times and durations as people type them: ``2h``, ``yesterday``, ``2026-11-28``, ``1m30s``; and write times as
records have them.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time, timedelta, tzinfo

TIMES = "a span before now (30m, 2h, 7d), today, yesterday, a date (2026-11-28), or a date and time (2026-11-28T14:30)"
"""Completes the sentence "it must be ..."."""

DURATIONS = "a duration such as 500ms, 2s, 1m30s or 1h, or a number of seconds"

AGES = "a duration with its unit, such as 12h, 30d or 2w"

_UNITS_S = {"ms": 0.001, "s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d|w)")
_SPAN = re.compile(rf"(?:{_PART.pattern})+")


def iso_utc(time: datetime) -> str:
    """
    Return an aware time as the record format writes it.

    Not with ``%Y``, which on Linux writes the year 1 as ``1``, so that nothing parses it as a time.
    """
    return f"{time.astimezone(UTC).replace(tzinfo=None).isoformat(timespec='microseconds')}Z"


def earlier(time: datetime, span: timedelta) -> datetime:
    """Return the time a *span* before *time*, or the first time of the calendar."""
    try:
        return time - span
    except OverflowError:
        return datetime.min.replace(tzinfo=UTC)


def day_in(time: datetime, zone: tzinfo | None) -> date:
    """Return the day of an aware time in *zone* (None: local time); in UTC where that is outside the calendar."""
    try:
        return time.astimezone(zone).date()
    except (OverflowError, ValueError, OSError):
        return time.date()


def duration_of(text: str) -> timedelta:
    """
    Return the duration that *text* states; a number without a unit counts seconds.

    Raises:
        ValueError: If it is not a duration; the message is what would have been accepted.
    """
    compact = text.strip().lower().replace(" ", "")
    try:
        if _SPAN.fullmatch(compact):
            return timedelta(seconds=sum(float(number) * _UNITS_S[unit] for number, unit in _PART.findall(compact)))
        if re.fullmatch(r"\d+(\.\d+)?", compact):
            return timedelta(seconds=float(compact))
    except OverflowError:
        pass
    raise ValueError(DURATIONS)


def age_of(text: str) -> timedelta:
    """
    Return the age that *text* states, at which records are deleted.

    Raises:
        ValueError: If it is not a duration, has no unit (30 could mean days, and would count seconds), or goes back
            beyond the calendar.
    """
    try:
        age = duration_of(text)
        if not text.strip().replace(".", "", 1).isdecimal() and datetime.now(UTC) - age:
            return age
    except (ValueError, OverflowError):
        pass
    raise ValueError(AGES)


def moment_of(text: str, *, zone: tzinfo | None = None, is_end: bool = False, now: datetime | None = None) -> datetime:
    """
    Return the moment that *text* states, in UTC.

    Args:
        text: See `TIMES`.
        zone: The time zone of days and of times that state none; None for local time.
        is_end: Whether a day counts up to its end, as in "until yesterday".
        now: The current time, for tests.

    Raises:
        ValueError: If it is not a time; the message is what would have been accepted.
    """
    now = now or datetime.now(UTC)
    word = text.strip().lower()
    try:
        if word == "now":
            return now
        if _SPAN.fullmatch(word):
            return now - duration_of(word)
        if (day := _day_of(word, now.astimezone(zone).date())) is not None:
            return _aware(datetime.combine(day + timedelta(days=is_end), time()), zone)
        return _aware(datetime.fromisoformat(text.strip()), zone)
    except (ValueError, OverflowError):
        raise ValueError(TIMES) from None


def _day_of(word: str, today: date) -> date | None:
    if word in ("today", "yesterday"):
        return today - timedelta(days=word == "yesterday")
    return date.fromisoformat(word) if re.fullmatch(r"\d{4}-?\d{2}-?\d{2}", word) else None


def _aware(moment: datetime, zone: tzinfo | None) -> datetime:
    """Return *moment* in UTC; without a time zone of its own it is one of *zone*."""
    if moment.tzinfo is None and zone is not None:
        moment = moment.replace(tzinfo=zone)
    return moment.astimezone(UTC)  # a naive time counts as local time
