"""
Record runs that wait for a human: the question, and the answer.

An interrupt is an EVENT under the node that asks, an answer is an EVENT under the run that brings it. Both have the
ids of the thread and of the checkpoint at which the graph waits, and so have both traces, which links them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

from langgraph import errors

from fluxloop import Status
from fluxloop.bridge import NOTHING, OpenObservation, record_event, register_ending
from fluxloop_langchain.interrupts import INTERRUPT, place_of
from fluxloop_langchain.runs import Run

from .internals import STATIC_STOPS, checkpoint_in

# Control flow is not an error. A drain is requested from outside, and the run does not wait for an answer.
register_ending(errors.GraphBubbleUp, Status.INTERRUPTED)
register_ending(errors.ParentCommand, Status.SUCCESS)
if hasattr(errors, "GraphDrained"):
    register_ending(errors.GraphDrained, Status.CANCELLED)


@dataclass(frozen=True, slots=True)
class RaisedInterrupt:
    """An interrupt, with the observation and the node it was raised in."""

    interrupt: Any
    observation: OpenObservation
    node: str | None


def pause_of(loop: Any, raised: Mapping[str, RaisedInterrupt], *, is_certain: bool) -> Any:
    """Return a substitute for a missing ``GraphInterruptEvent``; None if the run did not stop, as *loop* shows."""
    status = getattr(loop, "status", "pending")
    if not is_certain and status not in STATIC_STOPS:
        return None
    interrupts = [one.interrupt for one in raised.values()]
    return SimpleNamespace(status=status, checkpoint_id=checkpoint_in(loop), interrupts=interrupts)


def record_pause(
    observation: OpenObservation, run: Run, pause: Any, raised: Mapping[str, RaisedInterrupt], node: str | None
) -> None:
    """Record what *run* waits for: an EVENT per interrupt, or one EVENT if it stopped at *node* as configured."""
    place = place_of(run, pause.checkpoint_id)
    by_id = {item.id: item for item in pause.interrupts}  # the interrupt of a @task comes for the task and its caller
    ordered = {key: by_id[key] for key in raised if key in by_id} | by_id
    for key, item in ordered.items():
        source = raised.get(key)
        metadata = {**place, "interrupt_id": key} | ({"langgraph_node": source.node} if source is not None else {})
        under = source.observation if source is not None else observation
        record_event(under, INTERRUPT, input=item.value, metadata=metadata)
    if not ordered:
        metadata = {**place, "when": pause.status} | ({"langgraph_node": node} if node else {})
        record_event(observation, INTERRUPT, input=NOTHING, metadata=metadata)
    ids = {"interrupt_ids": [*ordered]} if ordered else {}
    observation.add_metadata(**place, **ids)
    observation.trace.metadata["interrupted"] = place | ids
