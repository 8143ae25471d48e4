"""
Read from the records which runs wait for a human: the question, and its answer if there is one.

A run that waits and the run that brings the answer are two traces, linked by the thread and the checkpoint. A thread
that received new input instead of an answer does not wait any more.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from fluxloop import read_traces
from fluxloop.models import ObservationData, ObservationType, Trace
from fluxloop_langchain.interrupts import INTERRUPT, RESUME

PLACE = ("thread_id", "checkpoint_id", "interrupt_id")
"""The metadata that identify a question; an EVENT without any of these is the user's own."""


@dataclass(frozen=True, slots=True)
class Interruption:
    """A question to a human, which a run stopped for, and its answer."""

    thread_id: str | None
    checkpoint_id: str | None
    interrupt_id: str | None
    """None if the graph stopped before or after a node as configured."""
    node: str | None
    asked: Any
    """The argument of ``interrupt(...)``."""
    asked_at: datetime | None
    trace_id: str | None
    """The trace of the run that waits."""
    answer: Any = None
    answered_at: datetime | None = None
    answered_in: str | None = None
    """The trace of the run that brought the answer."""
    is_waiting: bool = True
    """False once it is answered, or the thread received new input or continued from another checkpoint instead."""


def waiting(traces: str | Path | Iterable[Trace] = "./traces") -> list[Interruption]:
    """Return the `interruptions` that are not answered yet, oldest first."""
    return [found for found in interruptions(traces) if found.is_waiting]


def interruptions(traces: str | Path | Iterable[Trace] = "./traces") -> list[Interruption]:
    """
    Return all questions that recorded graphs stopped for, oldest first, with their answers.

    Args:
        traces: A file or folder of records, as for `fluxloop.read_traces`, or the traces themselves.

    Raises:
        ReadError: As for `fluxloop.read_traces`.
    """
    found: list[Interruption] = []
    for trace in read_traces(traces) if isinstance(traces, str | Path) else traces:
        if "resumed" not in trace.metadata and (thread_id := trace.metadata.get("thread_id")) is not None:
            found = [replace(one, is_waiting=False) if one.thread_id == str(thread_id) else one for one in found]
        for event in trace.observations:
            if event.type is not ObservationType.EVENT or event.metadata.keys().isdisjoint((*PLACE, "when")):
                continue
            if event.name == INTERRUPT:
                _add(found, _asked(event))
            elif event.name == RESUME:
                found = [_answered(one, event) for one in found]
    return found


def _asked(event: ObservationData) -> Interruption:
    thread_id, checkpoint_id, interrupt_id, node = map(event.metadata.get, (*PLACE, "langgraph_node"))
    return Interruption(thread_id, checkpoint_id, interrupt_id, node, event.input, event.start_time, event.trace_id)


def _add(found: list[Interruption], new: Interruption) -> None:
    """Add *new*, unless it repeats an open question: a graph raises it again when only others were answered."""
    for index, one in enumerate(found if new.interrupt_id is not None else ()):
        if one.is_waiting and (one.thread_id, one.interrupt_id) == (new.thread_id, new.interrupt_id):
            found[index] = replace(one, checkpoint_id=new.checkpoint_id)
            return
    found.append(new)


def _answered(one: Interruption, event: ObservationData) -> Interruption:
    """Return *one* as it is after *event*, a resume, which may belong to another thread or interrupt."""
    facts, answer = event.metadata, event.input
    if not one.is_waiting or one.thread_id != facts.get("thread_id"):
        return one
    if (at := facts.get("checkpoint_id")) and one.checkpoint_id and at != one.checkpoint_id:
        return replace(one, is_waiting=False)  # its state was changed, or it was forked
    if (by_id := facts.get("interrupt_ids")) is not None and one.interrupt_id not in by_id:
        return one
    if by_id is not None and isinstance(answer, dict):
        answer = answer.get(one.interrupt_id)
    return replace(one, answer=answer, answered_at=event.start_time, answered_in=event.trace_id, is_waiting=False)
