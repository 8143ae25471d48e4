"""
Observations opened and closed by key, for frameworks that report events.

An adapter's events name a run and its parent by an id of the framework's. A `Ledger` keeps what is open
under those ids and never touches the context variable, since events may come from any thread, late, or
not at all: what is left open under an observation ends with it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Mapping
from typing import TYPE_CHECKING, Any

from .calls import Muted, Spec, spec_of
from .claims import Claimable
from .client import FluxLoopClient, default
from .context import add_locator, current, current_is, remove_locator
from .endings import error_details, message_of, status_of
from .frameworks import Instrumenter, Recording, add_instrumenter
from .ids import session_id as process_session_id
from .kinds import ObservationLevel, ObservationType, Status
from .lines import label_of
from .notes import Notes, StreamNotes
from .observations import OpenObservation
from .recorder import NOTHING
from .scopes import OUTSIDE, Observing, is_outside

if TYPE_CHECKING:
    from .observations import OpenTrace

__all__ = [
    "NOTHING",
    "OUTSIDE",
    "Claimable",
    "Entry",
    "Instrumenter",
    "Ledger",
    "Notes",
    "Observing",
    "OpenObservation",
    "Recording",
    "add_instrumenter",
    "add_locator",
    "current_is",
    "deeper",
    "go_by",
    "happened",
    "is_outside",
    "is_recorded_as",
    "name_session",
    "recording",
    "recording_here",
    "remove_locator",
]


class Entry:
    """What the ledger keeps of one run of the framework's."""

    __slots__ = ("below", "is_folded", "key", "notes", "observation", "parent")

    def __init__(self, key: Hashable, parent: Entry | None, observation: OpenObservation | None, is_folded: bool):
        self.key = key
        self.parent = parent
        self.observation = observation
        """Its own, or the nearest recorded one above where it is folded; None where nothing is recorded."""
        self.is_folded = is_folded
        self.below: dict[Hashable, Entry] = {}
        self.notes: StreamNotes | None = None


