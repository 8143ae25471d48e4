"""
Record runs that wait for a human: the question, and the answer.

An interrupt is an EVENT under the node that asks, an answer is an EVENT under the run that brings it. Both have the
ids of the thread and of the checkpoint at which the graph waits, and so have both traces, which links them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from langgraph import errors
from langgraph.errors import GraphInterrupt, ParentCommand

from fluxloop import Status
from fluxloop.bridge import NOTHING, OpenObservation, record_event, register_ending
from fluxloop_langchain.interrupts import INTERRUPT, is_answer, place_of, resumed
from fluxloop_langchain.runs import Run

from .internals import HAS_INTERRUPT_EVENTS, STATIC_STOPS, checkpoint_in

__all__ = ["GraphInterrupt", "ParentCommand", "resumed"]

# Control flow is not an error. A drain is requested from outside, and the run does not wait for an answer.
register_ending(errors.GraphBubbleUp, Status.INTERRUPTED)
register_ending(ParentCommand, Status.SUCCESS)
if hasattr(errors, "GraphDrained"):
    register_ending(errors.GraphDrained, Status.CANCELLED)


@dataclass(frozen=True, slots=True)
class RaisedInterrupt:
    """An interrupt, with the observation and the node it was raised in."""

    interrupt: Any
    observation: OpenObservation
    node: str | None


@dataclass(frozen=True, slots=True)
class Pause:
    """Why and where a run stopped; has the fields FluxLoop reads of LangGraph's ``GraphInterruptEvent``."""

    status: str
    checkpoint_id: str | None
    interrupts: tuple[Any, ...]


def interrupts_in(error: BaseException) -> list[Any]:
    """Return the interrupts that *error* carries; none if a subgraph stopped at a node as configured."""
    carried = error.args[0] if error.args else ()
    return [item for item in carried if hasattr(item, "id")] if isinstance(carried, list | tuple) else []


def pause_of(loop: Any, raised: Mapping[str, RaisedInterrupt], *, is_certain: bool) -> Pause | None:
    """
    Return why a run stopped that LangGraph sent no interrupt event for; None if it did not stop.

    The *loop* that ran the graph decides, unless it *is_certain* that an interrupt in *raised* stopped the run.
    """
    status = getattr(loop, "status", "pending")
    if not is_certain and status not in STATIC_STOPS:
        return None
    return Pause(status, checkpoint_in(loop), tuple(one.interrupt for one in raised.values()))


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


def continues(given: object) -> bool:
    """Whether *given*, the input of a graph, continues from a checkpoint, as far as the input alone can show it."""
    return is_answer(given) or (given is None and not HAS_INTERRUPT_EVENTS)
