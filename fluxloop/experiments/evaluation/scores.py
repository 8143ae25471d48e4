"""
The results of evaluating a run: a `Score` per evaluator, and a `Verdict` for each rule in it.

They are named tuples, as each run makes several: a frozen dataclass takes four times as long to make.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple


class Verdict(NamedTuple):
    """What a rule found."""

    score: float
    """From 0 to 1; between them where a rule is met in part."""
    passed: bool
    reason: str
    """One line for a person: what was found."""


class NotApplicable(Exception):  # not a failure: the rule is left out of the score
    """Raised by a rule that has nothing to judge in a run, such as an input without an expected answer."""


class RuleResult(NamedTuple):
    """The verdict of one rule of an evaluator; ``score`` is None where the rule does not apply."""

    rule: str
    score: float | None
    passed: bool | None
    reason: str


class Score(NamedTuple):
    """
    What one evaluator found in a run.

    ``score`` is None for a label without a number, and where the evaluator was skipped or failed. Such a result does
    not count in the score of the run.
    """

    name: str
    score: float | None = None
    """From 0 to 1."""
    passed: bool | None = None
    """Whether a check holds; None for a score or a label."""
    label: str | None = None
    value: float | None = None
    """The number as the evaluator returned it, where it is not the score itself."""
    reason: str = ""
    skipped: bool = False
    """Whether it was not run, such as a judge without a key."""
    error: str | None = None
    """Why the evaluator itself failed; this is not a failure of the run."""
    rules: tuple[RuleResult, ...] = ()
    required: bool = False
    """Whether the run fails if the check does."""

    def as_json(self) -> dict[str, Any]:
        """Return the members that have a value."""
        fields: dict[str, Any] = {}
        if self.score is not None:
            fields["score"] = self.score
        if self.passed is not None:
            fields["passed"] = self.passed
        if self.label:
            fields["label"] = self.label
        if self.value:
            fields["value"] = self.value
        if self.reason:
            fields["reason"] = self.reason
        if self.skipped:
            fields["skipped"] = True
        if self.error:
            fields["error"] = self.error
        if self.rules:
            fields["rules"] = [
                {"rule": rule, "score": score, "passed": passed, "reason": reason}
                for rule, score, passed, reason in self.rules
            ]
        return fields


class RunScore(NamedTuple):
    """The evaluation of one run: what is written as one line of ``evaluation/per_trace.jsonl``."""

    scores: tuple[Score, ...]
    final: float | None
    """The weighted mean of the scores, from 0 to 1; None if nothing could be scored."""
    passed: bool
    reasons: Mapping[str, str] = MappingProxyType({})
    """Why the run did not pass, by evaluator."""
