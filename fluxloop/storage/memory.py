"""
Store records in memory, for tests and for programs that read their own traces.
"""

from __future__ import annotations

from collections import deque
from itertools import count
from typing import TYPE_CHECKING, Any

import orjson

from ..errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from .contract import Record


class MemoryStorage:
    """
    Stores records in memory, as the same bytes as in a file.

    Args:
        max_records: The limit of records; the oldest are discarded. None keeps all.

    Raises:
        ConfigError: If *max_records* is less than 1.
    """

    def __init__(self, max_records: int | None = None) -> None:
        if max_records is not None and max_records < 1:
            raise ConfigError(f"max_records must be at least 1, or None to keep all records, got {max_records}")
        # extend, copy and clear of a deque are atomic, so threads need no lock.
        self._records: deque[Record] = deque(maxlen=max_records)

    def write(self, records: Sequence[Record]) -> None:
        """Store *records*."""
        self._records.extend(records)

    def close(self) -> None:
        """Do nothing: records can be read until `clear`."""

    def read(self) -> Iterator[dict[str, Any]]:
        """Yield all records, decoded, in the order they were written."""
        for record in self._records.copy():
            yield orjson.loads(record.line)

    def observations(self) -> list[dict[str, Any]]:
        """Return all observations, decoded, in the order they ended."""
        return [orjson.loads(record.line) for record in self._records.copy() if record.kind == "observation"]

    def traces(self) -> list[dict[str, Any]]:
        """Return all traces, decoded, in the order they ended."""
        return [orjson.loads(record.line) for record in self._records.copy() if record.kind == "trace"]

    def scores(self) -> list[dict[str, Any]]:
        """Return all scores, decoded, in the order they were given."""
        return [orjson.loads(record.line) for record in self._records.copy() if record.kind == "score"]

    def clear(self) -> None:
        """Discard all records."""
        self._records.clear()


class MemoryJournal:
    """The open observations of a storage in memory; see `fluxloop.storage.journal.Journal`."""

    problem: str | None = None

    def __init__(self) -> None:
        # No lock is needed: each operation is atomic under the GIL.
        self._open: dict[int, bytes] = {}
        self._numbers = count()

    def put(self, head: bytes, rest: bytes = b"") -> int:
        """Add an observation that has started, and return its slot, for `free`."""
        slot = next(self._numbers)
        self._open[slot] = b"".join((head, rest, b"}"))
        return slot

    def free(self, slot: int, recorded: bool = False) -> None:
        """Remove an observation that has ended."""
        self._open.pop(slot, None)

    @property
    def has_open(self) -> bool:
        """Whether an observation is open."""
        return bool(self._open)

    def records(self) -> list[dict[str, Any]]:
        """Return the beginnings of the records of the open observations, decoded, in the order of their start."""
        return [orjson.loads(text) for text in list(self._open.values())]
