"""
The evaluation of runs as test cases: a run that did not succeed is an error, one that did not pass a failure.
"""

from __future__ import annotations

from ...junit import Problem
from ...run_data import Run
from ..rules.values import label, short
from ..scores import RunScore


def case_of(run: Run, score: RunScore) -> tuple[str, str, float | None, Problem | None]:
    """Return the arguments of `fluxloop.experiments.junit.JunitFile.add` for *run*."""
    name = f"{label(run.data.get('input'))[:80]} [{_number(run)}]"
    return run.persona or "runs", name, run.duration_ms, _problem(run, score)


def _problem(run: Run, score: RunScore) -> Problem | None:
    if run.row.succeeded and score.passed:
        return None
    text = "\n".join(f"{evaluator}: {reason}" for evaluator, reason in score.reasons.items())
    details = f"{text}\ntrace {run.row.trace_id}\noutput: {short(run.output)}"
    if not run.row.succeeded:
        return Problem("error", run.error or run.row.status, details=details)
    return Problem("failure", "no score" if score.final is None else f"score {score.final:.3f}", details=details)


def _number(run: Run) -> str:
    number, iteration = run.data.get("run"), run.data.get("iteration")
    return f"run {number}" if number is not None else f"iteration {iteration}"
