"""
What the recorder requires of a storage, and the capabilities a storage may add.

Two methods make a storage. Each capability is a protocol of its own: a storage has it by having the attribute.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol, runtime_checkable

if TYPE_CHECKING:
    from .journal import Journal


class Record(NamedTuple):
    """One finished record."""

    kind: Literal["observation", "trace"]
    day: str
    """UTC date of the trace's start, ``YYYYMMDD``."""
    line: bytes
    """One JSON object in UTF-8, ended by a newline."""


@runtime_checkable
class Storage(Protocol):
    """Where finished records go. Called from any thread; records are JSON-safe and redacted."""

    def write(self, records: Sequence[Record]) -> None:
        """
        Store *records*, in order.

        May raise: the recorder counts *records* as failed, or those that a `WriteError` counts, and logs each cause
        once.
        """

    def close(self) -> None:
        """Close files and connections. A later `write` is allowed and opens them again."""


@runtime_checkable
class Readable(Storage, Protocol):
    """A storage whose records can be read back, in the order they were written."""

    def read(self) -> Iterator[dict[str, Any]]:
        """Yield each record as the decoded JSON object."""


@runtime_checkable
class SupportsFlush(Storage, Protocol):
    """A storage that may hold records for a while after `write` has returned."""

    def flush(self, timeout: float | None = None) -> bool:
        """Store what is held, within *timeout* seconds if given; return whether nothing is held any more."""


@runtime_checkable
class SupportsJournal(Storage, Protocol):
    """A storage that remembers which observations are open, so that a killed process's can be read."""

    @property
    def journal(self) -> Journal | None:
        """The journal; None where it is switched off."""


class StorageSettings(Protocol):
    """The settings that a storage opened by its name receives."""

    @property
    def base_path(self) -> Path:
        """The folder for files."""

    @property
    def journal(self) -> bool:
        """Whether file storage keeps a journal of open observations."""


def journal_of(storage: Storage) -> Journal | None:
    """Return the journal of *storage*; None where it has none."""
    return storage.journal if isinstance(storage, SupportsJournal) else None
