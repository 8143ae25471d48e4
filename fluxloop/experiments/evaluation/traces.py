"""
Evaluate a single trace: scores to assert on in a test.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...models import Trace
from ..folder import Row
from ..recorded_runs import run_of
from . import configured, outside_loops
from .configuration import default_config, load_config
from .scores import Score
from .scoring import Scorer


@dataclass(frozen=True, slots=True, repr=False)
class TraceEvaluation:
    """The scores of a trace, by the names of the evaluators. It is true if the trace passed."""

    scores: tuple[Score, ...]
    score: float | None
    """The mean of the scores, from 0 to 1; None if nothing could be scored."""
    passed: bool
    """Whether the run succeeded, every required check holds, and the score reaches the threshold."""
    reasons: Mapping[str, str]
    """Why the trace did not pass, by evaluator."""

    def __bool__(self) -> bool:
        return self.passed

    def __getitem__(self, name: str) -> Score:
        for one in self.scores:
            if one.name == name:
                return one
        raise KeyError(f"no score is named {name!r}; there are {', '.join(one.name for one in self.scores) or 'none'}")

    def __iter__(self) -> Iterator[Score]:
        return iter(self.scores)

    def __len__(self) -> int:
        return len(self.scores)

    def __repr__(self) -> str:
        shown = [f"{one.name}={_value(one)}" for one in self.scores]
        causes = [f"{name}: {reason}" for name, reason in self.reasons.items()]
        return (
            f"<{'passed' if self.passed else 'failed'}: {', '.join(shown)}{'; ' if causes else ''}{'; '.join(causes)}>"
        )

    def require_passed(self) -> None:
        """Raise an `AssertionError` with the reasons unless the trace passed."""
        __tracebackhide__ = True
        if not self.passed:
            raise AssertionError("\n".join(f"{name}: {reason}" for name, reason in self.reasons.items()) or repr(self))


def _value(score: Score) -> str:
    if score.error is not None:
        return f"error ({score.error})"
    if score.skipped:
        return f"skipped ({score.reason})"
    return f"{score.score:g}" if score.score is not None else str(score.label)


def evaluate_trace(
    trace: Trace,
    evaluators: Sequence[Any] = (),
    *,
    rules: Sequence[Any] = (),
    config: str | Path | Mapping[str, Any] | None = None,
    expected: Any = None,
    metadata: Mapping[str, Any] | None = None,
    threshold: float | None = None,
) -> TraceEvaluation:
    """
    Return what *evaluators* and *rules* find in *trace*, as in an evaluation of an experiment.

    It can be called inside a running event loop, which it blocks.

    Args:
        trace: A recorded trace.
        evaluators: See `fluxloop.experiments.evaluate`.
        rules: See `fluxloop.experiments.evaluate`.
        config: An ``evaluation.yaml``, or its content; none is searched for. Without anything, the trace passes if it
            succeeded with an output.
        expected: The expected answer, for evaluators that compare with one.
        metadata: What rules refer to as ``metadata.x``.
        threshold: The score from which the trace passes.

    Raises:
        ConfigError: If a rule or the configuration has a mistake.
        TypeError: If an evaluator cannot be called.
    """
    chosen = load_config(config) if config is not None else default_config()
    chosen = configured(chosen, evaluators, rules, threshold, None, None, None)
    run = run_of(trace, Row(_row(trace, expected, metadata or {})))
    [(_, found)] = outside_loops(lambda: list(Scorer(chosen).scored([run])))
    return TraceEvaluation(found.scores, found.final, found.passed, found.reasons)


def _row(trace: Trace, expected: Any, metadata: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "trace_id": trace.trace_id,
        "input": trace.input,
        "output": trace.output,
        "expected": expected,
        "metadata": {**trace.metadata, **metadata},
        "status": trace.status.value if trace.status is not None else "unfinished",
        "error": trace.error,
        "duration_ms": trace.duration_ms,
        "session_id": trace.session_id,
    }
