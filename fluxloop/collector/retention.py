"""
Delete old traces: those that began before a time, and the oldest while the store is too large.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import ClassVar

from ..errors import FilterError
from ..reading.filters import CollectorFilter
from ..reading.moments import AGES, age_of
from .stores.contract import Deletion, Store

_AT_ONCE = 500
"""Traces that are deleted between two looks at the size of the store."""


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

    def apply(self, store: Store) -> int:
        """Delete what is too old or too much, and return the number of traces."""
        if self.age is not None:
            return store.delete(Deletion(before=datetime.now(UTC) - self.age))
        deleted = 0
        while store.counts()["bytes"] > (self.size_bytes or 0):
            page = store.traces(CollectorFilter(), limit=_AT_ONCE, oldest_first=True)
            starts = [row["start_time"] for row in page.rows if row["start_time"]]
            if not page.rows:
                break
            last = datetime.fromisoformat(starts[-1]) if starts else datetime(1970, 1, 1, tzinfo=UTC)
            count = store.delete(Deletion(before=last + timedelta(microseconds=1)))
            if not count:
                break
            deleted += count
        return deleted
