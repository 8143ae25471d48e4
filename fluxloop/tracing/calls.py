"""
One call, or one scope: how its recording begins and ends, whatever its shape.

`begin` decides where the call belongs and whether it is recorded at all; an `Execution` is its life as the current
node: entered, left, resumed by the consumer of its stream, ended.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ..encoding.record_text import label_of
from ..enums import ObservationType, Status
from ..interruptions import was_raised_from_outside
from ..report import log
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
    """What a decorator or a scope settles once, so that a call has little to decide."""

    tracer: Tracer
    type: ObservationType
    name: str = ""
    opens_trace: bool = False
    metadata: dict[str, Any] = field(default_factory=dict)
    capture_input: bool = True
    capture_output: bool = True
    read_facts: Callable[[object], Any] | None = None
    """Reads token counts, model and finish reasons from a result; None where they are not wanted."""
    fields: dict[str, Any] = field(default_factory=dict)
    trace: dict[str, Any] = field(default_factory=dict)
    """What a new trace is opened with, and an open one takes over, see `OpenTrace`."""
    session: str | Callable[..., object] | None = None
    """The session of the trace, or a function that returns it for the arguments of a call."""
    bind: Binder | None = None
    is_named: bool = False
    """Whether the user chose the name; if not, a framework may give another."""
    stream_items: Callable[[Any], StreamObserver] | None = None
    """Makes the observer of the stream a call returns, or is; `StreamItems` if None."""
    called: str = ""
    """The name of the function, or of the tool that a framework made of it."""
    func: Callable[..., Any] | None = None
    """The function that is recorded; None for a scope."""
    label: str = ""

    def __post_init__(self) -> None:
        self.label = label_of(self.type, self.name)


Answer = Callable[["Execution", Callable[..., Any]], Callable[..., Any]]
"""Takes a call and its function, and returns the function to run in its place: the same, or one that answers."""

answers: list[Answer] = []
"""Asked for each recorded call before its function runs, the last one first; empty unless something replays."""


def to_run(call: Execution | None, func: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function to run for *call*: *func*, or what an `Answer` puts in its place."""
    for answer in reversed(answers):
        if call is not None:
            func = answer(call, func)
    return func


class Execution(Node):
    """A call as the current node. Its subclasses differ in what they do with how it went."""

    if TYPE_CHECKING:  # slots of the subclasses, as two bases of one class cannot both have slots
        spec: Spec
        stream_items: StreamObserver | None
        inner: Node | None
        """What the stream's own code left current when it was paused last."""
    else:
        __slots__ = ()

    @property
    def observation(self) -> OpenObservation | None:
        """The observation whose record the call is; None where it is not recorded."""
        return None

    def enter(self) -> None:
        """Make it current."""
        self.previous = _current.get()
        _current.set(self)

    def leave(self) -> None:
        """Restore what was current before, unless this context never had the call as current (a closing task)."""
        here = _current.get()
        if here is self or self._close_forgotten(here):
            _current.set(self.previous)

    def returned(self, value: Any) -> Any:
        """End it with *value*, which is returned; a stream or future ends it later."""
        if _current.get() is self:
            _current.set(self.previous)
        else:
            self.leave()
        try:
            if type(value) not in PLAIN and is_followed(value):
                return follow(self, value)
            self.succeeded(value)
        except Exception as exc:
            if was_raised_from_outside(exc):
                raise
            self.trace.recorder.record_failure("ending it", exc)
        return value

    def raised(self, exc: BaseException) -> None:
        """End it with the outcome of *exc*, which the caller raises again."""
        self.leave()
        self.failed(exc)

    def succeeded(self, value: Any) -> None:
        """End it: the function returned *value*."""
        self.end()

    def failed_with(self, exc: BaseException, output: object) -> None:
        """End it with the outcome of *exc*; *output* is what it streamed so far."""
        self.end()

    def resume(self) -> None:
        """Make it current, or what the stream's own code left current: that code runs now."""
        self.previous = _current.get()
        _current.set(self.inner or self)

    def pause(self) -> None:
        """Restore what is current for the consumer of the stream."""
        self.inner = _current.get()
        _current.set(self.previous)

    def on_item(self, item: Any) -> Any:
        """Record *item* of the stream and return it."""
        return item

    def exhausted(self, value: Any, closed: bool = False) -> Any:
        """End it: the stream returned *value*, or was *closed*."""
        self._end_stream(Status.ABANDONED if closed else Status.SUCCESS, value, None)
        return value

    def failed(self, exc: BaseException) -> None:
        """End it: *exc* left the stream, or closed it."""
        self._end_stream(Status.SUCCESS, None, exc)

    def dropped(self) -> None:
        """End it: the stream was garbage-collected before its end."""
        self._end_stream(Status.ABANDONED, None, GeneratorExit())

    def _end_stream(self, status: Status, value: Any, exc: BaseException | None) -> None:
        if self.closed:
            return
        if self.inner is not None:
            self._close_forgotten(self.inner)
        self.end()

    def _close_forgotten(self, here: Node | None) -> bool:
        """End what was pushed inside the call and never popped, from *here* up; False if *here* is not inside it."""
        left_open = []
        while here is not None and here is not self:
            left_open.append(here)
            here = here.previous
        if here is None:
            return False
        for node in left_open:
            if node.id in self.trace.by_hand:
                node.end(Status.ABANDONED)
        return True


