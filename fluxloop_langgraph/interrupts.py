"""
Runs that wait for a human: what is asked, and what is answered.

An interrupt is an EVENT under the node that asks, an answer one under the run that brings it. Both carry the thread
and the checkpoint at which the graph waits, and so do the traces, which is how one finds the other.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.runnables.config import var_child_runnable_config
from langgraph import errors
from langgraph.errors import GraphInterrupt, ParentCommand

from fluxloop import Status
from fluxloop.bridge import NOTHING, OpenObservation, record_event, register_ending
from fluxloop_langchain.interrupts import INTERRUPT, is_answer, place_of, resumed
from fluxloop_langchain.ledgers import running
from fluxloop_langchain.runs import Run

from .pregel_internals import checkpoint_of

__all__ = ["ARE_TOLD", "GraphCallbackHandler", "GraphDrained", "GraphInterrupt", "ParentCommand", "resumed"]

try:
    from langgraph.callbacks import GraphCallbackHandler

    ARE_TOLD = True
    """Whether this LangGraph tells handlers of interrupts."""
except ModuleNotFoundError:
    GraphCallbackHandler = type("GraphCallbackHandler", (BaseCallbackHandler,), {})  # type: ignore[assignment,misc]
    ARE_TOLD = False

GraphDrained: type[BaseException] = getattr(errors, "GraphDrained", type("GraphDrained", (errors.GraphBubbleUp,), {}))
"""Ends a run that was asked to stop, at a point from which it can go on."""

# What steers a graph is no error. A drain was asked for from outside, and nobody is waited for.
register_ending(errors.GraphBubbleUp, Status.INTERRUPTED)
register_ending(ParentCommand, Status.SUCCESS)
register_ending(GraphDrained, Status.CANCELLED)


@dataclass(frozen=True, slots=True)
class Asked:
    """An interrupt, and where it came from."""

    interrupt: Any
    observation: OpenObservation
    node: str | None


@dataclass(frozen=True, slots=True)
class Told:
    """What newer releases of LangGraph tell about a run that waits; see its `GraphInterruptEvent`."""

    status: str
    checkpoint_id: str | None
    interrupts: tuple[Any, ...]


def guessed(loop: Any, asked: Mapping[str, Asked], stopped_at: str | None) -> Told | None:
    """Return what a LangGraph that tells nothing of interrupts would have to tell of a run that ended well."""
    status = getattr(loop, "status", None)
    if not asked and stopped_at is None and status not in ("interrupt_before", "interrupt_after"):
        return None
    return left(loop, asked)


def left(loop: Any, asked: Mapping[str, Asked]) -> Told:
    """Return what there is to tell of a run that stopped with nobody told why."""
    status = getattr(loop, "status", "pending")
    return Told(status, checkpoint_of(loop), tuple(one.interrupt for one in asked.values()))


def waits(
    observation: OpenObservation, run: Run, told: Any, asked: Mapping[str, Asked], stopped_at: str | None
) -> None:
    """Record what *run* waits for: an EVENT for each interrupt, or one where it was told to stop at a node."""
    place = place_of(run, told.checkpoint_id)
    by_id = {one.id: one for one in told.interrupts}  # that of a @task is told for the task and for its caller
    interrupts = {key: by_id[key] for key in asked if key in by_id} | by_id  # in the order they were asked
    for one in interrupts.values():
        by = asked.get(one.id)
        about = {**place, "interrupt_id": one.id} | ({"langgraph_node": by.node} if by is not None else {})
        record_event(by.observation if by is not None else observation, INTERRUPT, input=one.value, metadata=about)
    if not interrupts:
        about = {**place, "when": told.status} | ({"langgraph_node": stopped_at} if stopped_at else {})
        record_event(observation, INTERRUPT, input=NOTHING, metadata=about)
    asks = {"interrupt_ids": [*interrupts]} if interrupts else {}
    observation.add_metadata(**place, **asks)
    observation.trace.metadata["interrupted"] = place | asks


def answers(given: object) -> bool:
    """Whether *given*, a graph's input, makes it go on from where it waited."""
    return given is None or is_answer(given)


def running_step() -> Hashable | None:
    """Return the key of the run of the node that runs here; None outside of one."""
    config = var_child_runnable_config.get()
    return running(config) if config else None
