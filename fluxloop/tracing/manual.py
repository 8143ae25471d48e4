"""
Observations built by hand: pushed and popped, as in Pattern A of the guide.

The user holds an `ObservationData` and may change anything on it until it is popped, so its record is written from
that object; the input is the snapshot taken when it was pushed.
"""

from __future__ import annotations

import sys
from types import CodeType
from typing import TYPE_CHECKING

from ..encoding.record_text import datetime_of, label_of, quoted
from ..enums import ObservationType, Status
from ..interruptions import was_raised_from_outside
from ..report import warn_user
from .manual_values import Values, read_values
from .node import Node
from .observation import OpenObservation
from .outcomes import outcome_of
from .propagation import _current as current_variable
from .propagation import current, set_current, strand_id
from .recorder import NOTHING, Recorder

if TYPE_CHECKING:
    from ..models import ObservationData
    from .tool_matching import ToolMatcher
    from .trace import OpenTrace


class ManualNode(Node):
    """A node that was pushed; its end is read from the user's object."""

    __slots__ = ()

    data: ObservationData
    given: object
    """The input that was pushed; another object on the data later is captured at the end."""
    pushed_by: tuple[int, CodeType]
    already_handled: BaseException | None
    """The exception that was being handled when it was pushed, which is not its outcome."""

    @property
    def is_past_event(self) -> bool:
        """Whether it is an EVENT, which ended when it was pushed; a pop that follows still belongs to it."""
        return self.closed and self.data.type is ObservationType.EVENT

    def fail_by_hand(self, exc: BaseException) -> None:
        """End it with the outcome of *exc*; what the user set on the object comes first."""
        outcome = outcome_of(exc)
        details = {**outcome.details, **self.data.metadata} if isinstance(self.data.metadata, dict) else outcome.details
        self.data.metadata = details
        self.end(outcome.status, NOTHING, outcome.error)

    def _settle(self, status: Status, output: object, error: str | None) -> Values:
        """Return what the user set on the object, completed by how the block ended, and set that on the object."""
        data, values = self.data, read_values(self.data)
        if values.error is None:
            values.error = error
        if output is not NOTHING and data.output is None:
            data.output = output
        if values.status is None:
            values.status = Status.ERROR if values.error is not None and status is Status.SUCCESS else status
        data.status, data.error, data.metadata = values.status, values.error, values.metadata
        if values.status is Status.ERROR and values.level is None:
            values.level = data.level = "ERROR"  # type: ignore[assignment]  # the enumeration reads it
        self.trace.by_hand.pop(self.id, None)
        for warning in values.warnings:
            warn_user(warning)
        return values


class ManualObservation(ManualNode, OpenObservation):
    """An open observation whose record is written from the `ObservationData` a user holds."""

    __slots__ = ("already_handled", "backdated_ns", "data", "end_ns", "given", "pushed_by")

    def __init__(self, trace: OpenTrace, parent: Node | None, data: ObservationData) -> None:
        self.data, self.given = data, data.input
        self.end_ns: int | None = None
        values = read_values(data)
        start_ns = values.start_ns if "start_time" in data.model_fields_set else None
        given = NOTHING
        if data.input is not None and trace.recorder.captures_input:
            given = data.input
        super().__init__(
            trace,
            parent,
            label_of(values.type, values.name),
            given,
            own_id=quoted(trace.recorder.id_of(data.id))[1:-1],
            start_ns=start_ns,
        )
        pushed_ns = trace.start_ns + self.started - trace.start_tick
        self.backdated_ns = max(pushed_ns - self.start_ns, 0)
        if start_ns is None:
            data.start_time = datetime_of(self.start_ns)
        data.trace_id = trace.id
        data.parent_id = parent.id if parent is not None else None

    def end(self, status: Status = Status.SUCCESS, output: object = NOTHING, error: str | None = None) -> None:
        """As `OpenObservation.end`; a status or an error set on the object itself comes first."""
        if self.closed:
            return
        recorder = self.trace.recorder
        try:
            values = self._settle(status, output, error)
            self._read(values, recorder)
        except Exception as exc:
            if was_raised_from_outside(exc):
                raise
            recorder.record_failure("reading what was set on it", exc)
            super().end(status, output, error)
            return
        captured = self.data.output if self.data.output is not None and recorder.captures_output else NOTHING
        super().end(values.status or status, captured, values.error)

    def _read(self, values: Values, recorder: Recorder) -> None:
        """Take the *values* of the user's object over into the record."""
        data = self.data
        if "start_time" in data.model_fields_set and values.start_ns is not None:
            self.start_ns = values.start_ns
        self.end_ns = values.end_ns
        self.head = self._head(label_of(values.type, values.name))
        if data.input is not self.given and recorder.captures_input:
            self.set_input(data.input)
        self.level = values.level
        self.metadata = values.metadata or None
        self.fields = {**values.fields, **(self.fields or {})} or None

    def _write(self, recorder: Recorder, end_ns: int, status: Status, output: object, error: str | None) -> None:
        data = self.data
        if self.end_ns is not None:
            end_ns = self.end_ns
        else:
            end_ns = self.start_ns if data.type is ObservationType.EVENT else end_ns + self.backdated_ns
            data.end_time = datetime_of(end_ns)
        data.duration_ms = (end_ns - self.start_ns) / 1_000_000
        super()._write(recorder, end_ns, status, output, error)


