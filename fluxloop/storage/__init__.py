"""
Where finished records go.

A storage is anything with `Storage`'s two methods. Records reach it encoded, bounded and redacted,
so a new backend has only transport to think of.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal, NamedTuple, Protocol, runtime_checkable

from ..errors import ConfigError
from .fanout import FanOut
from .file import FileStorage
from .journal import Journal
from .memory import MemoryStorage

__all__ = ["FanOut", "FileStorage", "Journal", "MemoryStorage", "Readable", "Record", "Storage", "open_storage"]


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


def open_storage(spec: object, base_path: str | os.PathLike[str] = "./traces") -> Storage:
    """
    Return the storage that the setting *spec* asks for.

    Args:
        spec: ``"file"``, ``"memory"``, a storage object, or a list of these to write to all of them.
        base_path: The folder of ``"file"``.

    Raises:
        ConfigError: If *spec* is none of these.
    """
    if isinstance(spec, str) and (make := _BY_NAME.get(spec.strip().lower())):
        return make(base_path)
    if isinstance(spec, list | tuple) and spec:
        storages = [open_storage(each, base_path) for each in spec]
        return storages[0] if len(storages) == 1 else FanOut(storages)
    if isinstance(spec, Storage) and not isinstance(spec, type | io.IOBase):
        return spec
    raise ConfigError(
        'storage must be "file", "memory", an object with write(records) and close(), or a list of these, '
        f"got {_described(spec)}"
    )


_BY_NAME: dict[str, Callable[[str | os.PathLike[str]], Storage]] = {
    "file": FileStorage,
    "memory": lambda _: MemoryStorage(),
}


def _described(spec: object) -> str:
    """The value we got, and what may have been meant by it."""
    if isinstance(spec, type):
        return f"the class {spec.__name__}; write {spec.__name__}() for an object of it"
    if isinstance(spec, str | os.PathLike | io.IOBase):
        return f"{spec!r}; a folder is named by base_path="
    return repr(spec)
