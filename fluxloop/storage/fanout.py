"""
Write records to several storages.
"""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING

from ..interruptions import was_raised_from_outside
from .contract import SupportsDelivery, SupportsFlush, journal_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from .contract import Record, Storage


class FanOut:
    """
    Writes every record to each of *storages*. The failure of one storage does not affect the others.

    The journal is that of the first storage that has one; of one that sends records, if no other has one.
    """

    def __init__(self, storages: Iterable[Storage]) -> None:
        self.storages = tuple(storages)
        by_place = sorted(self.storages, key=lambda storage: isinstance(storage, SupportsDelivery))
        self.journal = next(filter(None, map(journal_of, by_place)), None)

    def write(self, records: Sequence[Record]) -> None:
        """
        Write *records* to every storage.

        Raises:
            Exception: The exception of the failing storage; an `ExceptionGroup` if several storages failed.
        """
        self._each(lambda storage: storage.write(records))

    def flush(self, timeout: float | None = None) -> bool:
        """Flush every storage that buffers, within *timeout* seconds in total; raises as `write` does."""
        end = None if timeout is None else monotonic() + timeout
        flushed = []

        def flush(storage: Storage) -> None:
            if isinstance(storage, SupportsFlush):
                flushed.append(storage.flush(None if end is None else max(0.0, end - monotonic())))

        self._each(flush)
        return all(flushed)

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