class MatchedManualObservation(ManualNode):
    """An observation pushed inside the call of a tool for which a framework began one: the two share that."""

    __slots__ = ("already_handled", "data", "given", "outer", "pushed_by")

    def __init__(self, outer: OpenObservation, data: ObservationData) -> None:
        Node.__init__(self, outer.trace, outer.parent, outer.id)
        self.data, self.given, self.outer = data, data.input, outer
        data.id, data.trace_id = outer.id, outer.trace.id
        data.parent_id = outer.parent.id if outer.parent is not None else None
        outer.take_over(label_of(data.type, data.name), data.input if data.input is not None else NOTHING)

    def end(self, status: Status = Status.SUCCESS, output: object = NOTHING, error: str | None = None) -> None:
        """Keep how it went for the framework's observation, which the framework ends."""
        if self.closed:
            return
        self.closed = True
        data, outer = self.data, self.outer
        values = self._settle(status, output, error)
        if data.end_time is None:
            recorder = outer.trace.recorder
            data.end_time = datetime_of(outer.start_ns + recorder.tick() - outer.started)
        if data.input is not self.given:
            outer.take_over(None, data.input)
        outer.claimed_result = (
            values.status or status,
            data.output if data.output is not None else NOTHING,
            values.error,
        )
        outer.add_metadata(**values.metadata)
        outer.set_fields(**values.fields)


def push(trace: OpenTrace, data: ObservationData) -> ManualNode | None:
    """Begin *data* under what is current here, and make it current; None where nothing is recorded."""
    if not trace.is_recording:
        return None
    here = current()
    try:
        parent = here if here is not None and here.trace is trace else trace.root
        node: ManualNode
        if isinstance(parent, OpenObservation) and parent.tool_matcher and _is_same_call(parent.tool_matcher, data):
            node = MatchedManualObservation(parent, data)
        else:
            node = ManualObservation(trace, parent, data)
        node.previous = current_variable.get()
        node.owner = strand_id()
        node.already_handled = sys.exc_info()[1]
        node.pushed_by = _caller()
    except Exception as exc:
        if was_raised_from_outside(exc):
            raise
        trace.recorder.record_failure("beginning it", exc)
        return None
    trace.by_hand[node.id] = node
    set_current(node)
    if data.type is ObservationType.EVENT:
        node.end()
    return node


def _is_same_call(matcher: ToolMatcher, data: ObservationData) -> bool:
    return data.type is ObservationType.TOOL and matcher.matches((data.name,))


def pop(trace: OpenTrace) -> ObservationData | None:
    """End the observation pushed last from here, see `FluxLoopContext.pop_observation`."""
    node = _pushed_here(trace)
    if node is None:
        return None
    raised = sys.exc_info()[1]
    leave(node, raised if raised is not node.already_handled else None)
    return node.data


def leave(node: ManualNode, raised: BaseException | None = None) -> None:
    """End *node*, with the outcome of *raised* where something was, and restore what was current before it."""
    if current_variable.get() is node:
        set_current(node.previous)
    if raised is None:
        node.end()
    else:
        node.fail_by_hand(raised)


def _pushed_here(trace: OpenTrace) -> ManualNode | None:
    """
    Return the open observation that the calling code means when it pops.

    Usually the innermost one of this context. A function that is resumed elsewhere (a generator, an
    async generator driven by another task) finds the one its own frame pushed; and one whose context
    is gone, the latest that was pushed under what is current here.
    """
    caller = _caller()
    here = current_variable.get()
    if isinstance(here, ManualNode) and here.is_past_event and here.pushed_by == caller:
        return here
    while here is not None and here.closed:
        here = here.previous
    innermost = here if isinstance(here, ManualNode) and here.trace is trace else None
    if innermost is not None and innermost.pushed_by == caller:
        return innermost
    open_ones = [node for node in list(trace.by_hand.values())[::-1] if isinstance(node, ManualNode)]
    own = next((node for node in open_ones if node.pushed_by == caller), None)
    return own or innermost or next((node for node in open_ones if node.parent is here), None)


def _caller() -> tuple[int, CodeType]:
    """Return what identifies the frame that called into fluxloop."""
    frame = sys._getframe(2)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith("fluxloop."):
        frame = frame.f_back
    return id(frame), frame.f_code
