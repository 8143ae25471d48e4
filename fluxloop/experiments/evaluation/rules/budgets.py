"""
Rules on how a run ended and on what it took: errors, time, tokens, cost, calls of models.
"""

from __future__ import annotations

from ...run_data import Run
from ..scores import NotApplicable, Verdict


def success(run: Run) -> Verdict:
    """The run ended with the status success."""
    return _SUCCEEDED if run.succeeded else Verdict(0.0, False, f"{run.status}: {run.error or 'no message'}")


_SUCCEEDED = Verdict(1.0, True, "succeeded")


def no_errors(run: Run) -> Verdict:
    """No observation of the run failed, also where the error was caught."""
    failed = [record for record in run.records if record.get("status") in ("error", "crashed")]
    if not failed:
        return Verdict(1.0, True, "no observation failed")
    first = failed[0]
    return Verdict(0.0, False, f"{len(failed)} failed, first {first.get('name')}: {first.get('error') or 'no message'}")


def no_unfinished(run: Run) -> Verdict:
    """Every observation of the run ended: none is still open, abandoned or was cut off by a crash."""
    count = sum(record.get("status") in (None, "abandoned", "crashed") for record in run.records)
    return Verdict(float(not count), not count, f"{count} not ended" if count else "all observations ended")


def latency_under(run: Run, *, budget_ms: float) -> Verdict:
    """The run took at most *budget_ms*; of a slower one the score is budget divided by duration."""
    return _within(run.duration_ms, budget_ms, "ms", "the run has no duration")


def token_usage_under(
    run: Run,
    *,
    max_total_tokens: float | None = None,
    max_prompt_tokens: float | None = None,
    max_completion_tokens: float | None = None,
) -> Verdict:
    """The model calls used at most so many tokens in total, of input, of output; the worst of them decides."""
    limits = {
        "total_tokens": max_total_tokens,
        "input_tokens": max_prompt_tokens,
        "output_tokens": max_completion_tokens,
    }
    given = {name: limit for name, limit in limits.items() if limit is not None}
    if not given:
        raise NotApplicable("no limit is given")
    missing = "no token counts were recorded"
    found = [_within(run.tokens.get(name), limit, name.replace("_", " "), missing) for name, limit in given.items()]
    return min(found, key=lambda verdict: verdict.score)


def cost_under(run: Run, *, max_cost: float) -> Verdict:
    """The model calls cost at most *max_cost* US dollars."""
    return _within(run.cost, max_cost, "USD", "the cost is not known: no model calls with known prices")


def model_calls_at_most(run: Run, *, limit: float) -> Verdict:
    """There were at most *limit* calls of models."""
    return _within(run.model_calls, limit, "model calls", "")


def _within(value: float | None, limit: float, unit: str, missing: str) -> Verdict:
    if value is None:
        raise NotApplicable(missing)
    within = value <= limit
    score = 1.0 if within else max(0.0, limit / value)
    return Verdict(score, within, f"{value:,.6g} {unit}, {limit:,.6g} allowed")
