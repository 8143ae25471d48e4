"""
Record one call or scope, of any call shape.

`begin` finds the parent of a call and decides whether the call is recorded. It returns an `Execution`: the node that is
current while the code of the call runs, and that ends with its result, its exception or its stream.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from threading import get_ident
from typing import TYPE_CHECKING, Any

from ..encoding.record_text import label_of
from ..enums import ObservationType, Status
from ..interruptions import was_raised_from_outside
from ..report import log
from . import threads
from .arguments import Binder
from .node import Node
from .observation import SUPPRESSED, OpenObservation
from .outcomes import outcome_of
from .propagation import _current, current, needs_lookup
from .recorder import NOTHING
from .streams import PLAIN, follow, is_followed
from .trace import OpenTrace, name_session

if TYPE_CHECKING:
    from .stream_items import StreamObserver
    from .tool_matching import ToolMatcher
    from .tracer import Tracer


@dataclass(slots=True)
class Spec:
    """The part of a recording that is the same for all calls: the type, name and options of a decorator or scope."""

    tracer: Tracer
    type: ObservationType
    name: str = ""
    opens_trace: bool = False
    metadata: dict[str, Any] = field(default_factory=dict)
    capture_input: bool = True
    capture_output: bool = True
    read_facts: Callable[[object], Any] | None = None
    """Reads token counts, model and finish reasons from a result; None if they are not captured."""
    fields: dict[str, Any] = field(default_factory=dict)
    trace: dict[str, Any] = field(default_factory=dict)
    """The session, user, tags and metadata for a new or open trace; see `OpenTrace`."""
    session: str | Callable[..., object] | None = None
    """The session of the trace, or a function that returns it for the arguments of a call."""
    bind: Binder | None = None
    is_named: bool = False
    """Whether the user chose the name; otherwise a framework may change it."""
    stream_items: Callable[[Any], StreamObserver] | None = None
    """Creates the observer of a stream; `StreamItems` if None."""
    called: str = ""
    """The name of the function, or the framework's name of the tool."""
    func: Callable[..., Any] | None = None
    """The recorded function; None for a scope."""
    label: str = ""

    def __post_init__(self) -> None:
        self.label = label_of(self.type, self.name)


Interceptor = Callable[["Execution", Callable[..., Any]], Callable[..., Any]]
"""Takes a call and its function, and returns the function to run: the same one, or a replacement."""

interceptors: list[Interceptor] = []
"""The interceptors of all recorded calls, applied from last to first. Usually empty; for replay."""


def intercepted(call: Execution | None, func: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function to run for *call*: *func*, or the replacement that the interceptors return."""
    for intercept in reversed(interceptors):
        if call is not None:
            func = intercept(call, func)
    return func


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
        if outcome.details:
            self.observation.add_metadata(**outcome.details)
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
                ended = "closed" if isinstance(exc, GeneratorExit) else type(exc).__name__
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


def begin(
    spec: Spec,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    before: Node | None = None,
    is_entered: bool = False,
) -> Execution | None:
    """
    Start the observation of a call. Return None if the call is not recorded.

    If FluxLoop itself fails, the failure is counted, and the call continues unrecorded.

    Args:
        spec: The type, name and options of the decorator.
        args: The positional arguments of the call.
        kwargs: The keyword arguments of the call.
        before: The node that was current when a stream was created; with *is_entered*, the previous node.
        is_entered: Whether to make the call the current node, with *before* as the previous one.
    """
    tracer = spec.tracer
    call: Execution | None = None
    try:
        here = current() if before is None or (is_entered and (before.closed or needs_lookup)) else before
        parent = here if tracer.is_default else tracer.own_innermost(here)
        if parent is None or (spec.opens_trace and _opens_new_trace(spec, parent.trace)):
            trace, parent = _open_trace(spec, here, args, kwargs), None
            if trace is None:
                return None
        else:
            trace = parent.trace
            if spec.session is not None:
                name_session(trace, _session_of(spec, args, kwargs))
        recorder = trace.recorder
        if not (trace.is_sampled and recorder.switch.on):
            if parent is not None:
                return None
            call = UnsampledCall(trace, spec)
        else:
            given: object = NOTHING
            bind = spec.bind
            if bind is not None and recorder.captures_input and spec.capture_input:
                try:
                    given = bind(*args, **kwargs) if kwargs else bind(*args)
                except TypeError:  # the arguments do not fit: the function itself will raise
                    given = {"args": args, "kwargs": kwargs}
            if parent is not None and parent.tool_matcher is not None and _is_same_call(parent.tool_matcher, spec):
                call = MatchedCall(parent, spec, given)  # type: ignore[arg-type]  # only observations have a matcher
            else:
                call = Call()  # assigned before it starts, so that an interruption can discard it
                call.start(trace, parent, spec.label, given)
                call.metadata = spec.metadata or None
                call.fields = spec.fields or None
            call.spec = spec
            call.stream_items = call.inner = None
        if is_entered:
            call.previous = before
            _current.set(call)
        return call
    except BaseException as exc:
        if not was_raised_from_outside(exc):
            tracer.record_failure("starting it", exc)
            return None
        if call is not None:
            _undo(call, before)
        raise


def end_interrupted(call: Execution | None, before: Node | None, exc: BaseException) -> None:
    """End a call with the outcome of *exc*, even if `begin` was interrupted before it could return the call."""
    if call is None:
        here = _current.get()
        if here is before or not isinstance(here, Execution) or here.previous is not before:
            return
        call = here
    call.raised(exc)


def _undo(call: Node, before: Node | None) -> None:
    """Discard a call whose start was interrupted."""
    if _current.get() is call:
        _current.set(before)
    if isinstance(call, Call) and hasattr(call, "slot"):
        call.discard()


def _session_of(spec: Spec, args: tuple[Any, ...], kwargs: dict[str, Any]) -> str | None:
    """Return the session of a call; None if the user's function fails, which is reported."""
    session: object = spec.session
    if callable(session):
        try:
            session = session(*args, **kwargs)
        except Exception as exc:
            if was_raised_from_outside(exc):
                raise
            spec.tracer.report_problem(f"the session_id function of {spec.name!r} failed: {exc!r:.200}")
            return None
    return None if session is None else str(session)


def _is_same_call(matcher: ToolMatcher, spec: Spec) -> bool:
    return spec.type is ObservationType.TOOL and matcher.matches((spec.called, spec.name), spec.func)


def _opens_new_trace(spec: Spec, trace: OpenTrace) -> bool:
    """Return whether a call opens a trace although *trace* is the current one."""
    wanted = spec.trace.get("trace_id")
    return trace.is_closed or (wanted is not None and str(wanted) != trace.id)


def _open_trace(spec: Spec, here: Node | None, args: tuple[Any, ...], kwargs: dict[str, Any]) -> OpenTrace | None:
    if spec.opens_trace:
        options = spec.trace
        if spec.session is not None:
            options = {**options, "session_id": _session_of(spec, args, kwargs)}
        return spec.tracer.open_trace(spec.name, outer=here, **options)
    if get_ident() != threads.main_thread:
        threads.report_untraced(spec.tracer, spec.name)
    if spec.tracer.is_debugging:
        log.debug("ignored {%s}: no trace is open here; wrap the caller in agent or instrument", spec.label)
    return None
