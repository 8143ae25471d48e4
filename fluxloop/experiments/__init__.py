"""
Experiments: run an agent over many inputs, and keep what it did in a folder that other commands read.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .evaluation import Evaluation, evaluate
    from .parsing import Parsed, parse

__all__ = ["Evaluation", "Parsed", "evaluate", "parse"]

_LAZY = {
    "Evaluation": "evaluation",
    "Parsed": "parsing",
    "evaluate": "evaluation",
    "parse": "parsing",
}
"""Public names and their modules, which are loaded on first use."""


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f".{_LAZY[name]}", __name__), name)
    return value
