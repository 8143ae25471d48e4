"""
Experiments: run an agent over many inputs, and keep what it did in a folder that other commands read.

    from fluxloop import experiments

    result = experiments.run(my_agent, ["What is the weather in Rome?"], iterations=3)
    print(result.folder, result.success_rate)
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .folder import ExperimentFolder
    from .results import Experiment
    from .running import run, run_async

__all__ = ["Experiment", "ExperimentFolder", "run", "run_async"]

_MODULES = {"Experiment": "results", "ExperimentFolder": "folder", "run": "running", "run_async": "running"}
"""Public names, each with its module, which is loaded on first use."""


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f".{_MODULES[name]}", __name__), name)
    return value
