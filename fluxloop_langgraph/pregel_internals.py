"""
A look at the loop that runs a graph, for what no event tells: the checkpoint it stands at, and its tasks.

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


def checkpoint_of(loop: Any) -> str | None:
    """Return the id of the checkpoint at which *loop* stands; None where it saves none."""
    return loop.checkpoint["id"] if loop is not None and loop.checkpointer is not None else None


def task_in(loop: Any, place: str) -> Any:
    """Return the task of *loop* that runs at *place*, such as ``outer:1|inner:2``; None where it is another's."""
    return loop.tasks.get(place.rpartition(":")[2]) if loop is not None else None


def next_nodes(loop: Any) -> str | None:
    """Return before which nodes *loop* stopped, if it was told to."""
    if loop is None or loop.status != "interrupt_before":
        return None
    return ", ".join(sorted({task.name for task in loop.tasks.values()}))
