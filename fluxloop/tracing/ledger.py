"""
Open observations by key, for frameworks that report events.

The events of a framework identify a run, and its parent, by an id. A `Ledger` keeps the observations of open runs under
these ids. It does not use the context variable, because an event may come from any thread, late, or never: a run that
is still open when its parent ends is ended with it.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import TYPE_CHECKING, Any

from ..enums import ObservationType, Status
from ..interruptions import was_raised_from_outside
from .events import record_event
from .executions import UnsampledCall
from .node import Node
from .observation import OpenObservation, label_known
from .outcomes import status_of
from .propagation import Locator, _current, _locators, current, innermost
from .recorder import NOTHING
from .spec import Spec
from .trace import OpenTrace, name_session

if TYPE_CHECKING:
    from ..encoding.encoder import Reader
    from .tracer import Tracer


class Entry:
    """An open run of the framework."""

    __slots__ = ("children", "is_folded", "is_recorded", "key", "observation", "parent", "run", "stream_items")

    key: Hashable
    parent: Entry | None
    observation: Any
    """Its observation; for a folded run, that of the nearest recorded run around it; None if not recorded."""
    is_folded: bool
    is_recorded: bool
    """Whether the run has an observation of its own."""
    children: dict[Entry, None] | None
    """The open runs inside it, in the order of their start."""
    stream_items: Any
    """The observer of its stream; an adapter may set its own."""
    run: Any
    """What the adapter itself keeps of the run."""


class Ledger:
    """
    The open observations of one adapter, by the run ids of the framework.

    Every method ignores an unknown key, and never raises into the framework. An ended run is removed, so the size of a
    ledger is the number of open runs. Events may come from many threads at once: each step is one operation on a dict,
    so no lock is needed.

    Args:
        tracer: The client that records.
        locate: The adapter's own locator, if it has one. For a run with a known parent, only the other locators are
            asked.
    """

    def __init__(self, tracer: Tracer, locate: Locator | None = None) -> None:
        self.tracer = tracer
        self._locate = locate
        self._own_locators = 0 if locate is None else 1
        self.entries: dict[Hashable, Entry] = {}
        """The open runs. Adapters read it, and only the ledger changes it."""

    def __len__(self) -> int:
        return len(self.entries)

    def __contains__(self, key: Hashable) -> bool:
        return key in self.entries

    def start(
        self,
        key: Hashable,
        kind: ObservationType,
        name: str,
        *,
        parent: Hashable | None = None,
        input: object = NOTHING,
        read: Reader | None = None,
        trace: Mapping[str, Any] | None = None,
        run: Any = None,
    ) -> OpenObservation | None:
        """
        Start the observation of the run *key*, unless the run is open already.

        The parent is the run *parent*, or what user code or another framework has made current inside it. Without
        *parent*, it is the current observation, and if there is none, a trace named *name* is opened. Further data of
        the observation is set on the returned object.

        Args:
            key: The framework's id of the run.
            kind: The type of the observation.
            name: The name of the observation.
            parent: The id, or the entry, of the parent run; None if it is unknown.
            input: The value to capture.
            read: Converts the input, and later the output, to the value to record if it is not plain JSON data.
            trace: The options of a new trace: session_id, user_id, tags, metadata. The session is also set on an open
                trace without one.
            run: See `Entry.run`.

        Returns:
            The observation; None if the run is not recorded.
        """
        try:
            entry, here = self._enter(key, parent, run, False)
            if entry is None:
                return None
            if here is None or entry.parent is None:
                here, its_trace = self._outermost(entry.parent, here, kind, name, trace or {})
            else:
                its_trace = here.trace
            if its_trace is None or type(here) is UnsampledCall or not its_trace.is_sampled:
                entry.observation = here if type(here) is UnsampledCall else None
                return None
            recorder = its_trace.recorder
            if not recorder.switch.on:
                return None
            observation = OpenObservation()
            given = input if recorder.captures_input else NOTHING
            observation.start(its_trace, here, label_known(kind, name), given, read)
            entry.observation, entry.is_recorded = observation, True
            if key not in self.entries:  # another thread has just ended its parent
                self.entries[key] = entry
            return observation
        except Exception as exc:
            if was_raised_from_outside(exc):
                raise
            self.tracer.record_failure("beginning it", exc)
            return None

    def start_folded(self, key: Hashable, *, parent: Hashable | None = None, run: Any = None) -> None:
        """Add the run *key* without an observation: runs inside it are nested under the nearest recorded run."""
        try:
            entry, here = self._enter(key, parent, run, True)
            if entry is not None:
                entry.observation = here
        except Exception as exc:
            if was_raised_from_outside(exc):
                raise
            self.tracer.record_failure("beginning it", exc)

    def _enter(
        self, key: Hashable, parent: Hashable | None, run: Any, is_folded: bool
    ) -> tuple[Entry | None, Node | None]:
        """Add a run, and return its entry and the node that it is under; no entry if the run is open already."""
        enclosing = parent if type(parent) is Entry or parent is None else self.entries.get(parent)
        entry = Entry()  # without a method `__init__`, which would take half as long again
        entry.key, entry.parent, entry.run, entry.is_folded = key, enclosing, run, is_folded
        entry.observation = entry.children = entry.stream_items = None
        entry.is_recorded = False
        if self.entries.setdefault(key, entry) is not entry:
            return None, None
        if enclosing is None:
            return entry, self._here()
        children = enclosing.children
        if children is None:
            children = enclosing.children = {}
        children[entry] = None
        if len(_locators) == self._own_locators and _current.get() is None:
            return entry, enclosing.observation
        return entry, self._inside(enclosing.observation)

    def _outermost(
        self,
        enclosing: Entry | None,
        here: Node | None,
        kind: ObservationType,
        name: str,
        options: Mapping[str, Any],
    ) -> tuple[Node | None, OpenTrace | None]:
        """Return the parent and the trace of a run that is not inside a recorded run; no trace if not recorded."""
        if here is not None and not (enclosing is None and here.trace.is_closed):
            if enclosing is None:
                name_session(here.trace, options.get("session_id"))
            return here, here.trace
        if enclosing is not None and not enclosing.is_folded:
            return None, None
        trace = self.tracer.open_trace(name, outer=here, **options)
        if trace is not None and not trace.is_recording:
            return UnsampledCall(trace, Spec(self.tracer, kind, name)), trace
        return None, trace

    def _here(self) -> Node | None:
        return self.tracer.current_node()

    def _inside(self, step: Node | None) -> Node | None:
        """Return what user code or another framework has made current inside *step*, or else *step*."""
        if step is None:
            return None
        inner = innermost(current(but=self._locate), step)
        return inner if self.tracer.is_default else self.tracer.own_innermost(inner)

    def fold(self, entry: Entry) -> None:
        """Discard the observation of a run that has just started, as if it had been folded from the start."""
        observation = entry.observation
        if observation is not None and observation.parent is not None and entry.is_recorded:
            entry.is_folded, entry.is_recorded, entry.observation = True, False, observation.parent
            observation.discard()

    def get(self, key: Hashable) -> OpenObservation | None:
        """Return the observation of the run *key*, or of the nearest recorded run around it; None without one."""
        entry = self.entries.get(key)
        return entry.observation if entry is not None else None

    def rename(self, key: Hashable, kind: ObservationType, name: str) -> None:
        """Change the type and the name of the open run *key*, for frameworks that report them later."""
        entry = key if type(key) is Entry else self.entries.get(key)
        if entry is not None and entry.is_recorded and entry.observation is not None:
            entry.observation.take_over(label_known(kind, name), NOTHING)

    def event(
        self,
        name: str,
        *,
        parent: Hashable | None = None,
        input: object = NOTHING,
        metadata: Mapping[str, Any] | None = None,
    ) -> None:
        """Record a point in time in the run *parent*, if the run is recorded."""
        entry = self.entries.get(parent)
        here = self._inside(entry.observation) if entry is not None else self._here()
        if here is not None:
            record_event(here, name, input=input, metadata=metadata)

    def on_item(self, key: Hashable, item: object) -> None:
        """Record an item that the run *key* streamed."""
        entry = self.entries.get(key)
        if entry is None or not entry.is_recorded or entry.observation is None:
            return
        observation = entry.observation
        recorder = observation.trace.recorder
        try:
            if entry.stream_items is None:
                entry.stream_items = recorder.stream_items(observation)
            if recorder.captures_output:
                entry.stream_items.on_item(item, recorder.tick() - observation.started)
        except Exception as exc:
            if was_raised_from_outside(exc):
                raise
            recorder.record_failure("noting an item", exc)

    def finish(
        self,
        key: Hashable,
        *,
        output: object = NOTHING,
        error: BaseException | str | None = None,
        status: Status | None = None,
        input: object = NOTHING,
        metadata: Mapping[str, Any] | None = None,
        fields: Mapping[str, Any] | None = None,
    ) -> None:
        """
        End the run *key*, after the runs inside it that are still open.

        Args:
            key: The framework's id of the run, or its entry.
            output: The output; the items of its stream by default.
            error: The exception that ended it, or a text. An exception decides the status.
            status: The status, if it is not the one that follows from *error*.
            input: The value to capture as its input, if it was not known at the start.
            metadata: Added to the metadata of the observation.
            fields: Top-level fields of the record; they take precedence over those read from its stream.
        """
        entry = key if type(key) is Entry else self.entries.get(key)
        if entry is None:
            return
        try:
            if error is not None and _is_cancellation(error) and entry.key in self.entries:
                self.on_forced_end(entry)
            if self.entries.pop(entry.key, None) is None:
                return
            if (enclosing := entry.parent) is not None and enclosing.children is not None:
                enclosing.children.pop(entry, None)
            if entry.children:
                ending = status or (status_of(error) if isinstance(error, BaseException) else Status.SUCCESS)
                for left_open in list(entry.children):
                    self.on_forced_end(left_open)
                    self.finish(left_open, status=_BELOW.get(ending, ending))
            observation = entry.observation
            if not entry.is_recorded or observation is None:
                return
            recorder = observation.trace.recorder
            if input is not NOTHING and recorder.captures_input:
                observation.deferred_input = input
            if metadata:
                known = observation.metadata
                observation.metadata = {**known, **metadata} if known else dict(metadata)
            if entry.stream_items is not None:
                output = _streamed(entry.stream_items, observation, output, error is None and status is None)
            if fields:
                observation.set_fields(**fields)
            _end(observation, error, status, output)
        except BaseException as exc:
            if not was_raised_from_outside(exc):
                self.tracer.record_failure("ending it", exc)
                return
            self.entries.pop(entry.key, None)
            if entry.is_recorded and entry.observation is not None:
                _end(entry.observation, error, status, output)
            raise

    def on_forced_end(self, entry: Entry) -> None:
        """Called with a run that is ended from outside and may still be running. Adapters override it."""

    def close_all(self, status: Status = Status.ABANDONED) -> None:
        """End every open run, innermost first."""
        for key in reversed(list(self.entries)):
            self.finish(key, status=status)


_BELOW = {Status.SUCCESS: Status.ABANDONED, Status.ERROR: Status.CANCELLED}
"""The status of open runs inside a run that ends with success or an error; another status is shared."""


def _is_cancellation(error: BaseException | str) -> bool:
    return isinstance(error, BaseException) and status_of(error) is Status.CANCELLED


def _end(observation: Any, error: BaseException | str | None, status: Status | None, output: object) -> None:
    if not observation.trace.recorder.captures_output:
        output = NOTHING
    if error is None:
        observation.end(status or _SUCCESS, output)
    elif isinstance(error, BaseException):
        observation.fail(error, output, status)
    else:
        observation.end(status or Status.ERROR, output, error)


_SUCCESS = Status.SUCCESS
"""A global is read faster than a member of an enumeration."""


def _streamed(stream_items: Any, observation: OpenObservation, output: object, is_exhausted: bool) -> object:
    streamed = stream_items.output("exhausted" if is_exhausted else "closed", None)
    if stream_items.offsets_ms and observation.label.startswith('"type":"GENERATION"'):
        observation.set_fields(time_to_first_token_ms=stream_items.offsets_ms[0])
    return streamed if output is NOTHING else output
