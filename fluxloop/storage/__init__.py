"""
Where finished records go.

A storage is anything with `Storage`'s two methods; further capabilities are protocols of their own. Records reach it
encoded, bounded and redacted, so a new backend only has to transport them. Each storage is loaded when first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .contract import Readable, Record, Storage, StorageSettings, SupportsFlush, SupportsJournal

if TYPE_CHECKING:
    from .fanout import FanOut
    from .file import FileStorage
    from .journal import Journal
    from .memory import MemoryStorage
    from .opening import open_storage

__all__ = [
    "FanOut",
    "FileStorage",
    "Journal",
    "MemoryStorage",
    "Readable",
    "Record",
    "Storage",
    "StorageSettings",
    "SupportsFlush",
    "SupportsJournal",
    "open_storage",
]

_LAZY = {
    "FanOut": "fanout",
    "FileStorage": "file",
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
