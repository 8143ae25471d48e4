"""
Observations built by hand: pushed and popped, as in Pattern A of the guide.

The user holds an `ObservationData` and may change anything on it until it is popped, so its record
is written from that object; the input is the snapshot taken when it was pushed.
"""

from __future__ import annotations

import sys
from types import CodeType
from typing import Any

from ..encoding.record_text import datetime_of, label_of, members, ns_of, quoted, utc_text
from ..enums import ObservationLevel, ObservationType, Status
from ..models import ObservationData
from .observation import OpenObservation, ending_of
from .outcomes import error_details, message_of, status_of
from .propagation import _current as current_variable
from .propagation import current, set_current, strand_id
from .recorder import NOTHING, Recorder
from .tool_matching import ToolMatcher
from .trace import OpenTrace

_FIELDS = ("status_message", "model", "provider", "model_parameters", "time_to_first_token_ms", "finish_reasons")
"""Top-level fields of a record that are written from the object as they are, where set."""


class ManualObservation(OpenObservation):
    """An open observation whose record is written from the `ObservationData` a user holds."""

    __slots__ = ("already_handled", "data", "given", "late_ns", "pushed_by")

    pushed_by: tuple[int, CodeType]
    already_handled: BaseException | None
    late_ns: int

    def __init__(self, trace: OpenTrace, parent: OpenObservation | None, data: ObservationData) -> None:
        self.data, self.given = data, data.input
        pushed_ns = trace.recorder.now()
        if "start_time" not in data.model_fields_set:
            data.start_time = datetime_of(pushed_ns)
        start_ns = ns_of(data.start_time)
        self.late_ns = max(pushed_ns - start_ns, 0)
        data.trace_id = trace.id
        data.parent_id = parent.id if parent is not None else None
        label = label_of(ObservationType(data.type), data.name)
        given = data.input if data.input is not None else NOTHING
        super().__init__(trace, parent, label, given, own_id=quoted(str(data.id))[1:-1], start_ns=start_ns)

    @property
    def is_past_event(self) -> bool:
        """Whether it is an EVENT, which ended when it was pushed; a pop that follows still belongs to it."""
        return self.closed and self.data.type is ObservationType.EVENT

    def end(self, status: Status = Status.SUCCESS, output: object = NOTHING, error: str | None = None) -> None:
        """As `OpenObservation.end`; a status or an error set on the object itself comes first."""
        data = self.data
        if error is not None and data.error is None:
            data.error = error
        if output is not NOTHING and data.output is None:
            data.output = output
        if data.status is None:
            data.status = Status.ERROR if data.error is not None and status is Status.SUCCESS else status
        self.trace.by_hand.pop(self.id, None)
        super().end(data.status)

    def _parts(
        self, recorder: Recorder, end_ns: int, status: Status, output: object, error: str | None
    ) -> tuple[list[bytes], bytes]:
        data, encode = self.data, recorder.encode
        self.start_ns = ns_of(data.start_time)
        self.head = self._head(label_of(ObservationType(data.type), str(data.name)))
        if data.input is not self.given:
            self.input = b',"input":' + encode(data.input, self)
        if status is Status.ERROR and "level" not in data.model_fields_set:
            data.level = ObservationLevel.ERROR
        ending = ending_of(Status(status), ObservationLevel(data.level).name)
        span = f',"end_time":"{utc_text(end_ns)}","duration_ms":{data.duration_ms:.3f}{ending}'.encode()
        result = b',"output":' + encode(data.output, self) if data.output is not None else b""
        if data.error is not None:
            result += b',"error":' + encode(str(data.error), self)
        parts = [self.head, self.input, span, result]
        metadata = {**data.metadata, **(self.metadata or {})}
        if metadata:
            parts += (b',"metadata":', encode(metadata, self))
        fields = self._fields()
        if fields:
            parts.append(members(encode(fields, self)))
            if "usage" in fields:
                self.trace.count_usage(self, fields["usage"])
        return parts, result

    def _write(self, recorder: Recorder, end_ns: int, status: Status, output: object, error: str | None) -> None:
        super()._write(recorder, self._set_end(end_ns), status, output, error)

    def _set_end(self, end_ns: int) -> int:
        """Set when it ended on the user's object, unless the user did, and return it."""
        data = self.data
        start_ns = ns_of(data.start_time)
        if data.end_time is not None:
            end_ns = ns_of(data.end_time)
        else:
            end_ns = start_ns if data.type is ObservationType.EVENT else end_ns + self.late_ns
            data.end_time = datetime_of(end_ns)
        data.duration_ms = (end_ns - start_ns) / 1_000_000
        return end_ns

    def _fields(self) -> dict[str, Any]:
        data = self.data
        fields = {name: value for name in _FIELDS if (value := getattr(data, name)) is not None}
        if data.usage is not None:
            usage = data.usage if isinstance(data.usage, dict) else data.usage.model_dump(exclude_none=True)
            fields["usage"] = usage
        return {**fields, **(self.fields or {})}


