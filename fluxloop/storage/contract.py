"""
What the recorder asks of a storage: two methods, and a third from one that can be read back.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Literal, NamedTuple, Protocol, runtime_checkable


class Record(NamedTuple):
    """One finished record, ready to be kept."""

    kind: Literal["observation", "trace"]
    day: str
    """UTC date of the trace's start, ``YYYYMMDD``."""
    line: bytes
    """One JSON object in UTF-8, ended by a newline."""


@runtime_checkable
class Storage(Protocol):
    """Where finished records go. Called from any thread; records are JSON-safe and redacted."""

    def write(self, records: Sequence[Record]) -> None:
        """Keep *records*, in order. May raise: the recorder counts the loss and logs it once per cause."""

    def close(self) -> None:
        """Let go of files and connections. A later `write` is allowed and opens them again."""


@runtime_checkable
class Readable(Storage, Protocol):
    """A storage whose records can be read back, in the order they were written."""

    def read(self) -> Iterator[dict[str, Any]]:
        """Yield each record as the decoded JSON object."""
