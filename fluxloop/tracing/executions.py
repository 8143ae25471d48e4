"""
The recording of one call: the node that is current while its code runs, and that ends with its result.

A result is a returned value, an exception, or a stream with all its items. The classes differ in where the outcome
goes: to an observation of the call's own, to that of a framework's event for the same call, or nowhere.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..encoding.introspection import short_name
from ..enums import ObservationType, Status
from ..interruptions import was_raised_from_outside
from .node import Node
from .observation import OpenObservation
from .outcomes import outcome_of
from .propagation import _current
from .recorder import NOTHING
from .streams import PLAIN, follow, is_followed
from .tool_matching import SUPPRESSED
from .trace import OpenTrace

if TYPE_CHECKING:
    from .spec import Spec
    from .stream_items import StreamObserver

_SUCCESS = Status.SUCCESS
"""A global is read faster than a member of an enumeration."""


class Execution(Node):
    """A call as the current node. Subclasses record its outcome in different ways."""

    if TYPE_CHECKING:  # the subclasses define these slots: two base classes of a class cannot both have slots
        spec: Spec
        stream_items: StreamObserver | None
        inner: Node | None
        """The node that was current in the code of the stream when it was last paused."""
    else:
        __slots__ = ()

    @property
    def observation(self) -> OpenObservation | None:
        """The observation that records the call; None if it is not recorded."""
        return None

    def enter(self) -> None:
        """Make the call the current node."""
        self.previous = _current.get()
        _current.set(self)

    def leave(self) -> None:
        """Restore the previous current node, unless another task closes the call."""
        here = _current.get()
        if here is self or self._close_forgotten(here):
            _current.set(self.previous)

    def returned(self, value: Any) -> Any:
        """End the call with *value* and return that. If *value* is a stream or future, the call ends when that ends."""
        if _current.get() is self:
            _current.set(self.previous)
        else:
            self.leave()
        try:
            try:
                if type(value) not in PLAIN and is_followed(value):
                    return follow(self, value)
            except Exception as exc:  # raised by a metaclass of the value; record it as a plain value
                if was_raised_from_outside(exc):
                    raise
            spec = self.spec
            if spec.read_facts is not None:
                self.succeeded(value)
            else:  # what `succeeded` does then, without the call
                self.end(_SUCCESS, value if spec.capture_output and self.trace.recorder.captures_output else NOTHING)
        except Exception as exc:
            if was_raised_from_outside(exc):
                raise
            self.trace.recorder.record_failure("ending it", exc)
        return value

    def raised(self, exc: BaseException) -> None:
        """End the call with the outcome of *exc*, which the caller re-raises."""
        self.leave()
        self.failed(exc)

    def succeeded(self, value: Any) -> None:
        """End the call: the function returned *value*."""
        self.end()

    def failed_with(self, exc: BaseException, output: object) -> None:
        """End the call with the outcome of *exc* and the *output* that it streamed so far."""
        self.end()

    def resume(self) -> None:
        """Restore the current node of the stream's code, before that code runs."""
        self.previous = _current.get()
        _current.set(self.inner or self)

    def pause(self) -> None:
        """Restore the current node of the stream's consumer."""
        self.inner = _current.get()
        _current.set(self.previous)

    def on_item(self, item: Any) -> Any:
        """Record an item of the stream, and return it."""
        return item

    def exhausted(self, value: Any, closed: bool = False) -> Any:
        """End the call: the stream returned *value*, or was *closed*."""
        self._end_stream(Status.ABANDONED if closed else Status.SUCCESS, value, None)
        return value

    def failed(self, exc: BaseException) -> None:
        """End the call: the stream raised *exc*, or *exc* closed it."""
        self._end_stream(Status.SUCCESS, None, exc)

    def dropped(self) -> None:
        """End the call: the stream was garbage-collected before its end."""
        self._end_stream(Status.ABANDONED, None, GeneratorExit())

    def _end_stream(self, status: Status, value: Any, exc: BaseException | None) -> None:
        if self.closed:
            return
        if self.inner is not None:
            self._close_forgotten(self.inner)
        self.end()

    def _close_forgotten(self, here: Node | None) -> bool:
        """End observations from *here* outwards that were not popped; return False if *here* is not inside the call."""
        left_open = []
        while here is not None and here is not self:
            left_open.append(here)
            here = here.previous
        if here is None:
            return False
        for node in left_open:
            if node.id in self.trace.pushed:
                node.end(Status.ABANDONED)
        return True


