"""
Compare two experiments input by input.

Runs are paired by input and persona; each pair compares the means of its runs, so that the two experiments may have
different numbers of iterations.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from . import statistics
from .cells import MOST_LISTED, Cell, Cells, Key


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


METRICS: Mapping[str, tuple[str, Callable[[Cell], list[float]], bool]] = {
    "pass_rate": ("Pass rate", lambda cell: [cell.pass_rate], True),
    "score": ("Score", lambda cell: cell.scores, True),
    "duration_ms": ("Latency, ms", lambda cell: cell.durations, False),
    "tokens": ("Tokens per run", lambda cell: cell.tokens, False),
    "cost": ("Cost per run, USD", lambda cell: cell.costs, False),
}
"""Title, values of a cell, and whether higher is better."""

SIGNIFICANT = 0.05
"""A difference with a smaller probability by chance is called significant."""


class Comparison(NamedTuple):
    """The difference between two experiments."""

    pairs: list[Pair]
    only_before: list[Key]
    only_after: list[Key]
    metrics: dict[str, dict[str, Any]]
    """For each of `METRICS` that both have: ``before``, ``after``, ``difference``, ``interval``, ``p_value``."""

    def changed(self, change: str) -> list[Pair]:
        """Return the pairs with this `Pair.change`, the largest difference first."""
        found = [pair for pair in self.pairs if pair.change == change]
        return sorted(found, key=lambda pair: -abs(pair.after.pass_rate - pair.before.pass_rate))

    @property
    def regressed(self) -> bool:
        """Whether an input broke, or the pass rate or the score fell significantly."""
        return bool(self.changed("broken")) or any(
            metric["difference"] < 0 and metric["significant"]
            for name, metric in self.metrics.items()
            if name in ("pass_rate", "score")
        )

    def as_json(self) -> dict[str, Any]:
        """Return the comparison for summaries; lists have up to `MOST_LISTED` inputs."""
        return {
            "inputs_compared": len(self.pairs),
            "regressions": [_row(pair) for pair in self.changed("broken")[:MOST_LISTED]],
            "fixes": [_row(pair) for pair in self.changed("fixed")[:MOST_LISTED]],
            "regression_count": len(self.changed("broken")),
            "fix_count": len(self.changed("fixed")),
            "trajectory_changes": sum(pair.has_other_trajectory for pair in self.pairs),
            "only_in_baseline": [list(key) for key in self.only_before[:MOST_LISTED]],
            "only_here": [list(key) for key in self.only_after[:MOST_LISTED]],
            "metrics": self.metrics,
            "regressed": self.regressed,
        }


def compared(before: Cells, after: Cells) -> Comparison:
    """Return the difference from *before* to *after*."""
    pairs = [Pair(key, cell, after[key]) for key, cell in before.items() if key in after]
    metrics = {name: metric for name in METRICS if (metric := _metric(name, pairs)) is not None}
    return Comparison(
        pairs,
        [key for key in before if key not in after],
        [key for key in after if key not in before],
        metrics,
    )


def _metric(name: str, pairs: list[Pair]) -> dict[str, Any] | None:
    title, values, higher_is_better = METRICS[name]
    means = [
        (statistics.mean(old), statistics.mean(new))
        for pair in pairs
        if (old := values(pair.before)) and (new := values(pair.after))
    ]
    if not means:
        return None
    differences = [new - old for old, new in means]
    p_value = statistics.paired_p_value(differences)
    difference = statistics.mean(differences)
    return {
        "title": title,
        "before": statistics.mean([old for old, _ in means]),
        "after": statistics.mean([new for _, new in means]),
        "difference": difference,
        "interval": statistics.mean_interval(differences),
        "p_value": p_value,
        "significant": p_value is not None and p_value < SIGNIFICANT,
        "better": None if not difference else (difference > 0) is higher_is_better,
        "inputs": len(means),
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
