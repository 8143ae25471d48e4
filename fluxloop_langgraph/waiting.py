"""
Who waits for a human, read from the records: what was asked, whether it was answered, and how.

A run that waits and the run that brings the answer are two traces. They are put together by the thread and the
checkpoint both name; a thread that got new input instead, or an answer, waits no longer.
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


@dataclass(frozen=True, slots=True)
class Interruption:
    """A run that stopped to ask a human, and what became of it."""

    thread_id: str | None
    checkpoint_id: str | None
    interrupt_id: str | None
    """None where the graph was told to stop before or after a node."""
    node: str | None
    asked: Any
    """What was handed to ``interrupt(...)``."""
    asked_at: datetime | None
    trace_id: str | None
    """The trace of the run that waits."""
    answer: Any = None
    answered_at: datetime | None = None
    answered_in: str | None = None
    """The trace of the run that brought the answer."""
    is_waiting: bool = True
    """False once it was answered, or the thread was given new input or went on from another checkpoint instead."""


def waiting(traces: str | Path | Iterable[Trace] = "./traces") -> list[Interruption]:
    """Return who waits for a human now, the longest first; as `interruptions`."""
    return [one for one in interruptions(traces) if one.is_waiting]


def interruptions(traces: str | Path | Iterable[Trace] = "./traces") -> list[Interruption]:
    """
    Return every time a recorded graph stopped to ask a human, the first first, with the answer where there is one.

    Args:
        traces: Where the records are, as for `fluxloop.read_traces`, or the traces themselves.

    Raises:
        ReadError: As for `fluxloop.read_traces`.
    """
    found: list[Interruption] = []
    for trace in read_traces(traces) if isinstance(traces, str | Path) else traces:
        if "resumed" not in trace.metadata and (thread_id := trace.metadata.get("thread_id")) is not None:
            found = [_abandoned(one, str(thread_id)) for one in found]
        for event in trace.observations:
            if event.type is not ObservationType.EVENT or not _tells(event):
                continue
            if event.name == INTERRUPT:
                _add(found, _asked(event))
            elif event.name == RESUME:
                found = [_answered(one, event) for one in found]
    return found


def _tells(event: ObservationData) -> bool:
    return not {"thread_id", "checkpoint_id", "interrupt_id", "when"}.isdisjoint(event.metadata)


def _asked(event: ObservationData) -> Interruption:
    about = event.metadata
    return Interruption(
        thread_id=about.get("thread_id"),
        checkpoint_id=about.get("checkpoint_id"),
        interrupt_id=about.get("interrupt_id"),
        node=about.get("langgraph_node"),
        asked=event.input,
        asked_at=event.start_time,
        trace_id=event.trace_id,
    )


def _add(found: list[Interruption], new: Interruption) -> None:
    """Add *new*, unless it repeats a question that is open still: asked again after only others were answered."""
    for index, one in enumerate(found):
        asked_before = one.is_waiting and one.interrupt_id is not None and one.thread_id == new.thread_id
        if asked_before and one.interrupt_id == new.interrupt_id:
            found[index] = replace(one, checkpoint_id=new.checkpoint_id)
            return
    found.append(new)


def _abandoned(one: Interruption, thread_id: str) -> Interruption:
    return replace(one, is_waiting=False) if one.is_waiting and one.thread_id == thread_id else one


def _answered(one: Interruption, event: ObservationData) -> Interruption:
    """Return *one* as it is after *event*, a resume, which may be that of another thread or interrupt."""
    about, answer = event.metadata, event.input
    if not one.is_waiting or one.thread_id != about.get("thread_id"):
        return one
    if (at := about.get("checkpoint_id")) and one.checkpoint_id and at != one.checkpoint_id:
        return replace(one, is_waiting=False)  # the thread went on from elsewhere: its state was changed, or it forked
    by_id = about.get("interrupt_ids")
    if by_id is not None:
        if one.interrupt_id not in by_id:
            return one
        answer = answer.get(one.interrupt_id) if isinstance(answer, dict) else answer
    return replace(one, answer=answer, answered_at=event.start_time, answered_in=event.trace_id, is_waiting=False)
