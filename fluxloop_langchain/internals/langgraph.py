"""
LangGraph's exceptions, commands and interrupts. LangGraph may be imported later than this adapter, or never.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from typing import Any, Final

from fluxloop import Status
from fluxloop.bridge import register_ending

from .parts import missing

_OUTCOMES = {"GraphBubbleUp": Status.INTERRUPTED, "GraphInterrupt": Status.INTERRUPTED, "ParentCommand": Status.SUCCESS}
_registered: list[object] = []


def register_langgraph_outcomes() -> None:
    """Register LangGraph's exceptions for control flow, once it is imported; without them, they are errors."""
    errors = sys.modules.get("langgraph.errors")
    if errors is not None and errors not in _registered:
        _registered.append(errors)
        for name, status in _OUTCOMES.items():
            if isinstance(kind := getattr(errors, name, None), type):
                register_ending(kind, status)
            else:
                missing(f"langgraph.errors.{name}", f"runs it ends are not always recorded as {status.value}")


def is_resume(given: object) -> bool:
    """Whether *given*, the input of a graph, is a ``Command`` with an answer; without it, RESUME events are missing."""
    return is_command(given) and getattr(given, "resume", None) is not None


def is_command(value: object) -> bool:
    """Whether *value* is a ``Command``; without it, tool calls that a command answers are not recorded."""
    kind = type(value)
    return kind.__name__ == "Command" and kind.__module__ == "langgraph.types"


def interrupt_with(value: Any) -> None:
    """Interrupt the graph that runs here with *value*, as its step did; steps that were resumed since are passed."""
    from langgraph.types import interrupt

    for _ in range(MAX_RESUMES):
        interrupt(value)  # returns the answers of earlier resumes, then raises


MAX_RESUMES = 1_000
"""Resumes of one step that are passed."""


def command_of(fields: Mapping[str, Any]) -> Any:
    """Return a ``Command`` with these *fields*."""
    from langgraph.types import Command

    return Command(**fields)


is_interrupt_id: Final = re.compile("[0-9a-f]{32}").fullmatch
"""Whether a text is the id of an interrupt; without it, an answer by ids is recorded as one answer."""


def interrupts_in(error: BaseException) -> Mapping[str, Any]:
    """Return the interrupts of *error* by id; without them, INTERRUPT events are missing."""
    found = error.args[0] if error.args else ()
    return {str(one.id): one for one in found if hasattr(one, "id")} if isinstance(found, list | tuple) else {}
