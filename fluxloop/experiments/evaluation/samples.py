"""
Numbers that are added one at a time, in memory that does not grow with their count.

`Sample` keeps the sums from which mean, variance and interval are computed. `Ordered` keeps all values, for
percentiles, and moves them to a temporary file when there are many.
"""

from __future__ import annotations

import sqlite3
from array import array
from math import sqrt

from . import statistics
from .scratch import scratch_database, transaction
from .statistics import LARGEST_BOOTSTRAP, Z_95, Interval

MOST_IN_MEMORY = 50_000
"""Values of an `Ordered` that are in memory, 8 bytes each."""


class Sample:
    """The count, sum, mean, variance and extremes of numbers."""

    __slots__ = ("count", "high", "low", "squares", "total")

    def __init__(self) -> None:
        self.count = 0
        self.total = self.squares = 0.0
        """The sum, and that of the squared distances from the mean."""
        self.low: float | None = None
        self.high: float | None = None

    def __len__(self) -> int:
        return self.count

    def add(self, value: float) -> None:
        """Add one number."""
        if not self.count:
            self.count, self.total, self.low, self.high = 1, float(value), value, value
            return
        distance = value - self.total / self.count
        self.count += 1
        self.total += value
        self.squares += distance * (value - self.total / self.count)  # Welford's method
        if value < self.low:  # type: ignore[operator]  # a sample with numbers has both
            self.low = value
        if value > self.high:  # type: ignore[operator]
            self.high = value

    def merge(self, other: Sample) -> None:
        """Add the numbers of *other*."""
        if not other.count:
            return
        if self.count:
            distance = other.total / other.count - self.total / self.count
            self.squares += distance * distance * self.count * other.count / (self.count + other.count)
        self.squares += other.squares
        self.count += other.count
        self.total += other.total
        lows, highs = (self.low, other.low), (self.high, other.high)
        self.low = min((value for value in lows if value is not None), default=None)
        self.high = max((value for value in highs if value is not None), default=None)

    @property
    def mean(self) -> float:
        """The mean; 0 of nothing."""
        return self.total / self.count if self.count else 0.0

    @property
    def variance(self) -> float:
        """The sample variance; 0 of fewer than two numbers."""
        return self.squares / (self.count - 1) if self.count > 1 else 0.0

    def as_list(self) -> list[float | None]:
        """Return what `of_list` reads."""
        return [self.count, self.total, self.squares, self.low, self.high]

    @classmethod
    def of_list(cls, given: list[float]) -> Sample:
        """Return the sample that `as_list` describes."""
        sample = cls()
        count, sample.total, sample.squares, sample.low, sample.high = given
        sample.count = int(count)
        return sample


class Bootstrapped(Sample):
    """A sample with the interval of its mean: it keeps the values as long as there are few enough to bootstrap."""

    __slots__ = ("_first",)

    def __init__(self) -> None:
        super().__init__()
        self._first = array("d")

    def add(self, value: float) -> None:
        """Add one number."""
        Sample.add(self, value)
        if self.count <= LARGEST_BOOTSTRAP:
            self._first.append(value)

    @property
    def interval(self) -> Interval | None:
        """The interval of the mean; see `fluxloop.experiments.evaluation.statistics.mean_interval`."""
        if self.count <= LARGEST_BOOTSTRAP:
            return statistics.mean_interval(self._first)
        half = Z_95 * sqrt(self.variance / self.count)
        return self.mean - half, self.mean + half


class Differences(Bootstrapped):
    """A sample of differences between pairs, with the probability that both sides are alike."""

    __slots__ = ("_changed", "_number_changed", "_sum_of_squares")

    def __init__(self) -> None:
        super().__init__()
        self._changed = array("d")
        self._number_changed, self._sum_of_squares = 0, 0.0

    def add(self, value: float) -> None:
        """Add one difference."""
        super().add(value)
        if value:
            self._number_changed += 1
            self._sum_of_squares += value * value
            if self._number_changed <= LARGEST_BOOTSTRAP:
                self._changed.append(value)

    @property
    def p_value(self) -> float | None:
        """See `fluxloop.experiments.evaluation.statistics.paired_p_value`."""
        if self.count < 2:
            return None
        if not self._number_changed:
            return 1.0
        if self._number_changed > LARGEST_BOOTSTRAP:
            return statistics.normal_p_value(self.total, self._sum_of_squares)
        return statistics.sign_flip_p_value(self._changed)


class Ordered:
    """All numbers, for percentiles."""

    def __init__(self, most_in_memory: int = MOST_IN_MEMORY) -> None:
        self.sample = Sample()
        self._most = most_in_memory
        self._recent = array("d")
        self._ordered: list[float] | None = None
        self._table: sqlite3.Connection | None = None

    def __len__(self) -> int:
        return self.sample.count

    def add(self, value: float) -> None:
        """Add one number."""
        self.sample.add(value)
        self._recent.append(value)
        self._ordered = None
        if len(self._recent) >= self._most:
            self._spill()

    def percentile(self, percent: float) -> float:
        """Return the value below which *percent* of the values lie, interpolated. There must be one."""
        if self._table is None:
            self._ordered = self._ordered or sorted(self._recent)
            return statistics.percentile(self._ordered, percent)
        self._spill()
        low, share = statistics.position(len(self), percent)
        query = "SELECT value FROM numbers ORDER BY value LIMIT 2 OFFSET ?"
        values = [value for (value,) in self._table.execute(query, (low,))]
        return float(values[0] + (values[-1] - values[0]) * share)

    def _spill(self) -> None:
        if self._table is None:
            self._table = scratch_database(self)
            self._table.execute("CREATE TABLE numbers (value REAL)")
            self._table.execute("CREATE INDEX by_value ON numbers (value)")
        with transaction(self._table):
            self._table.executemany("INSERT INTO numbers VALUES (?)", ((value,) for value in self._recent))
        self._recent = array("d")
