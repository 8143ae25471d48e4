"""
One call, or one scope: how its recording begins and ends, whatever its shape.

`begin` decides where it belongs, and whether it is recorded at all; a `Call` is its life as the current observation.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ..encoding.record_text import label_of
from ..enums import ObservationType, Status
from ..report import log
from .arguments import Binder
from .observation import SUPPRESSED, OpenObservation
from .propagation import _current, current, needs_lookup
from .recorder import NOTHING
from .streams import PLAIN, is_stream, wrap_stream
from .trace import OpenTrace

if TYPE_CHECKING:
    from ..client import FluxLoopClient
    from .stream_items import StreamObserver
    from .tool_matching import ToolMatcher


@dataclass(slots=True)
class Spec:
    """What a decorator or a scope settles once, so that a call has little to decide."""

    client: FluxLoopClient
    type: ObservationType
    name: str
    opens_trace: bool = False
    metadata: dict[str, Any] = field(default_factory=dict)
    capture_input: bool = True
    capture_output: bool = True
    capture_tokens: bool = False
    fields: dict[str, Any] = field(default_factory=dict)
    trace: dict[str, Any] = field(default_factory=dict)
    bind: Binder | None = None
    is_named: bool = True
    stream_items: Callable[[Any], StreamObserver] | None = None
    """Makes what keeps notes of the stream a call returns, or is; `StreamItems` if None."""
    called: str = ""
    """The name of the function, or of the tool that a framework made of it."""
    label: str = ""

    def __post_init__(self) -> None:
        self.label = label_of(self.type, self.name)


class Call(OpenObservation):
    """The observation of one call, or of one scope, and its life as the current one."""

    __slots__ = ("inner", "spec", "stream_items")

    spec: Spec
    stream_items: StreamObserver | None
    inner: OpenObservation | None

    def enter(self) -> None:
        """Make it current."""
        self.previous = _current.get()
        _current.set(self)

    def leave(self) -> None:
        """Put back what was current before; a context that never saw it, such as a closing task's, stays as it is."""
        here = _current.get()
        if here is self or self._close_forgotten(here):
            _current.set(self.previous)

    def returned(self, value: Any) -> Any:
        """End it with *value*, which is returned; a stream is returned wrapped, and ends it when it ends."""
        if _current.get() is self:
            _current.set(self.previous)
        else:
            self.leave()
        try:
            if type(value) not in PLAIN and is_stream(value):
                return wrap_stream(self, value, self._dropped)
            spec = self.spec
            if spec.capture_tokens:
                self._read_facts(value)
            captures = spec.capture_output and self.trace.recorder.captures_output
            self.end(Status.SUCCESS, value if captures else NOTHING)
        except Exception as exc:
            self.trace.recorder.record_failure("ending it", exc)
        return value

    def raised(self, exc: BaseException) -> None:
        """End it as *exc* says, which the caller goes on to raise."""
        self.leave()
        self.fail(exc)

    def resume(self) -> None:
        """See `fluxloop.tracing.streams.Streaming`; what the stream's own code left current is found again."""
        self.previous = _current.get()
        _current.set(self.inner or self)

    def pause(self) -> None:
        """See `fluxloop.tracing.streams.Streaming`."""
        self.inner = _current.get()
        _current.set(self.previous)

    def on_item(self, item: Any) -> Any:
        """Note *item* of the stream and return it."""
        offset_ns = self.trace.recorder.tick() - self.started
        try:
            if self.stream_items is None:
                self.stream_items = (self.spec.stream_items or _stream_notes())(self)
            if self._captures_output():
                self.stream_items.on_item(item, offset_ns)
            else:
                self.stream_items.count += 1
        except Exception as exc:
            self.trace.recorder.record_failure("noting an item", exc)
        return item

    def exhausted(self, value: Any, closed: bool = False) -> Any:
        """End it: the stream returned *value*."""
        self._end_stream(Status.ABANDONED if closed else Status.SUCCESS, value)
        return value

    def failed(self, exc: BaseException) -> None:
        """End it: *exc* left the stream, or closed it."""
        self._end_stream(None, None, exc)

    def _dropped(self) -> None:
        self.failed(GeneratorExit())

    def _end_stream(self, status: Status | None, value: Any, exc: BaseException | None = None) -> None:
        if self.closed:
            return
        if self.inner is not None:
            self._close_forgotten(self.inner)
        try:
            output: object = NOTHING
            if self.stream_items is not None:
                ended = "closed" if status is Status.ABANDONED else "exhausted"
                if exc is not None:
                    ended = "closed" if isinstance(exc, GeneratorExit) else type(exc).__name__
                output = self.stream_items.output(ended, value)
                if self.spec.type is ObservationType.GENERATION and self.stream_items.offsets_ms:
                    self.set_fields(time_to_first_token_ms=self.stream_items.offsets_ms[0])
            elif status is Status.SUCCESS:
                if self.spec.capture_tokens:
                    self._read_facts(value)
                output = value
            if not self._captures_output():
                output = NOTHING
        except Exception as failure:
            self.trace.recorder.record_failure("ending a stream", failure)
            output = NOTHING
        if exc is None:
            self.end(status or Status.SUCCESS, output)
        else:
            self.fail(exc, output)

    def _captures_output(self) -> bool:
        return self.spec.capture_output and self.trace.recorder.captures_output

    def _read_facts(self, value: object) -> None:
        from ..llm.response_facts import read_facts  # for models alone

        facts = read_facts(value)
        if facts is not None:
            fields = self.spec.fields
            self.set_fields(
                usage=facts.usage,
                model=fields.get("model") or facts.model,
                provider=fields.get("provider") or facts.provider,
                finish_reasons=facts.finish_reasons,
            )

    def _close_forgotten(self, here: OpenObservation | None) -> bool:
        """Close what was pushed inside the call and never popped, from *here* up; False if it is not up there."""
        left_open = []
        while here is not None and here is not self:
            left_open.append(here)
            here = here.previous
        if here is None:
            return False
        for observation in left_open:
            if observation.id in self.trace.by_hand:
                observation.end(Status.ABANDONED)
        return True


