"""
Observations opened and closed by key, for frameworks that report events.

An adapter's events name a run and its parent by an id of the framework's. A `Ledger` keeps what is open
under those ids and never touches the context variable, since events may come from any thread, late, or
not at all: what is left open under an observation ends with it.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import TYPE_CHECKING, Any

from ..enums import ObservationType, Status
from ..interruptions import was_raised_from_outside
from .calls import Spec, UnsampledCall
from .node import Node
from .observation import OpenObservation, label_known, record_event
from .outcomes import status_of
from .propagation import Locator, _current, _locators, current, innermost
from .recorder import NOTHING
from .trace import OpenTrace, name_session

if TYPE_CHECKING:
    from ..encoding.encoder import Reader
    from .tool_matching import ToolMatcher
    from .tracer import Tracer


class Entry:
    """What the ledger keeps of one run of the framework's."""

    __slots__ = ("about", "below", "is_folded", "is_recorded", "key", "observation", "parent", "stream_items")

    def __init__(self, key: Hashable, parent: Entry | None, is_folded: bool, about: Any):
        self.key = key
        self.parent = parent
        self.observation: Any = None
        """Its own, or the nearest recorded one above where it is folded; None where nothing is recorded."""
        self.is_folded = is_folded
        self.is_recorded = False
        """Whether it has an observation of its own."""
        self.below: dict[Entry, None] | None = None
        """What is open below it, in the order it began."""
        self.stream_items: Any = None
        """The observer of what it streams; an adapter may put an observer of its own here."""
        self.about = about
        """Whatever the adapter wants to know of it again when runs below it begin."""


