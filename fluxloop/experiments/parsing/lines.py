"""
A run as one line of ``per_trace.jsonl``.
"""

from __future__ import annotations

from typing import Any

import orjson

from ...reading.json_text import encode
from ..recorded_runs import Run


def line_of(run: Run) -> bytes:
    """
    Return *run* as one JSON line.

    It has the members of the row, and: ``final_output``, ``summary``, ``metrics``, and ``timeline``, the observations
    in the order of the tree with their ``depth``.
    """
    row = run.data
    timeline = [_step(depth, record) for depth, record in run.walk()]
    line = {
        **row,
        "trace_id": run.row.trace_id,
        "success": run.row.succeeded,
        "status": run.row.status,
        "final_output": run.output,
        "summary": {
            "tools": [call.name for call in run.tools],
            "errors": [step["error"] for step in timeline if step.get("error")],
        },
        "timeline": timeline,
        "metrics": {
            "observation_count": len(run.records),
            "model_calls": run.model_calls,
            "tool_calls": len(run.tools),
            "cost": run.cost,
            **run.tokens,
        },
    }
    try:
        return orjson.dumps(line, default=str, option=orjson.OPT_APPEND_NEWLINE)
    except TypeError:  # a number beyond 64 bits, or deeper than orjson goes
        return f"{encode(line)}\n".encode()


def _step(depth: int, record: dict[str, Any]) -> dict[str, Any]:
    return {"depth": depth, **{name: record[name] for name in _FIELDS if name in record}}


_FIELDS = (
    "id", "parent_id", "type", "name", "status", "level", "start_time", "end_time", "duration_ms", "input", "output",
    "error", "metadata", "model", "usage", "finish_reasons",
)  # fmt: skip
"""The fields of a record that a step of the timeline has."""
