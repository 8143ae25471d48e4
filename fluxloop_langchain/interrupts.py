"""
Runs that wait for a human: interrupts and their answers, as LangGraph's exceptions and inputs show them.

An interrupt is an EVENT under the run that raises it, an answer one under the run that receives it; both have the
thread. Handlers of a wrapped graph receive more, such as the checkpoint, and record the same events with it.
"""

from __future__ import annotations

import threading
from typing import Any

from fluxloop.bridge import NOTHING, Ledger, OpenObservation, record_event

from .internals import interrupts_in, is_interrupt_id, is_resume
from .runs import Run

INTERRUPT, RESUME = "interrupt", "resume"
"""The names of the EVENTs."""

_lock = threading.Lock()


def record_interrupts(observation: OpenObservation | None, run: Run, error: BaseException) -> None:
    """Record the interrupts in *error*, which ended *run*, unless a run inside it has; the parent waits as well."""
    found = interrupts_in(error)
    new = found.keys() - (run.interrupt_ids or {}).keys()
    node = run.metadata.get("langgraph_node")
    place = place_of(run) | ({"langgraph_node": node} if node is not None else {})
    for interrupt_id, interrupt in found.items():
        if observation is not None and interrupt_id in new:
            value = getattr(interrupt, "value", NOTHING)
            record_event(observation, INTERRUPT, input=value, metadata=place | {"interrupt_id": interrupt_id})
    if run.parent is not None:
        parent: Run = run.parent.run
        with _lock:  # nodes may raise interrupts in several threads
            parent.interrupt_ids = (parent.interrupt_ids or {}) | dict.fromkeys(found)


def mark_waiting(observation: OpenObservation, run: Run) -> None:
    """Note that *run* returned because a run inside it waits."""
    facts = place_of(run) | {"interrupt_ids": list(run.interrupt_ids or ())}
    observation.add_metadata(**facts)
    observation.trace.metadata["interrupted"] = facts


def record_noted_resume(ledger: Ledger, run: Run) -> None:
    """Record that *run* continues if that is noted, and no other handler has recorded it with more detail."""
    if run.is_resume:
        run.is_resume = False
        if (observation := ledger.get(run.key)) is not None:
            record_resume(observation, run)


def record_resume(observation: OpenObservation, run: Run, checkpoint_id: str | None = None) -> None:
    """Record that *run* continues from a checkpoint, and the answer in its input."""
    place = place_of(run, checkpoint_id)
    answer = run.input.resume if is_resume(run.input) else NOTHING
    by_id = list(answer) if isinstance(answer, dict) and answer and all(map(is_interrupt_id, map(str, answer))) else []
    facts = {**place, "interrupt_ids": by_id} if by_id else place
    record_event(observation, RESUME, input=answer, metadata=facts)
    observation.add_metadata(**place)
    observation.trace.metadata["resumed"] = place


def place_of(run: Run, checkpoint_id: str | None = None) -> dict[str, Any]:
    """Return the thread and checkpoint at which *run* waits or continues."""
    place = {"thread_id": run.metadata.get("thread_id"), "checkpoint_id": checkpoint_id}
    return {name: str(item) for name, item in place.items() if item}
