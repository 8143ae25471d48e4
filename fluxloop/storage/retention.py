"""
Delete the records of old days.

A day is deleted as a whole. A day that a running program may still write to is kept, whatever its age: today, the days
since the oldest observation that a living process has open, and a day with a file that was written to within the last
hour.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from .descriptors import Descriptor, lock, open_regular
from .inflight import is_alive, read_journals

QUIET = timedelta(hours=1)
"""For how long nothing must have been written to a file; a program without a journal shows only by its writes."""


@dataclass(frozen=True, slots=True)
class Day:
    """The record files of one day, and the notes of calls that were not recorded."""

    day: date
    paths: tuple[Path, ...]
    size: int
    """In bytes."""
    kept_because: str | None = None
    """Why the day is kept although it is old; None where it is not."""


@dataclass(frozen=True, slots=True)
class Retention:
    """What is deleted and what is kept, each by date."""

    deleted: list[Day] = field(default_factory=list)
    kept: list[Day] = field(default_factory=list)
    journals: list[Path] = field(default_factory=list)
    """Journals of dead processes that are about deleted days only."""

    def apply(self) -> None:
        """
        Delete the files.

        Raises:
            OSError: If a file cannot be deleted; those before it are.
        """
        for day in self.deleted:
            for path in day.paths:
                path.unlink(missing_ok=True)
        for path in self.journals:
            _remove_dead(path)


def plan(
    folder: Path, *, older_than: timedelta | None = None, keep_bytes: int | None = None, now: datetime | None = None
) -> Retention:
    """
    Return what to delete, without deleting it.

    Args:
        folder: With the record files; those without a date are left alone.
        older_than: Delete a day that ended so long ago.
        keep_bytes: Delete the oldest days until the rest is not larger.
        now: The current time, for tests.
    """
    now = now or datetime.now(UTC)
    found = Retention()
    open_since = min(_open_days(folder), default=None)
    days = _days(folder)
    size = sum(day.size for day in days)
    for day in days:
        end = datetime(day.day.year, day.day.month, day.day.day, tzinfo=UTC) + timedelta(days=1)
        is_old = older_than is not None and end + older_than <= now
        # A day that has to be kept ends this, so that no newer day is deleted in its place.
        is_too_much = keep_bytes is not None and size > keep_bytes and not any(kept.kept_because for kept in found.kept)
        if not (is_old or is_too_much):
            found.kept.append(day)
            continue
        reason = _reason_to_keep(day, open_since, now)
        if reason is None:
            found.deleted.append(day)
            size -= day.size
        else:
            found.kept.append(Day(day.day, day.paths, day.size, reason))
    deleted = {day.day for day in found.deleted}
    if deleted:
        found.journals.extend(
            journal.path
            for journal in read_journals(folder)
            if not journal.alive and journal.records and {_day_of(record) for record in journal.records} <= deleted
        )
    return found


def _days(folder: Path) -> list[Day]:
    paths: dict[date, list[Path]] = {}
    for path in sorted(folder.glob("*.jsonl")):
        if (name := _NAME.fullmatch(path.name)) and path.is_file() and not path.is_symlink():
            with suppress(ValueError):
                paths.setdefault(datetime.strptime(name[1], "%Y%m%d").date(), []).append(path)
    return [
        Day(day, tuple(of_day), sum(path.stat().st_size for path in of_day)) for day, of_day in sorted(paths.items())
    ]


_NAME = re.compile(r"(?:observations|scores|traces|untraced)_(\d{8})\.jsonl")


def _open_days(folder: Path) -> Iterator[date]:
    """Yield the day of each observation that a living process has open."""
    for journal in read_journals(folder):
        if journal.alive:
            yield from filter(None, map(_day_of, journal.records))


def _day_of(record: dict[str, object]) -> date | None:
    try:
        return date.fromisoformat(str(record.get("start_time"))[:10])
    except ValueError:
        return None


def _reason_to_keep(day: Day, open_since: date | None, now: datetime) -> str | None:
    if day.day >= now.date():
        return "it is today's"
    if open_since is not None and day.day >= open_since:
        return "a running program has traces open that may belong to it"
    with suppress(OSError):
        written = max(path.stat().st_mtime for path in day.paths)
        if now.timestamp() - written < QUIET.total_seconds():
            return "it was written to within the last hour"
    return None


def _remove_dead(path: Path) -> None:
    """Remove the journal of a process that has died; leave it if its name belongs to a living one by now."""
    with suppress(OSError):
        journal = Descriptor(open_regular(path, os.O_RDWR), path)
        try:
            if not is_alive(path, lock(journal.fd)) and journal.is_in_place():
                journal.remove()
        finally:
            journal.close()
