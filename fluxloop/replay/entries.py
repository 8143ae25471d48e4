"""
The entries of a directory in a repeatable order.
"""

from __future__ import annotations

from typing import Any


class Entries:
    """What ``os.scandir`` returns, in a repeatable order."""

    def __init__(self, entries: list[Any]) -> None:
        self._entries = iter(entries)

    def __iter__(self) -> Entries:
        return self

    def __next__(self) -> Any:
        return next(self._entries)

    def __enter__(self) -> Entries:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Drop the entries that are left."""
        self._entries = iter(())
