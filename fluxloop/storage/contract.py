"""
The protocols of storages.

`Storage` is required. The others are optional capabilities; a storage has one if it has the attributes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol, runtime_checkable

if TYPE_CHECKING:
    from ..report import Delivery


class Record(NamedTuple):
    """One finished record."""

    kind: Literal["observation", "trace", "score"]
    day: str
    """The UTC date of the start of the trace, as ``YYYYMMDD``; for a score, the date of the score."""
    line: bytes
    """One JSON object in UTF-8, with a newline at the end."""


@runtime_checkable
class Storage(Protocol):
    """Receives finished records, which are JSON-safe and redacted. The methods may be called from any thread."""

    def write(self, records: Sequence[Record]) -> None:
        """
        Store *records*, in order.

        If this raises, the recorder counts the records as failed, or the number in a `WriteError`, and logs each cause
        once.
        """

    def close(self) -> None:
        """Close files and connections. A later `write` is allowed and opens them again."""


@runtime_checkable
class Readable(Storage, Protocol):
    """A storage whose records can be read back, in the order they were written."""

    def read(self) -> Iterator[dict[str, Any]]:
        """Yield each record as a decoded JSON object."""


@runtime_checkable
class SupportsFlush(Storage, Protocol):
    """A storage that may buffer records after `write` has returned."""

    def flush(self, timeout: float | None = None) -> bool:
        """Store all buffered records, within *timeout* seconds if given; return whether all are stored."""


class Journal(Protocol):
    """Lists the observations of this process that have started and not ended."""

    problem: str | None
    """The reason why the last write failed."""

    @property
    def has_open(self) -> bool:
        """Whether an observation is open."""

    def put(self, head: bytes, rest: bytes = b"") -> int:
        """Add an observation: the start of its record, and more fields. Return its slot, or -1."""

    def free(self, slot: int, recorded: bool = False) -> None:
        """Remove the observation in *slot*, which has ended."""


@runtime_checkable
class SupportsJournal(Storage, Protocol):
    """A storage that lists open observations in a journal, so that those of a killed process can be read."""

    @property
    def journal(self) -> Journal | None:
        """The journal; None if it is switched off."""


@runtime_checkable
class SupportsDelivery(Storage, Protocol):
    """A storage that sends records to another program, and counts them."""

    @property
    def delivery(self) -> Delivery:
        """The counts; the same object for as long as the storage exists."""


class StorageSettings(Protocol):
    """The settings for a storage that is opened by name."""

    @property
    def base_path(self) -> Path:
        """The folder for files."""

    @property
    def journal(self) -> bool:
        """Whether file storage keeps a journal of open observations."""

    @property
    def compact_histories(self) -> bool:
        """Whether file storage records messages that a file has already as references."""

    @property
    def collector_url(self) -> str:
        """The collector that HTTP storage sends to."""

    @property
    def api_key(self) -> str | None:
        """The key for the collector."""

    @property
    def collector_protocol(self) -> Literal["fluxloop", "upstream"]:
        """The protocol for the collector."""

    @property
    def use_collector(self) -> bool:
        """Whether HTTP storage sends."""

    @property
    def auto_flush(self) -> bool:
        """Whether HTTP storage sends by itself."""

    @property
    def flush_interval(self) -> float:
        """The longest wait before HTTP storage sends a record, in seconds."""

    @property
    def buffer_size(self) -> int:
        """The number of records that HTTP storage sends without waiting."""

    @property
    def timeout(self) -> float:
        """The longest wait for the collector, in seconds."""

    @property
    def shutdown_timeout(self) -> float:
        """The longest delay of the exit, in seconds."""

    @property
    def service_name(self) -> str | None:
        """Sent in a header, for the collector."""

    @property
    def environment(self) -> str | None:
        """Sent in a header, for the collector."""


def append_of(storage: Storage) -> Callable[[str, str, bytes], None] | None:
    """
    Return the method of *storage* that does as `write` for one record of a kind, day and line; None without one.

    It goes past `write`, so it must come from the class that `write` comes from, or from a subclass of that.
    """
    if "write" in getattr(storage, "__dict__", ()):
        return None
    for cls in type(storage).__mro__:
        if "append_record" in vars(cls):
            append: Callable[[str, str, bytes], None] = storage.append_record  # type: ignore[attr-defined]
            return append
        if "write" in vars(cls):
            break
    return None


def journal_of(storage: Storage) -> Journal | None:
    """Return the journal of *storage*, or None."""
    return storage.journal if isinstance(storage, SupportsJournal) else None


def deliveries_of(storage: Storage) -> tuple[Delivery, ...]:
    """Return the counts of *storage*, or of the storages that it writes to, as far as they send records."""
    parts: tuple[Storage, ...] = getattr(storage, "storages", (storage,))
    return tuple(part.delivery for part in parts if isinstance(part, SupportsDelivery))
