"""
One stream of records into several storages.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..interruptions import was_raised_from_outside

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from . import Record, Storage
    from .journal import Journal


class FanOut:
    """
    Hand every record to each of *storages*; one that fails does not keep it from the others.

    The journal of open observations is that of the first storage which has one.
    """

    def __init__(self, storages: Iterable[Storage]) -> None:
        self.storages = tuple(storages)
        journals = (getattr(storage, "journal", None) for storage in self.storages)
        self.journal: Journal | None = next(filter(None, journals), None)

    def write(self, records: Sequence[Record]) -> None:
        """
        Write *records* to every storage.

        Raises:
            Exception: What the one failing storage raised; an `ExceptionGroup` where several did.
        """
        self._each(lambda storage: storage.write(records))

    def close(self) -> None:
        """Close every storage; raises as `write` does."""
        self._each(lambda storage: storage.close())

    def _each(self, do: Callable[[Storage], None]) -> None:
        failures: list[Exception] = []
        for storage in self.storages:
            try:
                do(storage)
            except Exception as exc:
                if was_raised_from_outside(exc):
                    raise
                failures.append(exc)
        if len(failures) == 1:
            raise failures[0]
        if failures:
            raise ExceptionGroup("several storages failed", failures)
