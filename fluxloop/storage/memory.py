"""
Records in memory, for tests and for programs that look at their own traces.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

import orjson

from ..errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from .contract import Record


class MemoryStorage:
    """
    Keep records in memory, as the same bytes a file would get.

    Args:
        max_records: Keep the newest, up to this number; None keeps all.

    Raises:
        ConfigError: If *max_records* is less than 1.
    """

    def __init__(self, max_records: int | None = None) -> None:
        if max_records is not None and max_records < 1:
            raise ConfigError(f"max_records must be at least 1, or None to keep all records, got {max_records}")
        # extend, copy and clear of a deque are single steps, so threads need no lock, nor does a fork find one held.
        self._records: deque[Record] = deque(maxlen=max_records)

    def write(self, records: Sequence[Record]) -> None:
        """Keep *records*."""
        self._records.extend(records)

    def close(self) -> None:
        """Do nothing: the records can be read until `clear`."""

    def read(self) -> Iterator[dict[str, Any]]:
        """Yield all records so far, decoded, in the order they were written."""
        for record in self._records.copy():
            yield orjson.loads(record.line)

    def observations(self) -> list[dict[str, Any]]:
        """The observations so far, decoded, in the order they ended."""
        return [orjson.loads(record.line) for record in self._records.copy() if record.kind == "observation"]

    def traces(self) -> list[dict[str, Any]]:
        """The traces so far, decoded, in the order they ended."""
        return [orjson.loads(record.line) for record in self._records.copy() if record.kind == "trace"]

    def clear(self) -> None:
        """Forget all records."""
        self._records.clear()
