"""
Add up the runs of an evaluation, one at a time, in memory that does not grow with their number.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..run_data import Run
from .cells import Cells
from .configuration import EvaluationConfig
from .samples import Bootstrapped, Ordered, Sample
from .scores import RunScore, Score

MOST_OUTLIERS = 10
"""Outliers that are listed."""


MOST_TOOLS = 1_000
"""Tools that are counted by name: a model can call tools that do not exist."""

OTHER_TOOLS = "(other tools)"

MOST_TEXTS = 10_000
"""Different texts that are counted. If there are more, the rare ones are forgotten."""


class Frequent(Counter[str]):
    """Counts of texts. Of texts that are nearly all different, such as reasons with numbers, the rare are forgotten."""

    def add(self, text: str) -> None:
        """Count *text* once more."""
        self[text] += 1
        if len(self) > MOST_TEXTS:
            common = self.most_common(MOST_TEXTS // 10)
            self.clear()
            self.update(dict(common))


@dataclass(slots=True)
class Group:
    """Counts of some runs."""

    count: int = 0
    passed: int = 0
    scores: Bootstrapped = field(default_factory=Bootstrapped)

    def add(self, score: RunScore) -> None:
        """Add one run."""
        self.count += 1
        self.passed += score.passed
        if score.final is not None:
            self.scores.add(score.final)

    def as_json(self) -> dict[str, Any]:
        """Return the group for a summary."""
        return {
            "count": self.count,
            "passed": self.passed,
            "pass_rate": self.passed / self.count if self.count else None,
            "average_score": self.scores.mean if self.scores else None,
        }


@dataclass(slots=True)
class EvaluatorTotals:
    """What one evaluator found in all runs."""

    scores: Sample = field(default_factory=Sample)
    checks: int = 0
    passed: int = 0
    skipped: int = 0
    errors: int = 0
    out_of_range: int = 0
    """Numbers that are not scores, since they are outside 0 to ``max_score``."""
    labels: Frequent = field(default_factory=Frequent)
    rules: dict[str, list[int]] = field(default_factory=dict)
    """Passed, failed and not applicable, by rule."""
    note: str = ""
    """Why it was skipped, or the error of the last failure."""

    def add(self, score: Score) -> None:
        """Add the score of one run."""
        if score.score is not None:
            self.scores.add(score.score)
        if score.passed is not None:
            self.checks += 1
            self.passed += score.passed
        if score.label is not None:
            self.labels.add(score.label)
        self.skipped += score.skipped
        if score.error is not None:
            self.errors += 1
        is_out_of_range = score.score is None and score.value is not None
        self.out_of_range += is_out_of_range
        self.note = score.error or (score.reason if score.skipped or is_out_of_range else "") or self.note
        for one in score.rules:
            if (counts := self.rules.get(one.rule)) is None:
                counts = self.rules[one.rule] = [0, 0, 0]
            counts[2 if one.passed is None else 0 if one.passed else 1] += 1

    def as_json(self) -> dict[str, Any]:
        """Return the totals for a summary."""
        found: dict[str, Any] = {
            "average": self.scores.mean if self.scores else None,
            "min": self.scores.low,
            "max": self.scores.high,
            "count": len(self.scores),
            "skipped": self.skipped,
            "errors": self.errors,
        }
        if self.out_of_range:
            found["out_of_range"] = self.out_of_range
        if self.checks:
            found["pass_rate"] = self.passed / self.checks
        if self.labels:
            found["labels"] = dict(self.labels.most_common(50))
        if self.rules:
            names = ("passed", "failed", "not_applicable")
            found["rules"] = {rule: dict(zip(names, counts, strict=True)) for rule, counts in self.rules.items()}
        if self.note and (self.skipped or self.errors or self.out_of_range):
            found["note"] = self.note
        return found


class Totals:
    """The runs of an evaluation, added up one at a time."""

    def __init__(self, config: EvaluationConfig) -> None:
        self.cells = Cells()
        self.everything = Group()
        self.durations = Ordered()
        self.cost = 0.0
        self.priced = 0
        self.succeeded = 0
        self.tokens: Counter[str] = Counter()
        self.personas: dict[str | None, Group] = {}
        self.evaluators = {name: EvaluatorTotals() for name in config.names}
        self.errors = Frequent()
        self.tools: dict[str, list[int]] = {}
        """Calls and failed calls, by tool."""
        self.config = config
        self.reasons = Frequent()
        self._slowest: list[tuple[float, str]] = []

    def add(self, run: Run, score: RunScore) -> None:
        """Add one run."""
        self.cells.add(run, score)
        self._add_to_groups(run.persona, score)
        self.succeeded += run.succeeded
        if (duration := run.duration_ms) is not None:
            self.durations.add(duration)
            self._slowest.append((duration, run.trace_id))
            if len(self._slowest) > 10 * MOST_OUTLIERS:
                self._slowest = sorted(self._slowest, reverse=True)[:MOST_OUTLIERS]
        if (cost := run.cost) is not None:
            self.cost += cost
            self.priced += 1
        for name, count in run.tokens.items():
            self.tokens[name] += count
        if not run.succeeded:
            self.errors.add(_error_type(run))
        for name, record in zip(run.tool_names, run.tool_records, strict=True):
            if (counts := self.tools.get(name)) is None:
                counts = self.tools.setdefault(name if len(self.tools) < MOST_TOOLS else OTHER_TOOLS, [0, 0])
            counts[0] += 1
            counts[1] += record.get("status") != "success" or record.get("error") is not None
        for one in score.scores:
            if (totals := self.evaluators.get(one.name)) is None:
                totals = self.evaluators[one.name] = EvaluatorTotals()
            totals.add(one)
        for name, reason in score.reasons.items():
            self.reasons.add(f"{name}: {reason:.200}")

    def _add_to_groups(self, persona: str | None, score: RunScore) -> None:
        if not self.personas:
            self.personas[persona] = self.everything  # until there is a second persona
        elif persona not in self.personas:
            if len(self.personas) == 1:
                self.personas = {only: copy.deepcopy(group) for only, group in self.personas.items()}
            self.personas[persona] = Group()
        self.everything.add(score)
        if len(self.personas) > 1:
            self.personas[persona].add(score)

    def outliers(self) -> list[dict[str, Any]]:
        """Return the runs that took longer than 1.5 interquartile ranges above the third quartile (Tukey)."""
        if len(self.durations) < 8:
            return []
        low, high = self.durations.percentile(25), self.durations.percentile(75)
        limit = high + 1.5 * (high - low)
        slowest = sorted(self._slowest, reverse=True)[:MOST_OUTLIERS]
        return [{"trace_id": trace_id, "duration_ms": duration} for duration, trace_id in slowest if duration > limit]


def _error_type(run: Run) -> str:
    error = run.data.get("error")
    return str(error.get("type") or run.status) if isinstance(error, Mapping) else run.status
