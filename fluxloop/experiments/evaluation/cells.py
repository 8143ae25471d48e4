"""
Add up the runs of each input, as numbers: what breakdowns, repeats and comparisons are computed from.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from functools import lru_cache
from math import nan
from typing import Any

from ..recorded_runs import Run
from . import statistics
from .rules.values import label
from .scores import RunScore

Key = tuple[str, str | None]
"""The input, see `Run.input_key`, and the persona."""


VALUES = ("score", "duration", "cost", "tokens")
"""The numbers of a run that a cell keeps."""

MOST_TRACE_IDS = 10
"""Traces of a cell that a comparison lists."""

Trajectories = frozenset[tuple[str, ...]]
"""The tools of each run, in order."""


class Cell:
    """The runs of one input as one persona; several where the experiment has iterations."""

    __slots__ = ("_examples", "_numbers", "label", "passed", "runs", "succeeded", "trace_ids", "trajectories")

    def __init__(self, label: str) -> None:
        self.label = label
        """The input on one line."""
        self.runs = self.passed = self.succeeded = 0
        self.trajectories: Trajectories = frozenset()
        self.trace_ids: tuple[str, ...] = ()
        """Those of the first runs."""
        self._numbers = array("d")
        """`VALUES` of each run, one after the other; NaN where a run has none."""
        self._examples: list[str | None] = [None, None]
        """The trace of the first run that did not pass, and of the first that did."""

    def _values(self, place: int) -> list[float]:
        return [value for value in self._numbers[place :: len(VALUES)] if value == value]

    @property
    def scores(self) -> list[float]:
        """The scores of the runs that have one."""
        return self._values(0)

    @property
    def durations(self) -> list[float]:
        """Milliseconds."""
        return self._values(1)

    @property
    def costs(self) -> list[float]:
        """US dollars."""
        return self._values(2)

    @property
    def tokens(self) -> list[float]:
        """Tokens of the runs whose number is known."""
        return self._values(3)

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
        total = run.tokens.get("total_tokens")
        for value in (score.final, run.duration_ms, run.cost, total):
            self._numbers.append(nan if value is None else value)
        trajectory = tuple([tool.name for tool in run.tools])
        if trajectory not in self.trajectories:
            self.trajectories = _shared(self.trajectories | {trajectory})
        if len(self.trace_ids) < MOST_TRACE_IDS:
            self.trace_ids += (run.row.trace_id,)
        if self._examples[score.passed] is None:
            self._examples[score.passed] = run.row.trace_id

    def example(self, *, passed: bool) -> str:
        """Return the trace of a run that passed, or that did not; of any run if there is none."""
        return self._examples[passed] or self.trace_ids[0]


@lru_cache(maxsize=1_000)
def _shared(trajectories: Trajectories) -> Trajectories:
    """Return one object for equal values: most inputs have the same trajectories."""
    return trajectories


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
