"""
What a benchmark found: a figure with its spread, and the aim it is held against.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import quantiles
from typing import Literal


@dataclass(frozen=True, slots=True)
class Spread:
    """The quartiles of what several runs gave: half of them lie between `low` and `high`."""

    low: float
    middle: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Return the quartiles of *values*, of which there is at least one."""
        if len(values) == 1:
            return cls(values[0], values[0], values[0])
        return cls(*quantiles(values, n=4, method="inclusive"))


@dataclass(frozen=True, slots=True)
class Aim:
    """The most a figure may come to."""

    most: float
    unit: Literal["x", "of bare", "us", "ns"] = "x"
    """What is limited: what we add over what the floor adds, what we add over the bare call, or just what we add."""

    def __str__(self) -> str:
        return f"<= {self.most:,.10g} {self.unit}"


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table. What does not apply to a workload is None."""

    workload: str
    bare: float | None = None
    """Of one call, or one item, without recording; in `unit`."""
    floor: float | None = None
    """What recording it by hand adds."""
    ours: float | None = None
    """What FluxLoop adds."""
    unit: str = "us"
    figure: Spread | None = None
    """What is held against the aim: the ratio of what was added, pair by pair, or the nanoseconds added."""
    figure_unit: str = "x"
    aim: Aim | None = None
    faults: tuple[str, ...] = ()
    """What came out wrong, whatever it took: lost records, wrong parents, modules that should not be loaded."""
    note: str = ""

    @property
    def met(self) -> bool | None:
        """Whether the median reaches the aim and nothing came out wrong; None where there is nothing to reach."""
        if self.faults:
            return False
        if self.aim is None or self.figure is None:
            return None
        return self.figure.middle <= self.aim.most
