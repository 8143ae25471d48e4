"""
Experiments: run an agent over many inputs, and keep what it did in a folder that other commands read.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .comparison import ExperimentComparison, compare
    from .datasets import Dataset, from_traces
    from .evaluation import Evaluation, evaluate
    from .parsing import Parsed, parse

__all__ = [
    "Dataset",
    "Evaluation",
    "ExperimentComparison",
    "Parsed",
    "compare",
    "evaluate",
    "from_traces",
    "parse",
]

_LAZY = {
    "Dataset": "datasets",
    "Evaluation": "evaluation",
    "ExperimentComparison": "comparison",
    "Parsed": "parsing",
    "compare": "comparison",
    "evaluate": "evaluation",
    "from_traces": "datasets",
    "parse": "parsing",
}
"""Public names and their modules, which are loaded on first use."""


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f".{_LAZY[name]}", __name__), name)
    return value
