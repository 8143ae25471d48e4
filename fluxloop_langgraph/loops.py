"""
A look at the loop that runs a graph, for what no event tells: the checkpoint it stands at.

The loop is a local variable of LangGraph's ``stream``, whose generator the wrapper made. It is only looked at, and
where it is not found, or is not what it was, its facts are missing from the records and nothing else happens.
"""

from __future__ import annotations

from typing import Any


def loop_of(running: Any) -> Any:
    """Return the loop inside *running*, a generator of ``Pregel.stream`` or ``astream``; None where there is none."""
    frame = getattr(running, "gi_frame", None) or getattr(running, "ag_frame", None)
    loop = frame.f_locals.get("loop") if frame is not None else None
    return loop if all(hasattr(loop, name) for name in ("checkpoint", "checkpointer", "status", "tasks")) else None
