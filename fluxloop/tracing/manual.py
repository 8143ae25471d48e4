"""
Manual instrumentation: push and pop an `ObservationData`.

The user can change the object until it is popped, so the record is written from its values at that time. The input is
the snapshot taken when it was pushed.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
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


on_manual_end: list[Callable[[ObservationData], None]] = []
"""Called with each observation that ends; usually empty, for replay."""


class ManualNode(Node):
    """The node of a pushed `ObservationData`; its final values are read from that object."""

    __slots__ = ()

    data: ObservationData
    pushed_input: object
    """The input when it was pushed. If the user replaces it, the new input is captured at the end."""
    pushing_frame: tuple[int, CodeType]
    handled_at_push: BaseException | None
    """The exception that the program was handling at the push; it is not an outcome of this observation."""

    @property
    def is_ended_event(self) -> bool:
        """Whether it is an EVENT, which ends at the push. The next pop returns it."""
        return self.closed and self.data.type is ObservationType.EVENT

    def fail_manually(self, exc: BaseException) -> None:
        """End it with the outcome of *exc*. Values that the user set take precedence."""
        outcome = outcome_of(exc)
        details = {**outcome.details, **self.data.metadata} if isinstance(self.data.metadata, dict) else outcome.details
        self.data.metadata = details
        self.end(outcome.status, NOTHING, outcome.error)

    def _resolve_values(self, status: Status, output: object, error: str | None) -> Values:
        """Return the user's values, completed with the outcome of the block, and set them on the user's object."""
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
        self.trace.pushed.pop(self.id, None)
        for warning in values.warnings:
            warn_user(warning)
        return values


class ManualObservation(ManualNode, OpenObservation):
    """An open observation whose record is written from the user's `ObservationData`."""

    __slots__ = ("backdated_ns", "data", "end_ns", "handled_at_push", "pushed_input", "pushing_frame")

    def __init__(self, trace: OpenTrace, parent: Node | None, data: ObservationData) -> None:
        self.data, self.pushed_input = data, data.input
        self.end_ns: int | None = None
        values = read_values(data)
        start_ns = values.start_ns if "start_time" in data.model_fields_set else None
        captured_input = NOTHING
        if data.input is not None and trace.recorder.captures_input:
            captured_input = data.input
        self.start(
            trace,
            parent,
            label_of(values.type, values.name),
            captured_input,
            own_id=quoted(trace.recorder.id_of(data.id))[1:-1],
            start_ns=start_ns,
        )
        pushed_ns = trace.origin_ns + self.started
        self.backdated_ns = max(pushed_ns - self.start_ns, 0)
        if start_ns is None:
            data.start_time = datetime_of(self.start_ns)
        data.trace_id = trace.id
        data.parent_id = parent.id if parent is not None else None

    def end(self, status: Status = Status.SUCCESS, output: object = NOTHING, error: str | None = None) -> None:
        """Do as `OpenObservation.end`. A status or error that the user set takes precedence."""
        if self.closed:
            return
        for on_end in on_manual_end:
            on_end(self.data)
        recorder = self.trace.recorder
        try:
            values = self._resolve_values(status, output, error)
            self._copy_values(values, recorder)
        except Exception as exc:
            if was_raised_from_outside(exc):
                raise
            recorder.record_failure("reading its values", exc)
            super().end(status, output, error)
            return
        captured = self.data.output if self.data.output is not None and recorder.captures_output else NOTHING
        super().end(values.status or status, captured, values.error)

    def _copy_values(self, values: Values, recorder: Recorder) -> None:
        """Copy the values of the user's object to the record."""
        data = self.data
        if "start_time" in data.model_fields_set and values.start_ns is not None:
            self.start_ns = values.start_ns
        self.end_ns = values.end_ns
        self.head = self._head(label_of(values.type, values.name))
        if data.input is not self.pushed_input and recorder.captures_input:
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
    """The node of a pushed TOOL that uses the observation of the framework's tool event."""

    __slots__ = ("data", "handled_at_push", "matched", "pushed_input", "pushing_frame")

    def __init__(self, matched: OpenObservation, data: ObservationData) -> None:
        Node.__init__(self, matched.trace, matched.parent, matched.id)
        self.data, self.pushed_input, self.matched = data, data.input, matched
        data.id, data.trace_id = matched.id, matched.trace.id
        data.parent_id = matched.parent.id if matched.parent is not None else None
        matched.take_over(label_of(data.type, data.name), data.input if data.input is not None else NOTHING)

    def end(self, status: Status = Status.SUCCESS, output: object = NOTHING, error: str | None = None) -> None:
        """Store the result for the framework's observation, which the framework ends."""
        if self.closed:
            return
        self.closed = True
        data, matched = self.data, self.matched
        values = self._resolve_values(status, output, error)
        if data.end_time is None:
            recorder = matched.trace.recorder
            data.end_time = datetime_of(matched.start_ns + recorder.tick() - matched.started)
        if data.input is not self.pushed_input:
            matched.take_over(None, data.input)
        matched.claimed_result = (
            values.status or status,
            data.output if data.output is not None else NOTHING,
            values.error,
        )
        matched.add_metadata(**values.metadata)
        matched.set_fields(**values.fields)


