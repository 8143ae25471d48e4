"""
Totals of observations by time and group, from the rows of a store's table of totals.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..record_rows import iso_of
from .contract import Step
from .durations import percentile


def steps_of(rows: Iterable[tuple[Any, ...]]) -> list[Step]:
    """Return the totals of *rows* (time, group, bucket, then the sums), in the order of time and group."""
    steps: dict[tuple[Any, Any], Step] = {}
    for time_us, group, bucket, count, errors, given, made, tokens, cost in rows:
        step = steps.get((time_us, group))
        if step is None:
            step = steps[time_us, group] = Step(time_us, group)
        step.count += int(count)
        step.errors += int(errors)
        step.input_tokens += int(given)
        step.output_tokens += int(made)
        step.tokens += int(tokens)
        step.cost += float(cost)
        step.durations[bucket] = step.durations.get(bucket, 0) + int(count)
    found = sorted(steps.items(), key=lambda item: (item[0][0] or 0, item[0][1] or ""))
    return [step for _, step in found if step.count > 0]


def as_object(step: Step, by: str | None) -> dict[str, Any]:
    """Return totals as the query API returns them."""
    group = {} if by is None else {by: step.group or None}
    time = {} if step.time_us is None else {"time": iso_of(step.time_us)}
    return {
        **time,
        **group,
        "count": step.count,
        "errors": step.errors,
        "error_rate": step.errors / step.count if step.count else 0.0,
        "p50_ms": percentile(step.durations, 0.5),
        "p95_ms": percentile(step.durations, 0.95),
        "p99_ms": percentile(step.durations, 0.99),
        "input_tokens": step.input_tokens,
        "output_tokens": step.output_tokens,
        "total_tokens": step.tokens,
        "cost": round(max(step.cost, 0.0), 10),
    }