class RecordedExecution(Execution):
    """A call with an observation: its own, or that of a framework's event for the same call."""

    if TYPE_CHECKING:

        @property
        def observation(self) -> OpenObservation: ...

        started: int
        """The start of the observation, by `Recorder.tick`."""
    else:
        __slots__ = ()

    def succeeded(self, value: Any) -> None:
        """End the call: the function returned *value*."""
        spec = self.spec
        if spec.read_facts is not None:
            self._read_facts(spec.read_facts(value))
        self.end(_SUCCESS, value if spec.capture_output and self.trace.recorder.captures_output else NOTHING)

    def failed_with(self, exc: BaseException, output: object) -> None:
        """End the call with the outcome of *exc* and the *output* that it streamed so far."""
        outcome = outcome_of(exc)
        self.observation.add_error(exc, outcome.details)
        self.end(outcome.status, output, outcome.error)

    def on_item(self, item: Any) -> Any:
        """Record an item of the stream, and return it."""
        recorder = self.trace.recorder
        tick = recorder.tick
        offset_ns = tick() - self.started
        items = self.stream_items
        try:
            if items is None:
                items = self.stream_items = (self.spec.stream_items or recorder.stream_items)(self.observation)
            if recorder.captures_output and self.spec.capture_output:
                items.on_item(item, offset_ns)
            else:
                items.count += 1
        except Exception as exc:
            if was_raised_from_outside(exc):
                raise
            recorder.record_failure("recording an item", exc)
        return item

    def _end_stream(self, status: Status, value: Any, exc: BaseException | None) -> None:
        if self.closed:
            return
        if self.inner is not None:
            self._close_forgotten(self.inner)
        try:
            output = self._streamed(status, value, exc)
        except Exception as failure:
            if was_raised_from_outside(failure):
                raise
            self.trace.recorder.record_failure("ending a stream", failure)
            output = NOTHING
        if exc is None:
            self.end(status, output)
        else:
            self.failed_with(exc, output)

    def _streamed(self, status: Status, value: Any, exc: BaseException | None) -> object:
        """Return the output of the stream, and set the other fields that its items contain, such as usage."""
        output: object = NOTHING
        if self.stream_items is not None:
            ended = "closed" if status is Status.ABANDONED else "exhausted"
            if exc is not None:
                ended = "closed" if issubclass(type(exc), GeneratorExit) else short_name(type(exc))
            output = self.stream_items.output(ended, value)
            if self.spec.type is ObservationType.GENERATION and self.stream_items.offsets_ms:
                self.observation.set_fields(time_to_first_token_ms=self.stream_items.offsets_ms[0])
        elif status is Status.SUCCESS and exc is None:
            if self.spec.read_facts is not None:
                self._read_facts(self.spec.read_facts(value))
            output = value
        return output if self.spec.capture_output and self.trace.recorder.captures_output else NOTHING

    def _read_facts(self, facts: Any) -> None:
        if facts is not None:
            fields = self.spec.fields
            self.observation.set_fields(
                usage=facts.usage,
                model=fields.get("model") or facts.model,
                provider=fields.get("provider") or facts.provider,
                finish_reasons=facts.finish_reasons,
            )


class Call(RecordedExecution, OpenObservation):
    """A call or scope with its own observation, which is the same object."""

    __slots__ = ("inner", "spec", "stream_items")

    @property
    def observation(self) -> OpenObservation:
        """The call itself."""
        return self


class MatchedCall(RecordedExecution):
    """The call of a tool that uses the observation of the framework's tool event."""

    __slots__ = ("inner", "matched", "spec", "stream_items")

    def __init__(self, matched: OpenObservation, spec: Spec, given: object) -> None:
        Node.__init__(self, matched.trace, matched.parent, matched.id)
        self.matched = matched
        matched.take_over(spec.label if spec.is_named else None, given)
        if not spec.capture_input:
            matched.drop_input()  # the framework may have reported it already
        matched.add_metadata(**spec.metadata)
        matched.set_fields(**spec.fields)

    @property
    def observation(self) -> OpenObservation:
        """The observation of the framework's tool event."""
        return self.matched

    @property
    def started(self) -> int:  # type: ignore[override]  # only the observation sets it
        """The start of the observation, by `Recorder.tick`."""
        return self.matched.started

    def end(self, status: Status = Status.SUCCESS, output: object = NOTHING, error: str | None = None) -> None:
        """Store the result of the call for the framework's observation, which the framework ends."""
        self.closed = True
        self.matched.claimed_result = (status, output if self.spec.capture_output else SUPPRESSED, error)


class UnsampledCall(Execution):
    """A call in an unsampled trace. It prevents nested calls from opening traces."""

    __slots__ = ("inner", "spec", "stream_items")

    def __init__(self, trace: OpenTrace, spec: Spec) -> None:
        Node.__init__(self, trace, None, trace.id)
        self.spec = spec
        self.stream_items = self.inner = None
