"""
Runs that wait for a human: what is asked, and what is answered, as far as LangGraph's exceptions tell.

An interrupt is an EVENT under what asks, an answer one under the run that brings it, and both name the thread. Handlers
of a wrapped graph are told more, such as the checkpoint, and record the same events with it.
"""

from __future__ import annotations

import re
import sys
import threading
from typing import Any

from fluxloop import Status
from fluxloop.bridge import NOTHING, OpenObservation, record_event, register_ending

from .runs import Run

INTERRUPT, RESUME = "interrupt", "resume"
"""The names of the EVENTs."""

_INTERRUPT_ID = re.compile("[0-9a-f]{32}").fullmatch
"""What the id of an interrupt looks like; answers to several come by it."""


def learn_control_flow() -> None:
    """Let LangGraph's exceptions that steer the graph be no errors, as soon as it is loaded by somebody."""
    errors = sys.modules.get("langgraph.errors")
    if errors is not None and errors not in _learned:
        _learned.append(errors)
        register_ending(errors.GraphBubbleUp, Status.INTERRUPTED)
        register_ending(errors.ParentCommand, Status.SUCCESS)


_learned: list[object] = []
_asking = threading.Lock()


def asks(observation: OpenObservation | None, run: Run, error: BaseException) -> None:
    """Record what *error*, which left *run*, asks, unless a run inside it has; the run above waits as well."""
    asked = {str(one.id): one for one in error.args[0] if hasattr(one, "id")} if _is_told_in(error) else {}
    new = asked.keys() - (run.asked or {}).keys()
    node = run.metadata.get("langgraph_node")
    place = place_of(run) | ({"langgraph_node": node} if node is not None else {})
    for interrupt_id, one in asked.items():
        if observation is not None and interrupt_id in new:
            record_event(observation, INTERRUPT, input=one.value, metadata=place | {"interrupt_id": interrupt_id})
    if run.above is not None:
        above: Run = run.above.about
        with _asking:  # nodes that ask at once do so in threads of their own
            above.asked = (above.asked or {}) | dict.fromkeys(asked)


def _is_told_in(error: BaseException) -> bool:
    return bool(error.args) and isinstance(error.args[0], list | tuple)


def waits(observation: OpenObservation, run: Run) -> None:
    """Note that *run* ended well because something inside it waits."""
    about = place_of(run) | {"interrupt_ids": list(run.asked or ())}
    observation.add_metadata(**about)
    observation.trace.metadata["interrupted"] = about


def is_answer(given: object) -> bool:
    """Whether *given*, a graph's input, is a command that brings an answer."""
    kind = type(given)
    return kind.__name__ == "Command" and kind.__module__ == "langgraph.types" and given.resume is not None  # type: ignore[attr-defined]


def resumed(observation: OpenObservation, run: Run, checkpoint_id: str | None = None) -> None:
    """Record that *run* goes on from a checkpoint, and the answer it was given."""
    place = place_of(run, checkpoint_id)
    answer = run.given.resume if is_answer(run.given) else NOTHING
    by_id = list(answer) if isinstance(answer, dict) and answer and all(map(_INTERRUPT_ID, map(str, answer))) else []
    about = {**place, "interrupt_ids": by_id} if by_id else place
    record_event(observation, RESUME, input=answer, metadata=about)
    observation.add_metadata(**place)
    observation.trace.metadata["resumed"] = place


def place_of(run: Run, checkpoint_id: str | None = None) -> dict[str, Any]:
    """Return where *run* waits or goes on."""
    about = {"thread_id": run.metadata.get("thread_id"), "checkpoint_id": checkpoint_id}
    return {name: str(item) for name, item in about.items() if item}
