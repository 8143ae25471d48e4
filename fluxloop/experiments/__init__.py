"""
Experiments: run an agent over many inputs, keep what it did in a folder, and judge and compare what is in it.

    from fluxloop import experiments

    result = experiments.run(my_agent, ["What is the weather in Rome?"], iterations=3)
    print(result.folder, result.success_rate)
    experiments.evaluate(result.folder, rules=["success"]).require_passed()
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .comparison import ExperimentComparison, compare
    from .datasets import Dataset, from_traces
    from .evaluation import Evaluation, evaluate
    from .evaluation.traces import TraceEvaluation, evaluate_trace
    from .folder import ExperimentFolder
    from .parsing import Parsed, parse
    from .results import Experiment
    from .running import run, run_async

__all__ = [
    "Dataset",
    "Evaluation",
    "Experiment",
    "ExperimentComparison",
    "ExperimentFolder",
    "Parsed",
    "TraceEvaluation",
    "compare",
    "evaluate",
    "evaluate_trace",
    "from_traces",
    "parse",
    "run",
    "run_async",
]

_MODULES = {
    "Dataset": "datasets",
    "Evaluation": "evaluation",
    "Experiment": "results",
    "ExperimentComparison": "comparison",
    "ExperimentFolder": "folder",
    "Parsed": "parsing",
    "TraceEvaluation": "evaluation.traces",
    "compare": "comparison",
    "evaluate": "evaluation",
    "evaluate_trace": "evaluation.traces",
    "from_traces": "datasets",
    "parse": "parsing",
    "run": "running",
    "run_async": "running",
}
"""Public names, each with its module, which is loaded on first use."""


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f".{_MODULES[name]}", __name__), name)
    return value