class Ledger:
    """
    The open observations of one adapter, by the framework's own ids.

    Every method is harmless for a key it does not know, and none raises into the framework. What has
    ended is forgotten, so a ledger's size is that of what runs right now.
    """

    def __init__(self, client: FluxLoopClient = default) -> None:
        self.client = client
        self._entries: dict[Hashable, Entry] = {}
        self._lock = threading.RLock()

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, key: Hashable) -> bool:
        return key in self._entries

    def start(
        self,
        key: Hashable,
        kind: ObservationType,
        name: str,
        *,
        parent: Hashable | None = None,
        input: object = NOTHING,
        metadata: Mapping[str, Any] | None = None,
        fields: Mapping[str, Any] | None = None,
        trace: Mapping[str, Any] | None = None,
        is_folded: bool = False,
        is_claimable: bool = False,
    ) -> OpenObservation | None:
        """
        Begin the observation of the run *key*.

        Args:
            key: The framework's id of the run.
            kind: Its type.
            name: Its name.
            parent: The id of the run it is part of; where that is unknown, what is current here is the
                parent, and where nothing is, a trace is opened, named *name*.
            input: The value to capture.
            metadata: Put on the observation.
            fields: Top-level fields of the record, such as ``model``.
            trace: What a new trace is opened with: session_id, user_id, tags, metadata.
            is_folded: Make no observation; what is below nests under the nearest one that is recorded.
            is_claimable: A `tool`-decorated function, or a TOOL pushed by hand, inside this run is this
                very call, and its name, input, output and exception are the record's.

        Returns:
            The observation, or None where it is folded or nothing is recorded.
        """
        try:
            with self._lock:
                above = self._entries.get(parent) if parent is not None else None
                entry = Entry(key, above, None, is_folded)
                self._entries[key] = entry
                if above is not None:
                    above.below[key] = entry
            if is_folded:
                entry.observation = above.observation if above is not None else current()
                return None
            entry.observation = observation = self._begin(above, kind, name, input, dict(trace or {}))
            if observation is None or isinstance(observation, Muted):
                return None
            if is_claimable:
                observation.claimable = Claimable(frozenset({name}))
            if metadata:
                observation.metadata = dict(metadata)
            if fields:
                observation.note(**fields)
            return observation
        except Exception as exc:
            self.client.broke("beginning it", exc)
            return None

    def _begin(
        self, above: Entry | None, kind: ObservationType, name: str, given: object, trace_options: dict[str, Any]
    ) -> OpenObservation | None:
        here = above.observation if above is not None else self._here()
        if here is None and above is not None and not above.is_folded:
            return None
        trace: OpenTrace | None
        parent: OpenObservation | None
        if here is None or (above is None and here.trace.is_closed):
            trace, parent = self.client.open_trace(name, outer=here, **trace_options), None
        else:
            trace, parent = here.trace, here
        if trace is None or isinstance(parent, Muted):
            return None
        if not trace.is_recording:
            return Muted(trace, Spec(self.client, kind, name)) if parent is None else None
        captures = trace.recorder.captures_input
        return OpenObservation(trace, parent, label_of(kind, name), given if captures else NOTHING)

    def _here(self) -> OpenObservation | None:
        return current() if self.client.is_default else self.client.innermost(current())

    def get(self, key: Hashable) -> OpenObservation | None:
        """Return the observation of the run *key*, or the nearest recorded one above it; None where there is none."""
        entry = self._entries.get(key)
        return entry.observation if entry is not None else None

    def saw(self, key: Hashable, item: object) -> None:
        """Note an item that the run *key* streamed."""
        entry = self._entries.get(key)
        if entry is None or entry.is_folded or entry.observation is None or isinstance(entry.observation, Muted):
            return
        observation = entry.observation
        recorder = observation.trace.recorder
        try:
            if entry.notes is None:
                entry.notes = StreamNotes(observation)
            if recorder.captures_output:
                entry.notes.saw(item, recorder.tick() - observation.started)
        except Exception as exc:
            recorder.broke("noting an item", exc)

    def finish(
        self,
        key: Hashable,
        *,
        output: object = NOTHING,
        error: BaseException | str | None = None,
        status: Status | None = None,
        metadata: Mapping[str, Any] | None = None,
        fields: Mapping[str, Any] | None = None,
    ) -> None:
        """
        End the run *key*, and first what is still open below it.

        Args:
            key: The framework's id of the run.
            output: What came of it; what it streamed, where nothing is given.
            error: The exception that ended it, which also decides the status, or a text.
            status: How it ended, where that is known better than by *error*.
            metadata: Added to the observation's.
            fields: Added to the record's top-level fields.
        """
        with self._lock:
            entry = self._entries.pop(key, None)
            if entry is None:
                return
            if entry.parent is not None:
                entry.parent.below.pop(key, None)
        ending = status or (status_of(error) if isinstance(error, BaseException) else Status.SUCCESS)
        for left_open in list(entry.below):
            self.finish(left_open, status=Status.ABANDONED if ending is Status.SUCCESS else _for_children(ending))
        observation = entry.observation
        if entry.is_folded or observation is None:
            return
        try:
            self._end(entry, observation, output, error, status, metadata, fields)
        except Exception as exc:
            observation.trace.recorder.broke("ending it", exc)

    def _end(
        self,
        entry: Entry,
        observation: OpenObservation,
        output: object,
        error: BaseException | str | None,
        status: Status | None,
        metadata: Mapping[str, Any] | None,
        fields: Mapping[str, Any] | None,
    ) -> None:
        if metadata:
            observation.describe(**metadata)
        if fields:
            observation.note(**fields)
        if entry.notes is not None:
            streamed = entry.notes.output("exhausted" if error is None and status is None else "closed", None)
            if entry.notes.offsets_ms and observation.label.startswith('"type":"GENERATION"'):
                observation.note(time_to_first_token_ms=entry.notes.offsets_ms[0])
            output = streamed if output is NOTHING else output
        if not observation.trace.recorder.captures_output:
            output = NOTHING
        if isinstance(error, BaseException):
            ending = status or status_of(error)
            if ending is Status.ERROR:
                observation.describe(**error_details(error))
                observation.end(ending, output, message_of(error))
            else:
                observation.end(ending, output)
        elif error is not None:
            observation.end(status or Status.ERROR, output, error)
        else:
            observation.end(status or Status.SUCCESS, output)

    def close_all(self, status: Status = Status.ABANDONED) -> None:
        """End every run that is still open, innermost first."""
        for key in reversed(list(self._entries)):
            self.finish(key, status=status)


def _for_children(ending: Status) -> Status:
    """Return how what was open below something ends, where only that something's own ending was told."""
    return Status.CANCELLED if ending is Status.ERROR else ending


def deeper(here: OpenObservation | None, there: OpenObservation | None) -> OpenObservation | None:
    """
    Return which of two current observations is the inner one, for a locator.

    *here* is what the context variable says, *there* the framework's step that runs. Where *here* began
    inside *there* it stays current; else the step does.
    """
    if there is None:
        return here
    above = here
    while above is not None:
        if above is there or above.id == there.id:
            return here
        above = above.parent if above.parent is not None else above.trace.outer
    return there


def name_session(trace: OpenTrace, session_id: str | None) -> None:
    """Let *trace* belong to the framework's conversation *session_id*, unless the program named its session."""
    if session_id is not None and trace.session_id == (trace.recorder.session_id or process_session_id()):
        trace.adopt(session_id=session_id)


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


def happened(
    under: OpenObservation, name: str, *, output: object = NOTHING, level: ObservationLevel = ObservationLevel.INFO
) -> None:
    """Record a point in time under *under*, as EVENT; never raises."""
    recorder = under.trace.recorder
    try:
        event = OpenObservation(under.trace, under, label_of(ObservationType.EVENT, name))
        event.level = level.name
        event.happened(output if recorder.captures_output else NOTHING)
    except Exception as exc:
        recorder.broke("noting an event", exc)


recording_here = default.recording_here
"""Returns what is current here, where something that begins now would be recorded under it."""
