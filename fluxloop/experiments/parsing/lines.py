"""
A run as one line of ``per_trace.jsonl``.
"""

from __future__ import annotations

import orjson

from ...reading.json_text import encode
from ..run_data import Run


def line_of(run: Run) -> bytes:
    """
    Return *run* as one JSON line.

    It has the members of the row, and: ``final_output``, ``summary``, ``metrics``, and ``timeline``, the records of the
    observations in the order of the tree, each with its ``depth``.
    """
    row = run.data
    timeline = [{"depth": depth, **record} for depth, record in run.tree]
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