def push(trace: OpenTrace, data: ObservationData) -> ManualNode | None:
    """Start the observation *data* as a child of the current node, and make it current; None if it is not recorded."""
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
        node.handled_at_push = sys.exc_info()[1]
        node.pushing_frame = _caller()
    except Exception as exc:
        if was_raised_from_outside(exc):
            raise
        if hasattr(type(data), "model_fields"):
            trace.recorder.record_failure("starting it", exc)
        else:
            warn_user(f"push_observation takes an ObservationData, got {data!r:.100}")
        return None
    trace.pushed[node.id] = node
    set_current(node)
    if data.type is ObservationType.EVENT:
        node.end()
    return node


def _is_same_call(matcher: ToolMatcher, data: ObservationData) -> bool:
    return data.type is ObservationType.TOOL and matcher.matches((data.name,))


def pop(trace: OpenTrace) -> ObservationData | None:
    """End the last pushed observation; see `FluxLoopContext.pop_observation`."""
    node = _node_to_pop(trace)
    if node is None:
        return None
    raised = sys.exc_info()[1]
    end_manually(node, raised if raised is not node.handled_at_push else None)
    return node.data


def end_manually(node: ManualNode, raised: BaseException | None = None) -> None:
    """End *node*, with the outcome of *raised* if given, and restore the previous current node."""
    if current_variable.get() is node:
        set_current(node.previous)
    if raised is None:
        node.end()
    else:
        node.fail_manually(raised)


def _node_to_pop(trace: OpenTrace) -> ManualNode | None:
    """
    Return the observation that a pop from the calling code ends.

    Usually that is the innermost one of this context. In a generator that another task resumes, it is the one that the
    generator pushed. Otherwise it is the last one pushed as a child of the current node.
    """
    caller = _caller()
    here = current_variable.get()
    if isinstance(here, ManualNode) and here.is_ended_event and here.pushing_frame == caller:
        return here
    while here is not None and here.closed:
        here = here.previous
    innermost = here if isinstance(here, ManualNode) and here.trace is trace else None
    if innermost is not None and innermost.pushing_frame == caller:
        return innermost
    newest_first = [node for node in list(trace.pushed.values())[::-1] if isinstance(node, ManualNode)]
    own = next((node for node in newest_first if node.pushing_frame == caller), None)
    return own or innermost or next((node for node in newest_first if node.parent is here), None)


def _caller() -> tuple[int, CodeType]:
    """Return the identity of the user's frame that called FluxLoop."""
    frame = sys._getframe(2)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith("fluxloop."):
        frame = frame.f_back
    return id(frame), frame.f_code
