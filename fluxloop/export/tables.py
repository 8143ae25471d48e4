"""
Traces, or their observations, as rows of a table.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any, TextIO

from ..models import ObservationData, Trace, Usage
from ..reading.moments import iso_utc
from ..reading.pricing import cost_of_observation
from .cells import safe_cell


def write_csv(traces: Iterable[Trace], file: TextIO, *, by_observation: bool = False) -> int:
    """
    Write a heading, and a row for each trace or each observation; return the number of traces.

    Values are JSON, except for texts; times are ISO 8601 in UTC.
    """
    writer = csv.writer(file, lineterminator="\n")
    count = 0
    for count, trace in enumerate(traces, start=1):
        for number, row in enumerate(_observation_rows(trace) if by_observation else [_trace_row(trace)]):
            if count == 1 and number == 0:
                writer.writerow(row)
            writer.writerow([safe_cell(value) for value in row.values()])
    return count


def _trace_row(trace: Trace) -> dict[str, Any]:
    cost = trace.cost
    observations = trace.observations
    return {
        "trace_id": trace.trace_id,
        "name": trace.name,
        "status": trace.status and str(trace.status),
        "start_time": _time(trace.start_time),
        "end_time": _time(trace.end_time),
        "duration_ms": trace.duration_ms,
        "session_id": trace.session_id,
        "user_id": trace.user_id,
        "tags": trace.tags,
        "models": sorted({o.model for o in observations if o.model}),
        "observations": len(observations),
        "errors": sum(o.status == "error" for o in observations),
        **_tokens(trace.usage),
        "cost": cost.amount if cost else None,
        "error": trace.error,
        "input": trace.input,
        "output": trace.output,
        "metadata": trace.metadata or None,
    }


def _observation_rows(trace: Trace) -> Iterator[dict[str, Any]]:
    for _, observation in trace.walk():
        yield {
            "trace_id": trace.trace_id,
            "session_id": trace.session_id,
            "user_id": trace.user_id,
            "id": observation.id,
            "parent_id": observation.parent_id,
            "type": observation.type.name,
            "name": observation.name,
            "status": observation.status and str(observation.status),
            "level": observation.level.name,
            "start_time": _time(observation.start_time),
            "end_time": _time(observation.end_time),
            "duration_ms": observation.duration_ms,
            "model": observation.model,
            "provider": observation.provider,
            **_tokens(observation.usage),
            "cost": _cost(observation, trace),
            "error": observation.error,
            "input": observation.input,
            "output": observation.output,
            "metadata": observation.metadata or None,
        }


def _cost(observation: ObservationData, trace: Trace) -> float | None:
    cost = cost_of_observation(observation, trace.start_time)
    return cost.amount if cost else None


def _tokens(usage: Usage | None) -> dict[str, int | None]:
    return {name: getattr(usage, name, None) for name in ("input_tokens", "output_tokens", "total_tokens")}


def _time(time: datetime | None) -> str | None:
    return iso_utc(time) if time else None
