"""What one test records, and the facts about it that reports show."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from ..client import default
from ..errors import FluxLoopWarning
from ..models import ObservationData, ObservationType, Trace
from ..testing import Captured, SystemClock, capture, outline
from ..tracing.recorder import Recorder

MAX_TRACES = 5
"""Traces that are drawn below a failure."""
MAX_LINES = 40
"""Lines of each that are drawn."""
MAX_WIDTH = 300
"""Characters of a line."""

_RECORDING = pytest.StashKey[tuple[Captured, Recorder | None]]()
"""What a test records, and the recorder that does it; None after the fixture has ended."""

REPLACED = (
    "fluxloop.configure() or fluxloop.testing.capture() replaced the recorder of fluxloop_traces during the test, "
    "so what followed is not in fluxloop_traces"
)


@contextmanager
def recording(item: pytest.Item) -> Iterator[Captured]:
    """Record what happens inside the block into memory, for *item*; answers are kept whole if it has a cassette."""
    has_cassette = "fluxloop_cassette" in getattr(item, "fixturenames", ())
    with capture(clock=SystemClock(), replayable=has_cassette) as captured:
        item.stash[_RECORDING] = captured, default.recorder
        yield captured
    item.stash[_RECORDING] = captured, None
    if captured.has_open and (found := _open_calls(captured.traces())):
        _warn(item, f"{item.nodeid} left open: {found}")


def _warn(item: pytest.Item, message: str) -> None:
    """Warn at the line of the test; fail it if warnings are errors."""
    path, line, _ = item.reportinfo()
    try:
        warnings.warn_explicit(message, FluxLoopWarning, str(path), (line or 0) + 1)
    except FluxLoopWarning:
        pytest.fail(message, pytrace=False)


def of(item: pytest.Item) -> Captured | None:
    """Return what *item* has recorded; None if it is not recorded."""
    found = item.stash.get(_RECORDING, None)
    return found[0] if found is not None else None


def hide_earlier(item: pytest.Item) -> None:
    """Leave out of the traces of *item* what it has recorded so far; `all_traces` has it."""
    if (captured := of(item)) is not None:
        captured.hidden |= {trace.trace_id for trace in captured.traces()}


def all_traces(item: pytest.Item) -> list[Trace]:
    """Return the traces of all runs of *item*."""
    captured = of(item)
    return Captured(captured.storage).traces() if captured is not None else []


def is_replaced(item: pytest.Item) -> bool:
    """Return whether what happens now is recorded by something else than the fixture of *item*."""
    found = item.stash.get(_RECORDING, None)
    return found is not None and found[1] is not None and default.recorder is not found[1]


def forget(item: pytest.Item) -> None:
    """Free the memory of what *item* recorded; pytest keeps each item until the session ends."""
    if _RECORDING in item.stash:
        del item.stash[_RECORDING]


def _open_calls(traces: list[Trace]) -> str:
    """Return the innermost open observations of *traces*, each with its trace."""
    found = [f"{call.type.name} {call.name} of trace {trace.name!r}" for trace in traces for call in _innermost(trace)]
    more = f" and {len(found) - MAX_TRACES} more" if len(found) > MAX_TRACES else ""
    return ", ".join(found[:MAX_TRACES]) + more


def _innermost(trace: Trace) -> list[ObservationData]:
    is_open = [one for one in trace.observations if one.status is None]
    parents = {one.parent_id for one in is_open}
    return [one for one in is_open if one.id not in parents]


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
        parts += [line if len(line) <= MAX_WIDTH else f"{line[:MAX_WIDTH]}…" for line in lines[:MAX_LINES]]
        if len(lines) > MAX_LINES:
            parts.append(f"… {len(lines) - MAX_LINES} more observations")
    if len(traces) > MAX_TRACES:
        parts.append(f"… {len(traces) - MAX_TRACES} more traces")
    return "\n".join(parts)
