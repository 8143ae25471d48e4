"""
The registry of workloads by name.

A module adds a workload by decorating a function with `case`, for a workload that is compared call by call, or with
`report`, for one that is measured differently. The module is imported when its first workload runs.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from .results import Row, Target

Way = Callable[[int], object]
"""Makes the given number of calls, one after the other."""


WAYS = ("bare", "floor", "ours")
"""The variants of a workload: without recording, recorded by hand, recorded by FluxLoop."""


@dataclass(frozen=True, slots=True)
class Ways:
    """The variants of one workload."""

    bare: Way
    ours: Way
    floor: Way | None = None
    """Recorded by hand; without it, the result is the time that `ours` adds."""
    check: Callable[[], list[str]] | None = None
    """Reads back the records of all runs of `ours`, and returns the faults."""


@dataclass(frozen=True, slots=True)
class Case:
    """A workload that is compared call by call."""

    name: str
    open: Callable[[Path], AbstractContextManager[Ways]]
    """Sets up the workload in an empty folder."""
    calls: int
    """The number of calls in one timed run."""
    rounds: int
    """The number of timed runs of each variant."""
    target: Target | None


Report = Callable[[bool], Row]
"""Measures a workload and returns its row; the argument is True for a quick run."""

CASES: dict[str, Case] = {}
REPORTS: dict[str, Report] = {}


def case(
    name: str, *, calls: int = 1_000, rounds: int = 60, target: Target | None = None
) -> Callable[[Callable[[Path], Iterator[Ways]]], Case]:
    """Make a `Case` of a generator function that sets up the workload, yields its variants, and cleans up."""

    def add(opened: Callable[[Path], Iterator[Ways]]) -> Case:
        CASES[name] = Case(name, contextmanager(opened), calls, rounds, target)
        return CASES[name]

    return add


def report(name: str) -> Callable[[Report], Report]:
    """Register a function that measures a workload and returns its row."""

    def add(measure: Report) -> Report:
        REPORTS[name] = measure
        return measure

    return add


def modules_of_workloads() -> dict[str, str]:
    """
    Return the module of each workload by name: workloads of the core first, then those of the adapters.

    The names are read from the source files, so that a framework is imported only when its workload runs: its memory
    would affect the figures of other workloads.
    """
    folder = Path(__file__).parent
    others = sorted({path.stem for path in folder.glob("*.py")} - {*_CORE_MODULES, __name__.rpartition(".")[2]})
    return {
        name: module
        for module in (*_CORE_MODULES, *others)
        for name in _NAME.findall((folder / f"{module}.py").read_text())
    }


def found(name: str) -> Case | Report:
    """
    Return the workload *name*.

    Raises:
        ModuleNotFoundError: If the measured framework is not installed.
    """
    import_module(f"{__package__}.{modules_of_workloads()[name]}")
    return CASES.get(name) or REPORTS[name]


_CORE_MODULES = ("calls", "starting", "endurance", "reading", "large_trace")
"""Modules whose workloads need no framework."""

_NAME = re.compile(r'^@(?:case|report)\(\s*"([^"]+)"', re.MULTILINE)
