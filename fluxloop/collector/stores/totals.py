"""
Totals of observations by time and group: what batches change, and the rows of a store's table of totals.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..record_rows import Observation, iso_of
from .contract import Step
from .durations import bucket_of, percentile
from .rows import HOUR_US

Key = tuple[int, str, str, str, int]
"""The hour in microseconds, type, name, model (or ``""``), and the bucket of the duration."""


class TotalsChange:
    """What a batch adds to the totals, and takes from them."""

    def __init__(self) -> None:
        self.by_key: dict[Key, list[Any]] = {}

    def add(self, rows: Iterable[Observation], sign: int = 1) -> None:
        """Count the observations that have ended, or stop counting them where *sign* is -1."""
        by_key = self.by_key
        for _, _, _, kind, name, status, _, start_us, duration_ms, model, given, made, tokens, cost, _ in rows:
            if status is None:
                continue
            key = (start_us - start_us % HOUR_US, kind, name, model or "", bucket_of(duration_ms))
            sums = by_key.get(key)
            if sums is None:
                sums = by_key[key] = [0, 0, 0, 0, 0, 0.0]
            sums[0] += sign
            if status == "error":
                sums[1] += sign
            if tokens or given or made:
                sums[2] += sign * given
                sums[3] += sign * made
                sums[4] += sign * tokens
            if cost:
                sums[5] += sign * cost

    def rows(self) -> list[tuple[Any, ...]]:
        """Return the changes as rows, in an order that is the same in every process."""
        return [(*key, *sums) for key, sums in sorted(self.by_key.items()) if any(sums)]


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
