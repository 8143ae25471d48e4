"""
Compare two experiments input by input.

Runs are paired by input and persona; each pair compares the means of its runs, so that the two experiments may have
different numbers of iterations.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Mapping
from itertools import islice
from typing import Any, Literal, NamedTuple

from .cell import Cell, Key
from .cells import MOST_LISTED, Cells
from .samples import Differences, Sample


class Pair(NamedTuple):
    """The runs of one input in both experiments."""

    key: Key
    before: Cell
    after: Cell

    @property
    def change(self) -> str:
        """``broken``, ``fixed`` or ``same``, by the share of the runs that passed."""
        difference = self.after.pass_rate - self.before.pass_rate
        return "same" if not difference else "fixed" if difference > 0 else "broken"

    @property
    def has_other_trajectory(self) -> bool:
        """Whether the tools that were called differ."""
        return self.before.trajectories != self.after.trajectories


METRICS: Mapping[str, tuple[str, Callable[[Cell], float | None], bool]] = {
    "pass_rate": ("Pass rate", lambda cell: cell.pass_rate, True),
    "score": ("Score", lambda cell: _mean(cell.scores), True),
    "duration_ms": ("Latency, ms", lambda cell: _mean(cell.durations), False),
    "tokens": ("Tokens per run", lambda cell: _mean(cell.tokens), False),
    "cost": ("Cost per run, USD", lambda cell: _mean(cell.costs), False),
}
"""Title, mean of the runs of a cell, and whether higher is better."""


def _mean(sample: Sample) -> float | None:
    return sample.mean if sample else None


SIGNIFICANT = 0.05
"""A difference with a smaller probability by chance is called significant."""


CHANGES = ("broken", "fixed", "same")


NOTHING_COMPARED = "nothing could be compared: no input of the experiment is in the baseline"
"""The gate that fails in a comparison of experiments with different inputs, which would hide every regression."""


class Comparison:
    """The difference between two experiments. Lists have up to `MOST_LISTED` inputs."""

    def __init__(self) -> None:
        self.inputs = 0
        """Inputs that both have."""
        self.only_before: list[Key] = []
        self.only_after: list[Key] = []
        self.other_inputs = 0
        """Inputs that have another text under the same id, as after an input was added before those without ids."""
        self.trajectory_changes = 0
        self.other_trajectories: list[Pair] = []
        """Pairs that are neither better nor worse, and called other tools."""
        self.counts = dict.fromkeys(CHANGES, 0)
        """The number of pairs by `Pair.change`."""
        self.metrics: dict[str, dict[str, Any]] = {}
        """For each of `METRICS` that both have: ``before``, ``after``, ``difference``, ``interval``, ``p_value``."""
        self._largest: dict[str, list[tuple[float, int, Pair]]] = {"broken": [], "fixed": []}

    def add(self, pair: Pair) -> None:
        """Add one input that both have."""
        self.inputs += 1
        self.other_inputs += pair.before.label != pair.after.label
        self.counts[pair.change] += 1
        self.trajectory_changes += pair.has_other_trajectory
        if pair.change == "same":
            if pair.has_other_trajectory and len(self.other_trajectories) < MOST_LISTED:
                self.other_trajectories.append(pair)
            return
        largest = self._largest[pair.change]
        item = abs(pair.after.pass_rate - pair.before.pass_rate), -self.inputs, pair
        (heapq.heappush if len(largest) < MOST_LISTED else heapq.heappushpop)(largest, item)

    def changed(self, change: Literal["broken", "fixed"]) -> list[Pair]:
        """Return the pairs with this `Pair.change`, the largest difference first."""
        return [pair for _, _, pair in sorted(self._largest[change], key=lambda item: item[:2], reverse=True)]

    @property
    def regressed(self) -> bool:
        """Whether an input broke, or the pass rate or the score fell significantly."""
        return bool(self.counts["broken"]) or any(
            metric["difference"] < 0 and metric["significant"]
            for name, metric in self.metrics.items()
            if name in ("pass_rate", "score")
        )

    def as_json(self) -> dict[str, Any]:
        """Return the comparison for summaries."""
        return {
            "inputs_compared": self.inputs,
            "regressions": [_row(pair) for pair in self.changed("broken")],
            "fixes": [_row(pair) for pair in self.changed("fixed")],
            "regression_count": self.counts["broken"],
            "fix_count": self.counts["fixed"],
            "trajectory_changes": self.trajectory_changes,
            "only_in_baseline": [list(key) for key in self.only_before],
            "only_here": [list(key) for key in self.only_after],
            **({"other_inputs": self.other_inputs} if self.other_inputs else {}),
            "metrics": self.metrics,
            "regressed": self.regressed,
        }


def compared(before: Cells, after: Cells) -> Comparison:
    """Return the difference from *before* to *after*."""
    result = Comparison()
    metrics = {name: Metric(*METRICS[name]) for name in METRICS}
    for key, old in before.items():
        new = after.get(key)
        if new is None:
            if len(result.only_before) < MOST_LISTED:
                result.only_before.append(key)
            continue
        result.add(Pair(key, old, new))
        for metric in metrics.values():
            metric.add(old, new)
    new_keys = (key for key, _ in after.items() if before.get(key) is None)
    result.only_after = [*islice(new_keys, MOST_LISTED)]
    result.metrics = {name: metric.as_json() for name, metric in metrics.items() if metric.before}
    return result


class Metric:
    """One number of each input, before and after."""

    def __init__(self, title: str, read: Callable[[Cell], float | None], higher_is_better: bool) -> None:
        self.title, self.read, self.higher_is_better = title, read, higher_is_better
        self.before, self.after, self.differences = Sample(), Sample(), Differences()

    def add(self, before: Cell, after: Cell) -> None:
        """Add an input, if both sides have the number."""
        old, new = self.read(before), self.read(after)
        if old is not None and new is not None:
            self.before.add(old)
            self.after.add(new)
            self.differences.add(new - old)

    def as_json(self) -> dict[str, Any]:
        """Return the metric for summaries."""
        difference, p_value = self.differences.mean, self.differences.p_value
        return {
            "title": self.title,
            "before": self.before.mean,
            "after": self.after.mean,
            "difference": difference,
            "interval": self.differences.interval,
            "p_value": p_value,
            "significant": p_value is not None and p_value < SIGNIFICANT,
            "better": None if not difference else (difference > 0) is self.higher_is_better,
            "inputs": len(self.before),
        }


def _row(pair: Pair) -> dict[str, Any]:
    return {
        "input_id": pair.key[0],
        "persona": pair.key[1],
        "input": pair.after.label,
        "before": f"{pair.before.passed}/{pair.before.runs}",
        "after": f"{pair.after.passed}/{pair.after.runs}",
        "other_trajectory": pair.has_other_trajectory,
        "trace_ids": pair.after.trace_ids[:10],
    }
