"""
Optional parts of langchain-core and LangGraph, and the report of those that the installed release lacks.
"""

from __future__ import annotations

from functools import partial
from importlib import import_module
from typing import Any

from fluxloop.bridge import note_missing

missing = partial(note_missing, "fluxloop_langchain")
"""Report a part that the installed release lacks, with what is lost."""


def optional(module: str, name: str, lost: str, *, adapter: str = "fluxloop_langchain") -> Any:
    """Return the attribute *name* of *module*, or None; *adapter* reports a missing one with what is *lost*."""
    try:
        return getattr(import_module(module), name)
    except (ImportError, AttributeError):
        note_missing(adapter, f"{module}.{name}", lost)
        return None
