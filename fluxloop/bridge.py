"""
The door to the core: what frameworks are connected with, and all that an adapter may use of it.

Frameworks that report events by id have a `Ledger`; functions that can be wrapped are recorded as the decorators
do it, with `recording`. A locator tells which observation is current inside a framework's step.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .calls import Call, Spec, begin
from .claims import Claimable
from .client import FluxLoopClient, default
from .context import Locator, add_locator, current_is, deeper, remove_locator
from .deltas import delta_text
from .endings import register_ending, status_of
from .events import happened
from .frameworks import Instrumenter, Recording, add_instrumenter
from .kinds import ObservationType
from .ledger import Entry, Ledger
from .lines import label_of
from .notes import Notes, StreamNotes
from .observations import OpenObservation
from .recorder import NOTHING
from .report import log
from .scopes import OUTSIDE, Observing, is_outside
from .traces import name_session
from .usage import read_facts
from .wrapping import spec_of

__all__ = [
    "NOTHING",
    "OUTSIDE",
    "Call",
    "Claimable",
    "Entry",
    "Instrumenter",
    "Ledger",
    "Locator",
    "Notes",
    "Observing",
    "OpenObservation",
    "Recording",
    "Spec",
    "StreamNotes",
    "add_instrumenter",
    "add_locator",
    "begin",
    "current_is",
    "deeper",
    "default",
    "delta_text",
    "go_by",
    "happened",
    "is_outside",
    "is_recorded_as",
    "log",
    "name_session",
    "read_facts",
    "recording",
    "recording_here",
    "register_ending",
    "remove_locator",
    "status_of",
]


def is_recorded_as(kind: ObservationType, func: object) -> bool:
    """Whether *func*, or what it wraps, records its calls as *kind* already."""
    spec = spec_of(func)
    return spec is not None and spec.type is kind


def go_by(func: object, called: str) -> None:
    """Let what *func* records go by *called*, the name a framework gave its tool, unless the user named it."""
    spec = spec_of(func)
    if spec is not None and not spec.is_named:
        spec.name = spec.called = called
        spec.label = label_of(spec.type, called)


def recording(
    func: Callable[..., Any],
    kind: ObservationType,
    name: str,
    *,
    client: FluxLoopClient = default,
    opens_trace: bool = False,
    bind: Callable[..., Any] | None = None,
    notes: Callable[[OpenObservation], Notes] | None = None,
) -> Any:
    """
    Return *func* with each call recorded, as the decorators do it.

    Args:
        func: A function of any shape.
        kind: The observations' type.
        name: Their name.
        client: Whose they are.
        opens_trace: Whether a call outside a trace opens one.
        bind: Takes the arguments of a call and returns what to capture of them; by parameter name if None.
        notes: Makes what keeps notes of the stream a call returns, or is; the items as they are if None.
    """
    return client._recorded(func, name=name, kind=kind, opens_trace=opens_trace, bind=bind, notes=notes)


recording_here = default.recording_here
"""Returns what is current here, where something that begins now would be recorded under it."""
