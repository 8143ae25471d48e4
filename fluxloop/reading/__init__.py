"""
Read record files back: whole traces, or one row per trace from an index beside the files.

The names below are loaded on first use, since the index needs neither pydantic nor the models.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .assembly import Assembly, traces_of
    from .day_index import Skipped
    from .reader import TraceReader, read_traces
    from .source import Source

__all__ = ["Assembly", "Skipped", "Source", "TraceReader", "read_traces", "traces_of"]

_MODULES = {
    "Assembly": "assembly",
    "Skipped": "day_index",
    "Source": "source",
    "TraceReader": "reader",
    "read_traces": "reader",
    "traces_of": "assembly",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f".{_MODULES[name]}", __name__), name)
    return value
