"""
What is written to ``evaluation/summary.json`` and shown in every report.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..folder import ExperimentFolder
from . import statistics
from .criteria import criteria_results
from .pairs import Comparison
from .samples import Ordered
from .totals import Group, Totals

SUMMARY_VERSION = 1
"""The version of the format of summary.json."""

MOST_REASONS = 10
"""Reasons that are listed, the most frequent first."""


def summary_of(
    totals: Totals,
    folder: ExperimentFolder,
    *,
    llm_calls: int = 0,
    comparison: Comparison | None = None,
    baseline: str = "",
) -> dict[str, Any]:
    """Return the summary. Keys of the published packages keep their meaning."""
    config, whole = totals.config, totals.everything
    missing = folder.what_is_missing(whole.count)
    criteria = criteria_results(config, totals)
    summary: dict[str, Any] = {
        "summary_version": SUMMARY_VERSION,
        "experiment": folder.path.name,
        "name": folder.name,
        "state": folder.state,
        "config": config.source,
        "total_traces": whole.count,
        "passed_traces": whole.passed,
        "pass_rate": whole.passed / whole.count if whole.count else None,
        "pass_rate_interval": statistics.wilson(whole.passed, whole.count),
        "average_score": whole.scores.mean if whole.scores else None,
        "average_score_interval": whole.scores.interval,
        "threshold": config.threshold,
        "aggregate_method": config.method,
        "successful_runs": totals.succeeded,
        "evaluators": config.names,
        "evaluator_stats": {name: one.as_json() for name, one in totals.evaluators.items()},
        "persona_breakdown": _breakdown(totals.personas),
        "input_breakdown": totals.cells.by_input(),
        "repeats": totals.cells.repeats(),
        "latency_ms": _latency(totals.durations),
        "tokens": dict(totals.tokens) or None,
        "cost": totals.cost if totals.priced else None,
        "cost_per_run": totals.cost / totals.priced if totals.priced else None,
        "error_types": dict(totals.errors.most_common(50)),
        "tools": {name: {"calls": calls, "errors": errors} for name, (calls, errors) in sorted(totals.tools.items())},
        "top_reasons": [list(one) for one in totals.reasons.most_common(MOST_REASONS)],
        "analysis": {"performance": {"outliers": totals.outliers()}},
        "llm_calls": llm_calls,
        "notices": [*config.notices, *([missing] if missing else [])],
    }
    if config.goal:
        summary["evaluation_goal"] = config.goal
    if criteria:
        summary["success_criteria_results"] = criteria
        summary["overall_success"] = criteria["overall_success"]
    if comparison is not None:
        summary["baseline"] = baseline
        summary["analysis"]["comparison"] = comparison.as_json()
    return summary


def _latency(durations: Ordered) -> dict[str, float | None] | None:
    if not durations:
        return None
    points = {f"p{percent}": durations.percentile(percent) for percent in (50, 90, 95, 99)}
    sample = durations.sample
    return {"mean": sample.mean, "min": sample.low, **points, "max": sample.high}


def _breakdown(groups: Mapping[str | None, Group]) -> dict[str, Any]:
    if list(groups) == [None]:
        return {}
    ordered = sorted(groups.items(), key=lambda item: (item[0] is None, item[0] or ""))
    return {name or "(no persona)": group.as_json() for name, group in ordered}
