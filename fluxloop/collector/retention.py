"""
Delete old traces: those that began before a time, and the oldest while the store is too large.

A clock that jumps into the future makes every trace old. So the age of traces is measured by `Clock`, which follows the
clock of the machine only as far as the records and the running time of the collector support it.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from time import monotonic
from typing import ClassVar

from ..errors import FilterError
from ..reading.filters import CollectorFilter
from ..reading.moments import AGES, age_of, earlier
from .stores.contract import Deletion, Store

log = logging.getLogger("fluxloop.collector")

_AT_ONCE = 500
"""Traces that are deleted between two looks at the size of the store."""


_LAST = datetime.max.replace(tzinfo=UTC)

MOST_AHEAD = timedelta(days=1)
"""How far the clock may be ahead of the newest trace when a collector starts."""


class Clock:
    """
    The time by which traces are old.

    It is that of the machine, but at most `MOST_AHEAD` after the start of the newest trace, plus the time that has
    passed since this collector saw that trace first.

    Args:
        machine: Returns the time of the machine.
        running_s: Returns seconds that no change of the clock affects.
    """

    def __init__(
        self, machine: Callable[[], datetime] = lambda: datetime.now(UTC), running_s: Callable[[], float] = monotonic
    ) -> None:
        self._machine, self._running_s = machine, running_s
        self._newest: datetime | None = None
        self._seen_s = 0.0

    def now(self, store: Store) -> datetime:
        """Return the time, given the traces of *store*."""
        now = self._machine()
        page = store.traces(CollectorFilter(until=now), limit=1)
        if not page.rows or (start := page.rows[0]["start_time"]) is None:
            return now
        newest = datetime.fromisoformat(start)
        if newest != self._newest:
            self._newest, self._seen_s = newest, self._running_s()
            if now - newest > MOST_AHEAD:
                log.warning("retention counts from the newest trace, of %s: the clock says %s", newest, now)
        return min(now, newest + MOST_AHEAD + timedelta(seconds=self._running_s() - self._seen_s))


@dataclass(frozen=True, slots=True)
class Retention:
    """How long or how much is kept; one of the fields is set."""

    age: timedelta | None = None
    size_bytes: int | None = None

    EVERY_S: ClassVar[float] = 600.0

    @classmethod
    def of(cls, text: str) -> Retention:
        """
        Return what *text* says: ``30d`` or ``50GB``.

        Raises:
            FilterError: If it is neither.
        """
        found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kmgt]i?b)", text.strip().lower())
        if found:
            base = 1024 if "i" in found[2] else 1000
            return cls(size_bytes=int(float(found[1]) * base ** " kmgt".index(found[2][0])))
        try:
            return cls(age=age_of(text))
        except ValueError:
            raise FilterError(f"retention must be {AGES}, or a size such as 50GB, got {text!r}") from None

    def apply(self, store: Store, clock: Clock) -> int:
        """Delete what is too old or too much, and return the number of traces."""
        if self.age is not None:
            return store.delete(Deletion(before=earlier(clock.now(store), self.age)))
        deleted = 0
        while store.counts()["bytes"] > (self.size_bytes or 0):
            page = store.traces(CollectorFilter(), limit=_AT_ONCE, oldest_first=True)
            starts = [row["start_time"] for row in page.rows if row["start_time"]]
            if not page.rows:
                break
            last = datetime.fromisoformat(starts[-1]) if starts else datetime(1970, 1, 1, tzinfo=UTC)
            if last < _LAST:
                count = store.delete(Deletion(before=last + timedelta(microseconds=1)))
            else:  # no time is later
                count = sum(store.delete(Deletion(trace_id=row["trace_id"])) for row in page.rows)
            if not count:
                break
            deleted += count
        return deleted