class RecordedExecution(Execution):
    """A call that has an observation: its own, or that of the framework's event for the same call."""

    if TYPE_CHECKING:

        @property
        def observation(self) -> OpenObservation: ...

    else:
        __slots__ = ()

    def succeeded(self, value: Any) -> None:
        """End it: the function returned *value*."""
        if self.spec.read_facts is not None:
            self._read_facts(self.spec.read_facts(value))
        self.end(Status.SUCCESS, value if self._captures_output() else NOTHING)

    def failed_with(self, exc: BaseException, output: object) -> None:
        """End it with the outcome of *exc*; *output* is what it streamed so far."""
        outcome = outcome_of(exc)
        if outcome.details:
            self.observation.add_metadata(**outcome.details)
        self.end(outcome.status, output, outcome.error)

    def on_item(self, item: Any) -> Any:
        """Record *item* of the stream and return it."""
        recorder = self.trace.recorder
        offset_ns = recorder.tick() - self.observation.started
        try:
            if self.stream_items is None:
                self.stream_items = (self.spec.stream_items or recorder.stream_items)(self.observation)
            if self._captures_output():
                self.stream_items.on_item(item, offset_ns)
            else:
                self.stream_items.count += 1
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
        """Return the output of the stream, and set what else its items report on the observation."""
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
        return output if self._captures_output() else NOTHING

    def _captures_output(self) -> bool:
        return self.spec.capture_output and self.trace.recorder.captures_output

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
    """A call, or a scope, with an observation of its own: itself."""

    __slots__ = ("inner", "spec", "stream_items")

    @property
    def observation(self) -> OpenObservation:
        """The call itself."""
        return self


class MatchedCall(RecordedExecution):
    """The call of a tool for which a framework began an observation already: the two share that."""

    __slots__ = ("inner", "outer", "spec", "stream_items")

    def __init__(self, outer: OpenObservation, spec: Spec, given: object) -> None:
        Node.__init__(self, outer.trace, outer.parent, outer.id)
        self.outer = outer
        outer.take_over(spec.label if spec.is_named else None, given)
        if not spec.capture_input:
            outer.drop_input()  # the framework may have reported it already
        outer.add_metadata(**spec.metadata)
        outer.set_fields(**spec.fields)

    @property
    def observation(self) -> OpenObservation:
        """The framework's."""
        return self.outer

    def end(self, status: Status = Status.SUCCESS, output: object = NOTHING, error: str | None = None) -> None:
        """Keep how the call went for the framework's observation, which the framework ends."""
        self.closed = True
        self.outer.claimed_result = (status, output if self.spec.capture_output else SUPPRESSED, error)


