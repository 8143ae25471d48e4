"""
The results of a benchmark: a figure with its spread, and its target.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import quantiles
from typing import Literal


@dataclass(frozen=True, slots=True)
class Spread:
    """The quartiles of several measurements: half of them are between `low` and `high`."""

    low: float
    middle: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Return the quartiles of *values*, which must not be empty."""
        if len(values) == 1:
            return cls(values[0], values[0], values[0])
        return cls(*quantiles(values, n=4, method="inclusive"))


@dataclass(frozen=True, slots=True)
class Target:
    """The upper bound for a figure."""

    most: float
    unit: Literal["x", "of bare", "us", "ns", "MB"] = "x"
    """The bounded quantity: FluxLoop's addition divided by the floor's, by the bare call, a time, or memory."""

    def __str__(self) -> str:
        return f"<= {self.most:,.10g} {self.unit}"


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the table. A field that does not apply to the workload is None."""

    workload: str
    bare: float | None = None
    """The cost of one call, or one item, without recording; in `unit`."""
    floor: float | None = None
    """The cost that recording by hand adds."""
    ours: float | None = None
    """The cost that FluxLoop adds."""
    unit: str = "us"
    figure: Spread | None = None
    """The figure that is compared with the target: the ratio of the added costs of a round, or the added time."""
    figure_unit: str = "x"
    target: Target | None = None
    faults: tuple[str, ...] = ()
    """Errors found by the workload: lost records, wrong parents, modules that must not be loaded."""
    note: str = ""

    @property
    def met(self) -> bool | None:
        """Whether the median is within the target and no fault occurred; None without a target."""
        if self.faults:
            return False
        if self.target is None or self.figure is None:
            return None
        return self.figure.middle <= self.target.most