class MatchedManualObservation(ManualObservation):
    """One pushed inside the call of a tool that a framework has begun an observation for: the two are one."""

    __slots__ = ("outer",)

    def __init__(self, outer: OpenObservation, data: ObservationData) -> None:
        self._init_node(outer.trace, outer.parent, outer.id)
        self.data, self.given, self.outer, self.late_ns = data, data.input, outer, 0
        self.started, self.start_ns = outer.started, outer.start_ns
        data.id, data.trace_id = outer.id, outer.trace.id
        data.parent_id = outer.parent.id if outer.parent is not None else None
        outer.take_over(label_of(data.type, data.name), data.input if data.input is not None else NOTHING)

    def _write(self, recorder: Recorder, end_ns: int, status: Status, output: object, error: str | None) -> None:
        data, outer = self.data, self.outer
        self._set_end(end_ns)
        if data.input is not self.given:
            outer.take_over(None, data.input)
        outer.claimed_result = (status, data.output if data.output is not None else NOTHING, data.error)
        outer.add_metadata(**data.metadata, **(self.metadata or {}))
        outer.set_fields(**self._fields())


def push(trace: OpenTrace, data: ObservationData) -> ManualObservation | None:
    """Begin *data* under what is current here, and make it current; None where nothing is recorded."""
    if not trace.is_recording:
        return None
    here = current()
    try:
        parent = here if here is not None and here.trace is trace else trace.root
        observation: ManualObservation
        if parent is not None and parent.tool_matcher is not None and _is_claimed(parent.tool_matcher, data):
            observation = MatchedManualObservation(parent, data)
        else:
            observation = ManualObservation(trace, parent, data)
    except Exception as exc:
        trace.recorder.record_failure("beginning it", exc)
        return None
    observation.previous = current_variable.get()
    observation.owner = strand_id()
    observation.already_handled = sys.exc_info()[1]
    observation.pushed_by = _caller()
    trace.by_hand[observation.id] = observation
    set_current(observation)
    if data.type is ObservationType.EVENT:
        observation.end()
    return observation


def _is_claimed(tool_matcher: ToolMatcher, data: ObservationData) -> bool:
    return data.type is ObservationType.TOOL and tool_matcher.matches((data.name,), is_body=True)


def pop(trace: OpenTrace) -> ObservationData | None:
    """End the observation pushed last from here, see `FluxLoopContext.pop_observation`."""
    observation = _pushed_here(trace)
    if observation is None:
        return None
    raised = sys.exc_info()[1]
    if raised is not None and raised is not observation.already_handled:
        leave(observation, raised)
    else:
        leave(observation)
    return observation.data


def leave(observation: ManualObservation, raised: BaseException | None = None) -> None:
    """End *observation*, as *raised* says where something was, and put back what was current before it."""
    if current_variable.get() is observation:
        set_current(observation.previous)
    if raised is None:
        observation.end()
    elif status_of(raised) is Status.ERROR:
        observation.add_metadata(**error_details(raised))
        observation.end(Status.ERROR, error=message_of(raised))
    else:
        observation.end(status_of(raised))


def _pushed_here(trace: OpenTrace) -> ManualObservation | None:
    """
    Return the open observation that the calling code means when it pops.

    Usually the innermost one of this context. A function that is resumed elsewhere (a generator, an
    async generator driven by another task) finds the one its own frame pushed; and one whose context
    is gone, the latest that was pushed under what is current here.
    """
    caller = _caller()
    here = current_variable.get()
    if isinstance(here, ManualObservation) and here.is_past_event and here.pushed_by == caller:
        return here
    while here is not None and here.closed:
        here = here.previous
    own_innermost = here if isinstance(here, ManualObservation) and here.trace is trace else None
    if own_innermost is not None and own_innermost.pushed_by == caller:
        return own_innermost
    open_ones = list(trace.by_hand.values())[::-1]
    own = next((o for o in open_ones if o.pushed_by == caller), None)
    return own or own_innermost or next((o for o in open_ones if o.parent is here), None)


def _caller() -> tuple[int, CodeType]:
    """Return what identifies the frame that called into fluxloop."""
    frame = sys._getframe(2)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith("fluxloop."):
        frame = frame.f_back
    return id(frame), frame.f_code
