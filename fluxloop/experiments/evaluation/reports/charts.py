"""
Charts as numbers that a template draws as SVG.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil, floor, log10
from typing import Any

from ...shown import milliseconds, percent


@dataclass(frozen=True, slots=True)
class Bar:
    """A bar of a chart."""

    label: str
    share: float
    """Its length, from 0 to 1."""
    text: str
    """The value as text."""
    kind: str = "plain"
    """``good``, ``bad`` or ``plain``: its color."""
    low: float | None = None
    high: float | None = None
    """The ends of the interval of the value, from 0 to 1."""


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart of horizontal bars, or of columns for a distribution."""

    title: str
    bars: Sequence[Bar]
    columns: bool = False
    note: str = ""


def charts(summary: Mapping[str, Any], scores: Histogram, durations: Histogram) -> list[Chart]:
    """Return the charts of an evaluation; those without data are left out."""
    threshold = summary["threshold"]
    found = [
        Chart("Score of each run", scores.bars(lambda low: "good" if low >= threshold - 1e-9 else "bad"), columns=True),
        Chart("Latency of each run", durations.bars(lambda low: "plain"), columns=True),
        Chart("Average of each evaluator", [*_evaluators(summary)], note=f"threshold {threshold:g}"),
        Chart("Pass rate of each persona", [*_personas(summary)], note="with 95 % intervals"),
        Chart("Pass rate over repeats", [*_repeats(summary)], note="pass@k: one of k passes; pass^k: all k pass"),
        Chart("Calls of each tool", [*_tools(summary)], note="red: failed"),
    ]
    return [chart for chart in found if chart.bars]


class Histogram:
    """
    Counts of values in ranges.

    Args:
        high: The largest value, where it is known; else ranges are chosen so that the values fit, in powers of 10.
    """

    def __init__(self, high: float | None = None) -> None:
        self._high = high
        self._counts: dict[int, int] = {}

    def add(self, value: float | None) -> None:
        """Count a value of 0 or more."""
        if value is None or not 0 <= value < 1e15:
            return
        place = min(floor(value * 20 / self._high), 19) if self._high else _log_place(value)
        self._counts[place] = self._counts.get(place, 0) + 1

    def bars(self, kind: Any) -> list[Bar]:
        """Return a bar per range from the first to the last with values; *kind* returns the color of a range."""
        if not self._counts:
            return []
        first, last = (0, 19) if self._high else (min(self._counts), max(self._counts))
        most = max(self._counts.values())
        bars = []
        for place in range(first, last + 1):
            count = self._counts.get(place, 0)
            low, high = self._range(place)
            label = f"{low:.2f} to {high:.2f}" if self._high else f"{milliseconds(low)} to {milliseconds(high)}"
            bars.append(Bar(label, count / most, f"{count:,}", kind(low)))
        return bars

    def _range(self, place: int) -> tuple[float, float]:
        if self._high:
            return place * self._high / 20, (place + 1) * self._high / 20
        return 10 ** (place / _PER_DECADE), 10 ** ((place + 1) / _PER_DECADE)


_PER_DECADE = 8
"""Ranges between 1 and 10."""


def _log_place(value: float) -> int:
    return floor(log10(max(value, 0.01)) * _PER_DECADE)


def _evaluators(summary: Mapping[str, Any]) -> Iterable[Bar]:
    for name, one in summary["evaluator_stats"].items():
        if one["average"] is not None:
            kind = "good" if one["average"] >= summary["threshold"] else "bad"
            yield Bar(name, one["average"], f"{one['average']:.3f}", kind)


def _personas(summary: Mapping[str, Any]) -> Iterable[Bar]:
    from ..statistics import wilson

    for name, one in summary["persona_breakdown"].items():
        low, high = wilson(one["passed"], one["count"]) or (None, None)
        yield Bar(f"{name} ({one['count']:,})", one["pass_rate"], percent(one["pass_rate"]), "plain", low, high)


def _repeats(summary: Mapping[str, Any]) -> Iterable[Bar]:
    repeats = summary["repeats"]
    for name, values in (("pass@", "pass_at_k"), ("pass^", "pass_hat_k")) if repeats else ():
        for k, value in repeats[values].items():
            yield Bar(f"{name}{k}", value, percent(value), "good" if name == "pass@" else "plain")


def _tools(summary: Mapping[str, Any]) -> Iterable[Bar]:
    most = max((one["calls"] for one in summary["tools"].values()), default=1)
    ordered = sorted(summary["tools"].items(), key=lambda item: -item[1]["calls"])
    for name, one in ordered[:20]:
        failed = one["errors"]
        text = f"{one['calls']:,}{f', {failed:,} failed' if failed else ''}"
        yield Bar(name, ceil(1000 * one["calls"] / most) / 1000, text, "bad" if failed else "plain")