class Ledger:
    """
    The open observations of one adapter, by the framework's own ids.

    Every method is harmless for a key it does not know, and none raises into the framework. What has
    ended is forgotten, so a ledger's size is that of what runs right now. Events may come from many threads
    at once: each step here is one operation on a dict, hence no lock.

    Args:
        tracer: The tracer of the client that records.
        locate: The adapter's own locator, if it has one: where the parent is given, only the others are asked.
    """

    def __init__(self, tracer: Tracer, locate: Locator | None = None) -> None:
        self.tracer = tracer
        self._locate = locate
        self._own_locators = 0 if locate is None else 1
        self.entries: dict[Hashable, Entry] = {}
        """The runs that are open; to be read by the adapter, and changed by the ledger alone."""

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
        metadata: dict[str, Any] | None = None,
        fields: Mapping[str, Any] | None = None,
        trace: Mapping[str, Any] | None = None,
        is_folded: bool = False,
        tool_matcher: ToolMatcher | None = None,
        about: Any = None,
        started: int | None = None,
    ) -> OpenObservation | None:
        """
        Begin the observation of the run *key*, unless that is open already.

        Args:
            key: The framework's id of the run.
            kind: Its type.
            name: Its name.
            parent: The id, or the entry, of the run it is part of; where that is unknown, what is current here
                is the parent, and where nothing is, a trace is opened, named *name*. What user code or another
                framework inside the parent has made current comes between the two.
            input: The value to capture.
            read: Is given the input, and later the output, where that is not JSON as it is, and returns what is
                to be recorded of it.
            metadata: Put on the observation, whose it is from now on.
            fields: Top-level fields of the record, such as ``model``.
            trace: What a new trace is opened with: session_id, user_id, tags, metadata. One that is open
                already takes over the session, unless it was given one.
            is_folded: Make no observation; what is below nests under the nearest one that is recorded.
            tool_matcher: Recognises the `tool`-decorated function, or the TOOL pushed by hand, that is this very
                call: its name, input, output and exception are the record's.
            about: See `Entry.about`.
            started: When it began, by the recorder's `tick`, where that was not just now.

        Returns:
            The observation, or None where it is folded or nothing is recorded.
        """
        try:
            above = parent if parent is None or type(parent) is Entry else self.entries.get(parent)
            entry = Entry(key, above, is_folded, about)
            if self.entries.setdefault(key, entry) is not entry:
                return None
            if above is None:
                here = self._here()
            else:
                if above.below is None:
                    above.below = {}
                above.below[entry] = None
                is_alone = len(_locators) == self._own_locators and _current.get() is None
                here = above.observation if is_alone else self._inside(above.observation)
            if is_folded:
                entry.observation = here
                return None
            if above is None or here is None:
                here, its_trace = self._outermost(above, here, kind, name, trace or {})
            else:
                its_trace = here.trace
            if (
                its_trace is None
                or type(here) is UnsampledCall
                or not (its_trace.is_sampled and its_trace.recorder.switch.on)
            ):
                entry.observation = here if type(here) is UnsampledCall else None
                return None
            given = input if its_trace.recorder.captures_input else NOTHING
            observation = OpenObservation(its_trace, here, label_known(kind, name), given, read=read)
            entry.observation, entry.is_recorded = observation, True
            if key not in self.entries:  # another thread has just ended what is above it
                self.entries[key] = entry
            if started is not None:
                observation.backdate(started)
            observation.tool_matcher = tool_matcher
            if metadata:
                observation.metadata = metadata
            if fields:
                observation.set_fields(**fields)
            return observation
        except Exception as exc:
            if was_raised_from_outside(exc):
                raise
            self.tracer.record_failure("beginning it", exc)
            return None

    def _outermost(
        self,
        above: Entry | None,
        here: Node | None,
        kind: ObservationType,
        name: str,
        options: Mapping[str, Any],
    ) -> tuple[Node | None, OpenTrace | None]:
        """Return parent and trace of a run with no recorded run around it; no trace where nothing is recorded."""
        if here is not None and not (above is None and here.trace.is_closed):
            if above is None:
                name_session(here.trace, options.get("session_id"))
            return here, here.trace
        if above is not None and not above.is_folded:
            return None, None
        trace = self.tracer.open_trace(name, outer=here, **options)
        if trace is not None and not trace.is_recording:
            return UnsampledCall(trace, Spec(self.tracer, kind, name)), trace
        return None, trace

    def _here(self) -> Node | None:
        return self.tracer.current_node()

    def _inside(self, step: Node | None) -> Node | None:
        """Return what user code or another framework that runs inside *step* has made current, or else *step*."""
        if step is None:
            return None
        inner = innermost(current(but=self._locate), step)
        return inner if self.tracer.is_default else self.tracer.own_innermost(inner)

    def fold(self, entry: Entry) -> None:
        """Discard the observation of a run that has only just begun, as if it had been folded from the start."""
        observation = entry.observation
        if observation is not None and observation.parent is not None and entry.is_recorded:
            entry.is_folded, entry.is_recorded, entry.observation = True, False, observation.parent
            observation.discard()

    def get(self, key: Hashable) -> OpenObservation | None:
        """Return the observation of the run *key*, or the nearest recorded one above it; None where there is none."""
        entry = self.entries.get(key)
        return entry.observation if entry is not None else None

    def rename(self, key: Hashable, kind: ObservationType, name: str) -> None:
        """Record the open run *key* as *kind* and *name*, where that shows only when it is under way."""
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
        """Record a point in time in the run *parent*; where that is not recorded nothing happens."""
        entry = self.entries.get(parent)
        here = self._inside(entry.observation) if entry is not None else self._here()
        if here is not None:
            record_event(here, name, input=input, metadata=metadata)

    def on_item(self, key: Hashable, item: object) -> None:
        """Note an item that the run *key* streamed."""
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
        End the run *key*, and first what is still open below it.

        Args:
            key: The framework's id of the run, or its entry.
            output: What came of it; what it streamed, where nothing is given.
            error: The exception that ended it, which also decides the status, or a text.
            status: How it ended, where that is known better than by *error*.
            input: The value to capture as its input, where it was not known at the start.
            metadata: Added to the observation's.
            fields: Added to the record's top-level fields; they win over what was read from its stream.
        """
        entry = key if type(key) is Entry else self.entries.get(key)
        if entry is None:
            return
        try:
            if isinstance(error, BaseException) and status_of(error) is Status.CANCELLED and entry.key in self.entries:
                self.on_forced_end(entry)
            if self.entries.pop(entry.key, None) is None:
                return
            if (above := entry.parent) is not None and above.below is not None:
                above.below.pop(entry, None)
            if entry.below:
                ending = status or (status_of(error) if isinstance(error, BaseException) else Status.SUCCESS)
                for left_open in list(entry.below):
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
        """Called with a run that is ended from outside and may still be running; for adapters to override."""

    def close_all(self, status: Status = Status.ABANDONED) -> None:
        """End every run that is still open, innermost first."""
        for key in reversed(list(self.entries)):
            self.finish(key, status=status)


_BELOW = {Status.SUCCESS: Status.ABANDONED, Status.ERROR: Status.CANCELLED}
"""The status of runs left open below a run that ends with success or an error; other statuses are shared."""


def _end(observation: Any, error: BaseException | str | None, status: Status | None, output: object) -> None:
    if not observation.trace.recorder.captures_output:
        output = NOTHING
    if isinstance(error, BaseException):
        observation.fail(error, output, status)
    else:
        observation.end(status or (Status.SUCCESS if error is None else Status.ERROR), output, error)


def _streamed(stream_items: Any, observation: OpenObservation, output: object, is_exhausted: bool) -> object:
    streamed = stream_items.output("exhausted" if is_exhausted else "closed", None)
    if stream_items.offsets_ms and observation.label.startswith('"type":"GENERATION"'):
        observation.set_fields(time_to_first_token_ms=stream_items.offsets_ms[0])
    return streamed if output is NOTHING else output
