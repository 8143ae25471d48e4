"""
Storages receive finished records.

A storage is an object with the two methods of `Storage`; optional capabilities are separate protocols. It receives
encoded, truncated and redacted records, and only has to store them. Each storage module is loaded on first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .contract import Readable, Record, Storage, StorageSettings, SupportsDelivery, SupportsFlush, SupportsJournal

if TYPE_CHECKING:
    from .fanout import FanOut
    from .file import FileStorage
    from .http import HTTPStorage
    from .journal import Journal
    from .memory import MemoryStorage
    from .opening import open_storage

__all__ = [
    "FanOut",
    "FileStorage",
    "HTTPStorage",
    "Journal",
    "MemoryStorage",
    "Readable",
    "Record",
    "Storage",
    "StorageSettings",
    "SupportsDelivery",
    "SupportsFlush",
    "SupportsJournal",
    "open_storage",
]

_LAZY = {
    "FanOut": "fanout",
    "FileStorage": "file",
    "HTTPStorage": "http",
    "Journal": "journal",
    "MemoryStorage": "memory",
    "open_storage": "opening",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_LAZY[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