def _stream_notes() -> Callable[[Any], StreamObserver]:
    from .stream_items import StreamItems  # for streams alone

    return StreamItems


class MatchedCall(Call):
    """The call of a tool that a framework has begun an observation for: the two are one."""

    __slots__ = ("outer",)

    def __init__(self, outer: OpenObservation, spec: Spec, given: object) -> None:
        self._init_node(outer.trace, outer.parent, outer.id)
        self.outer, self.started = outer, outer.started
        outer.take_over(spec.label if spec.is_named else None, given)
        if not spec.capture_input:
            outer.drop_input()  # the framework may have told it already

    def end(self, status: Status = Status.SUCCESS, output: object = NOTHING, error: str | None = None) -> None:
        """Tell the framework's observation how the call went; the framework ends it."""
        self.closed = True
        self.outer.claimed_result = (status, output if self.spec.capture_output else SUPPRESSED, error)
        self.outer.add_metadata(**(self.metadata or {}))
        self.outer.set_fields(**(self.fields or {}))
        self.outer.redacted += self.redacted
        self.outer.truncated += self.truncated


class UnsampledCall(Call):
    """Stands for a trace that is not recorded, so that what happens inside opens none of its own."""

    __slots__ = ()

    def __init__(self, trace: OpenTrace, spec: Spec) -> None:
        self._init_node(trace, None, trace.id)
        self.spec = spec
        self.stream_items = self.inner = None

    def end(self, status: Status = Status.SUCCESS, output: object = NOTHING, error: str | None = None) -> None:
        """Nothing was begun."""
        self.closed = True

    def on_item(self, item: Any) -> Any:
        """Return *item*."""
        return item


def begin(
    spec: Spec, args: tuple[Any, ...], kwargs: dict[str, Any], before: OpenObservation | None = None
) -> Call | None:
    """
    Begin the observation of one call; it is not current yet. None where nothing is to be recorded.

    Never raises: a failure of ours is counted, and the call goes on unrecorded.

    Args:
        spec: What was settled at decoration.
        args: The call's positional arguments.
        kwargs: The call's keyword arguments.
        before: What the context variable names, where the caller looked already.
    """
    client = spec.client
    try:
        here = before if before is not None and not before.closed and not needs_lookup else current()
        above = here if client.is_default else client.own_innermost(here)
        if above is None or (spec.opens_trace and _wants_its_own(spec, above.trace)):
            trace, parent = _opened(spec, here), None
        else:
            trace, parent = above.trace, above
        if trace is None:
            return None
        recorder = trace.recorder
        if not (trace.is_sampled and recorder.switch.on):
            return UnsampledCall(trace, spec) if parent is None else None
        given: object = NOTHING
        if spec.bind is not None and spec.capture_input and recorder.captures_input:
            try:
                given = spec.bind(*args, **kwargs)
            except TypeError:  # they do not fit: the function itself will say so
                given = {"args": args, "kwargs": kwargs}
        if parent is not None and parent.tool_matcher is not None and _is_claimed(parent.tool_matcher, spec):
            call: Call = MatchedCall(parent, spec, given)
        else:
            call = Call(trace, parent, spec.label, given)
        call.spec = spec
        call.stream_items = call.inner = None
        if spec.metadata:
            call.metadata = spec.metadata
        if spec.fields:
            call.fields = spec.fields
        return call
    except Exception as exc:
        client.record_failure("beginning it", exc)
        return None


def _is_claimed(tool_matcher: ToolMatcher, spec: Spec) -> bool:
    return spec.type is ObservationType.TOOL and tool_matcher.matches((spec.called, spec.name))


def _wants_its_own(spec: Spec, trace: OpenTrace) -> bool:
    """Whether what opens a trace is to open one although *trace* is current here."""
    wanted = spec.trace.get("trace_id")
    return trace.is_closed or (wanted is not None and str(wanted) != trace.id)


def _opened(spec: Spec, here: OpenObservation | None) -> OpenTrace | None:
    if spec.opens_trace:
        return spec.client.open_trace(spec.name, outer=here, **spec.trace)
    if spec.client.is_debugging:
        log.debug("ignored {%s}: no trace is open here; wrap the caller in agent or instrument", spec.label)
    return None