class UnsampledCall(Execution):
    """A call in a trace that is not recorded, so that what happens inside opens no trace of its own."""

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
    *,
    is_entered: bool = False,
) -> Execution | None:
    """
    Begin the observation of one call. None where nothing is to be recorded.

    A failure of FluxLoop's own is counted, and the call goes on unrecorded.

    Args:
        spec: What was settled at decoration.
        args: The call's positional arguments.
        kwargs: The call's keyword arguments.
        before: The node that was current where a stream was created; with *is_entered*, the context variable's value.
        is_entered: Whether to make the call current, *before* being what is restored afterwards.
    """
    tracer = spec.tracer
    call: Execution | None = None
    try:
        known = before is not None and (not is_entered or not (before.closed or needs_lookup))
        here = before if known else current()
        above = here if tracer.is_default else tracer.own_innermost(here)
        if above is None or (spec.opens_trace and _wants_its_own(spec, above.trace)):
            trace, parent = _opened(spec, here, args, kwargs), None
        else:
            trace, parent = above.trace, above
            if spec.session is not None:
                name_session(trace, _session_of(spec, args, kwargs))
        if trace is None:
            return None
        recorder = trace.recorder
        if not (trace.is_sampled and recorder.switch.on):
            if parent is not None:
                return None
            call = UnsampledCall(trace, spec)
        else:
            given: object = NOTHING
            if spec.bind is not None and spec.capture_input and recorder.captures_input:
                try:
                    given = spec.bind(*args, **kwargs)
                except TypeError:  # they do not fit: the function itself raises then
                    given = {"args": args, "kwargs": kwargs}
            matcher = parent.tool_matcher if parent is not None else None
            if matcher is not None and _is_same_call(matcher, spec):
                call = MatchedCall(parent, spec, given)  # type: ignore[arg-type]  # only observations have a matcher
            else:
                call = Call.__new__(Call)  # bound before it begins, so that an interruption can discard it
                OpenObservation.__init__(call, trace, parent, spec.label, given)
                if spec.metadata:
                    call.metadata = spec.metadata
                if spec.fields:
                    call.fields = spec.fields
            call.spec = spec
            call.stream_items = call.inner = None
        if is_entered:
            call.previous = before
            _current.set(call)
        return call
    except BaseException as exc:
        if not was_raised_from_outside(exc):
            tracer.record_failure("beginning it", exc)
            return None
        if call is not None:
            _undo(call, before)
        raise


def end_interrupted(call: Execution | None, before: Node | None, exc: BaseException) -> None:
    """End a call with the outcome of *exc*, also one that was begun and interrupted before its caller had it."""
    if call is None:
        here = _current.get()
        if here is before or not isinstance(here, Execution) or here.previous is not before:
            return
        call = here
    call.raised(exc)


def _undo(call: Node, before: Node | None) -> None:
    """Discard a call that was interrupted while it began."""
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


def _wants_its_own(spec: Spec, trace: OpenTrace) -> bool:
    """Whether what opens a trace is to open one although *trace* is current here."""
    wanted = spec.trace.get("trace_id")
    return trace.is_closed or (wanted is not None and str(wanted) != trace.id)


def _opened(spec: Spec, here: Node | None, args: tuple[Any, ...], kwargs: dict[str, Any]) -> OpenTrace | None:
    if spec.opens_trace:
        options = spec.trace
        if spec.session is not None:
            options = {**options, "session_id": _session_of(spec, args, kwargs)}
        return spec.tracer.open_trace(spec.name, outer=here, **options)
    if spec.tracer.is_debugging:
        log.debug("ignored {%s}: no trace is open here; wrap the caller in agent or instrument", spec.label)
    return None
