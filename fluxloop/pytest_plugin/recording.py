"""What one test records, and the facts about it that reports show."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from ..models import ObservationType, Trace
from ..testing import Captured, SystemClock, capture, outline

MAX_TRACES = 5
"""Traces that are drawn below a failure."""
MAX_LINES = 40
"""Lines of each that are drawn."""

_CAPTURED = pytest.StashKey[Captured]()


@contextmanager
def recording(item: pytest.Item) -> Iterator[Captured]:
    """Record what happens inside the block into memory, for *item*; answers are kept whole if it has a cassette."""
    has_cassette = "fluxloop_cassette" in getattr(item, "fixturenames", ())
    with capture(clock=SystemClock(), replayable=has_cassette) as captured:
        item.stash[_CAPTURED] = captured
        yield captured


def of(item: pytest.Item) -> Captured | None:
    """Return what *item* has recorded; None if it is not recorded."""
    return item.stash.get(_CAPTURED, None)


def forget(item: pytest.Item) -> None:
    """Free the memory of what *item* recorded; pytest keeps each item until the session ends."""
    if _CAPTURED in item.stash:
        del item.stash[_CAPTURED]


def model_calls(traces: list[Trace]) -> int:
    """Return the number of model calls in *traces*."""
    return sum(trace.find(type=ObservationType.GENERATION).count for trace in traces)


def tokens(traces: list[Trace]) -> int:
    """Return the tokens that the model calls in *traces* used."""
    counts = (trace.usage for trace in traces if trace.usage is not None)
    return sum(usage.total_tokens or (usage.input_tokens or 0) + (usage.output_tokens or 0) for usage in counts)


def facts(traces: list[Trace]) -> list[tuple[str, object]]:
    """Return the properties of a test for reports: its traces, model calls, tokens, and cost if it is known."""
    costs = [cost.amount for trace in traces if (cost := trace.cost) is not None]
    dollars = sum(amount for amount in costs if amount is not None)
    known = [("fluxloop_cost", round(dollars, 10))] if dollars else []
    return [
        ("fluxloop_traces", len(traces)),
        ("fluxloop_model_calls", model_calls(traces)),
        ("fluxloop_tokens", tokens(traces)),
        *known,
    ]


def drawn(traces: list[Trace]) -> str:
    """Return the outlines of *traces* for the report of a failure, cut to what can be read."""
    parts = []
    for trace in traces[:MAX_TRACES]:
        lines = outline(trace, inputs=True).splitlines()
        parts += lines[:MAX_LINES]
        if len(lines) > MAX_LINES:
            parts.append(f"… {len(lines) - MAX_LINES} more observations")
    if len(traces) > MAX_TRACES:
        parts.append(f"… {len(traces) - MAX_TRACES} more traces")
    return "\n".join(parts)
