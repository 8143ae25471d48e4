"""
The workloads there are, each under its name.

A module of this package adds its own by decorating a function with `case`, for what is compared call by call, or
with `report`, for what is measured in another way; it is imported when its turn comes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from .results import Aim, Row

Way = Callable[[int], object]
"""Does so many calls, one after the other."""


WAYS = ("bare", "floor", "ours")
"""The ways a workload is done in."""


@dataclass(frozen=True, slots=True)
class Ways:
    """One workload, done in up to three ways."""

    bare: Way
    ours: Way
    floor: Way | None = None
    """Recorded by hand; without it the time that `ours` adds is the figure."""
    check: Callable[[], list[str]] | None = None
    """Reads back what all runs of `ours` recorded and says what is wrong with it."""


@dataclass(frozen=True, slots=True)
class Case:
    """A workload that is compared call by call."""

    name: str
    open: Callable[[Path], AbstractContextManager[Ways]]
    """Sets it up in an empty folder."""
    calls: int
    """Calls in one timed run."""
    rounds: int
    """Times each way is run."""
    aim: Aim | None


Report = Callable[[bool], Row]
"""Measures something once and for all; told whether to be quick about it."""

CASES: dict[str, Case] = {}
REPORTS: dict[str, Report] = {}


def case(
    name: str, *, calls: int = 1_000, rounds: int = 60, aim: Aim | None = None
) -> Callable[[Callable[[Path], Iterator[Ways]]], Case]:
    """Make a `Case` of a generator function that sets the workload up, yields its ways, and clears up."""

    def add(opened: Callable[[Path], Iterator[Ways]]) -> Case:
        CASES[name] = Case(name, contextmanager(opened), calls, rounds, aim)
        return CASES[name]

    return add


def report(name: str) -> Callable[[Report], Report]:
    """Add a function that measures something in its own way."""

    def add(measure: Report) -> Report:
        REPORTS[name] = measure
        return measure

    return add


def modules_of_workloads() -> dict[str, str]:
    """
    Return the module of each workload, by name: our own workloads first, then those of the adapters.

    The names are read from the sources, so that no framework is imported before its turn: what it leaves in memory
    would be in the figures of all that follows.
    """
    folder = Path(__file__).parent
    others = sorted({path.stem for path in folder.glob("*.py")} - {*_OURS, __name__.rpartition(".")[2]})
    return {
        name: module for module in (*_OURS, *others) for name in _NAME.findall((folder / f"{module}.py").read_text())
    }


def found(name: str) -> Case | Report:
    """
    Return the workload *name*.

    Raises:
        ModuleNotFoundError: If the framework that it measures is not installed.
    """
    import_module(f"{__package__}.{modules_of_workloads()[name]}")
    return CASES.get(name) or REPORTS[name]


_OURS = ("calls", "starting", "endurance", "reading")
"""The modules whose workloads need no framework."""

_NAME = re.compile(r'^@(?:case|report)\(\s*"([^"]+)"', re.MULTILINE)
