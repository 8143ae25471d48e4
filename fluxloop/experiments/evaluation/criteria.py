"""
Success criteria: conditions on the experiment as a whole, in the words of the published packages.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from .configuration import EvaluationConfig
from .totals import Totals

Result = dict[str, Any]
"""``met``: True, False, or None where it was not evaluated; ``detail``: what was found."""


def criteria_results(config: EvaluationConfig, totals: Totals) -> dict[str, Any] | None:
    """
    Return the result of each criterion that is enabled, by section; None if there is none.

    ``overall_success`` is whether no criterion failed.
    """
    found: dict[str, dict[str, Result]] = {}
    for section, criteria in config.success_criteria.items():
        if not isinstance(criteria, Mapping):
            continue
        for name, given in criteria.items():
            if not _is_enabled(given):
                continue
            results = _tool_calling(given, totals) if name == "tool_calling" else {name: _result(name, given, totals)}
            found.setdefault(section, {}).update(results)
    if not found:
        return None
    met = [result["met"] for results in found.values() for result in results.values()]
    return {**found, "overall_success": False not in met}


def _is_enabled(given: Any) -> bool:
    return bool(given.get("enabled", True)) if isinstance(given, Mapping) else given is not False and given is not None


def _result(name: str, given: Any, totals: Totals) -> Result:
    check = _CHECKS.get(name)
    options = given if isinstance(given, Mapping) else {}
    if check is not None:
        return check(options, totals)
    return _by_evaluator(name, options, totals)


def _all_successful(options: Mapping[str, Any], totals: Totals) -> Result:
    failed = totals.everything.count - totals.succeeded
    return {"met": not failed, "detail": f"{failed} of {totals.everything.count} runs failed"}


def _average_time(options: Mapping[str, Any], totals: Totals) -> Result:
    return _time(options, totals.durations.sample.mean if totals.durations else None, "on average")


def _longest_time(options: Mapping[str, Any], totals: Totals) -> Result:
    return _time(options, totals.durations.sample.high, "at most")


def _p95_time(options: Mapping[str, Any], totals: Totals) -> Result:
    durations = totals.durations
    return _time(options, durations.percentile(95) if durations else None, "at the 95th percentile")


def _time(options: Mapping[str, Any], value: float | None, how: str) -> Result:
    limit = _number(options, "threshold_ms")
    if value is None or limit is None:
        return _not_evaluated("no durations" if value is None else "threshold_ms is missing")
    return {"met": value <= limit, "detail": f"{value:,.0f} ms {how}, {limit:,.0f} ms allowed"}


def _error_rate(options: Mapping[str, Any], totals: Totals) -> Result:
    limit, count = _number(options, "threshold_percent"), totals.everything.count
    if limit is None or not count:
        return _not_evaluated("threshold_percent is missing" if count else "no runs")
    percent = 100 * (count - totals.succeeded) / count
    return {"met": percent <= limit, "detail": f"{percent:.1f} % failed, {limit:g} % allowed"}


def _pass_rate(options: Mapping[str, Any], totals: Totals) -> Result:
    limit, count = _number(options, "threshold_percent"), totals.everything.count
    if limit is None or not count:
        return _not_evaluated("threshold_percent is missing" if count else "no runs")
    percent = 100 * totals.everything.passed / count
    return {"met": percent >= limit, "detail": f"{percent:.1f} % passed, {limit:g} % required"}


_CHECKS: Mapping[str, Callable[[Mapping[str, Any], Totals], Result]] = {
    "all_traces_successful": _all_successful,
    "avg_response_time": _average_time,
    "max_response_time": _longest_time,
    "p95_response_time": _p95_time,
    "error_rate": _error_rate,
    "pass_rate": _pass_rate,
}
"""Criteria that are computed. Every other one is met if the evaluator of that name reaches the threshold on average."""


def _by_evaluator(name: str, options: Mapping[str, Any], totals: Totals) -> Result:
    evaluator = totals.evaluators.get(name)
    if evaluator is None or not evaluator.scores:
        return _not_evaluated(f"add an evaluator with the name {name}")
    average = evaluator.scores.mean
    limit = _number(options, "threshold") or 0.7
    return {"met": average >= limit, "detail": f"{average:.2f} on average, {limit:.2f} required"}


def _tool_calling(given: Any, totals: Totals) -> dict[str, Result]:
    if not isinstance(given, Mapping):
        given = {"all_calls_successful": True}
    results: dict[str, Result] = {}
    for name, wanted in given.items():
        if name == "enabled" or not wanted:
            continue
        if name == "all_calls_successful":
            calls, failed = (sum(counts[place] for counts in totals.tools.values()) for place in (0, 1))
            results[name] = {"met": not failed, "detail": f"{failed} of {calls} tool calls failed"}
        else:
            results[name] = _by_evaluator(name, {}, totals)
    return results


def _not_evaluated(reason: str) -> Result:
    return {"met": None, "detail": f"not evaluated: {reason}"}


def _number(options: Mapping[str, Any], name: str) -> float | None:
    value = options.get(name)
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
