"""
Where finished records go.

A storage is anything with `Storage`'s two methods. Records reach it encoded, bounded and redacted,
so a new backend has only transport to think of. Each of ours is loaded when it is first asked for.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .contract import Readable, Record, Storage

if TYPE_CHECKING:
    from .fanout import FanOut
    from .file import FileStorage
    from .journal import Journal
    from .memory import MemoryStorage
    from .opening import open_storage

__all__ = ["FanOut", "FileStorage", "Journal", "MemoryStorage", "Readable", "Record", "Storage", "open_storage"]

_LATER = {
    "FanOut": "fanout",
    "FileStorage": "file",
    "Journal": "journal",
    "MemoryStorage": "memory",
    "open_storage": "opening",
}


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_LATER[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
