"""
Add up the runs of each input, as numbers: what breakdowns, repeats and comparisons are computed from.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from ..recorded_runs import Run
from . import statistics
from .rules.values import label
from .scores import RunScore

Key = tuple[str, str | None]
"""The input, see `Run.input_key`, and the persona."""


@dataclass(slots=True)
class Cell:
    """The runs of one input as one persona; several where the experiment has iterations."""

    label: str
    """The input on one line."""
    runs: int = 0
    passed: int = 0
    succeeded: int = 0
    scores: list[float] = field(default_factory=list)
    durations: list[float] = field(default_factory=list)
    """Milliseconds."""
    costs: list[float] = field(default_factory=list)
    """US dollars."""
    tokens: list[float] = field(default_factory=list)
    trajectories: set[tuple[str, ...]] = field(default_factory=set)
    """The tools of each run, in order."""
    trace_ids: list[str] = field(default_factory=list)
    _examples: dict[bool, str] = field(default_factory=dict)
    """The trace of the first run that passed, and of the first that did not."""

    @property
    def pass_rate(self) -> float:
        """The share of the runs that passed."""
        return self.passed / self.runs if self.runs else 0.0

    @property
    def is_flaky(self) -> bool:
        """Whether some runs passed and others did not."""
        return 0 < self.passed < self.runs

    def add(self, run: Run, score: RunScore) -> None:
        """Add one run."""
        self.runs += 1
        self.passed += score.passed
        self.succeeded += run.row.succeeded
        for values, value in (
            (self.scores, score.final),
            (self.durations, run.duration_ms),
            (self.costs, run.cost),
            (self.tokens, run.tokens.get("total_tokens")),
        ):
            if value is not None:
                values.append(value)
        self.trajectories.add(tuple(tool.name for tool in run.tools))
        self.trace_ids.append(run.row.trace_id)
        self._examples.setdefault(score.passed, run.row.trace_id)

    def example(self, *, passed: bool) -> str:
        """Return the trace of a run that passed, or that did not; of any run if there is none."""
        return self._examples.get(passed, self.trace_ids[0])


class Cells(dict[Key, Cell]):
    """The cells of an experiment."""

    def add(self, run: Run, score: RunScore) -> None:
        """Add one run to its cell."""
        key = run.input_key, run.persona
        cell = self.get(key)
        if cell is None:
            cell = self[key] = Cell(label(run.data.get("input")))
        cell.add(run, score)

    def repeats(self) -> dict[str, Any] | None:
        """Return pass@k, pass^k, the variance and the flaky inputs; None if no input was run twice."""
        repeated = [cell for cell in self.values() if cell.runs > 1]
        if not repeated:
            return None
        fewest = min(cell.runs for cell in repeated)
        return {
            "inputs": len(repeated),
            "runs_per_input": fewest,
            "pass_at_k": {
                str(k): statistics.mean([statistics.pass_at_k(cell.runs, cell.passed, k) for cell in repeated])
                for k in range(1, min(fewest, LARGEST_K) + 1)
            },
            "pass_hat_k": {
                str(k): statistics.mean([statistics.pass_hat_k(cell.runs, cell.passed, k) for cell in repeated])
                for k in range(1, min(fewest, LARGEST_K) + 1)
            },
            "score_variance": statistics.mean([statistics.variance(cell.scores) for cell in repeated]),
            "different_trajectories": sum(len(cell.trajectories) > 1 for cell in repeated),
            "flaky_count": sum(cell.is_flaky for cell in repeated),
            "flaky": [
                {"input_id": key[0], "persona": key[1], "input": cell.label, "passed": cell.passed, "runs": cell.runs}
                for key, cell in self.worst()
                if cell.is_flaky
            ][:MOST_LISTED],
        }

    def worst(self) -> list[tuple[Key, Cell]]:
        """Return the cells, those with the lowest pass rate and score first."""
        return sorted(self.items(), key=lambda item: (item[1].pass_rate, statistics.mean(item[1].scores)))

    def by_input(self) -> list[dict[str, Any]]:
        """Return one row per cell, the worst first, up to `MOST_LISTED`."""
        return [row_of(key, cell) for key, cell in self.worst()[:MOST_LISTED]]


LARGEST_K = 16
"""The largest k of pass@k and pass^k that is reported."""

MOST_LISTED = 200
"""Inputs that a summary lists; per_trace.jsonl has every run."""


def row_of(key: Key, cell: Cell) -> dict[str, Any]:
    """Return *cell* as a row of a summary."""
    return {
        "input_id": key[0],
        "persona": key[1],
        "input": cell.label,
        "runs": cell.runs,
        "passed": cell.passed,
        "pass_rate": cell.pass_rate,
        "average_score": _mean(cell.scores),
        "avg_duration_ms": _mean(cell.durations),
        "cost": sum(cell.costs) if cell.costs else None,
    }


def _mean(values: Iterable[float]) -> float | None:
    found = [*values]
    return statistics.mean(found) if found else None
