"""
Begin a call or scope, of any call shape.

`begin` finds the parent of a call and decides whether the call is recorded. It returns an `Execution`: the node that is
current while the code of the call runs, and that ends with its result, its exception or its stream.
"""

from __future__ import annotations

from collections.abc import Callable
from threading import get_ident
from typing import TYPE_CHECKING, Any

from ..enums import ObservationType
from ..interruptions import was_raised_from_outside
from ..report import log
from . import threads
from .executions import Call, Execution, MatchedCall, UnsampledCall
from .propagation import _current, current, needs_lookup
from .recorder import NOTHING
from .spec import Spec
from .trace import OpenTrace, name_session

if TYPE_CHECKING:
    from .node import Node
    from .tool_matching import ToolMatcher

Interceptor = Callable[[Execution, Callable[..., Any]], Callable[..., Any]]
"""Takes a call and its function, and returns the function to run: the same one, or a replacement."""

interceptors: list[Interceptor] = []
"""The interceptors of all recorded calls, applied from last to first. Usually empty; for replay."""


def intercepted(call: Execution | None, func: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function to run for *call*: *func*, or the replacement that the interceptors return."""
    for intercept in reversed(interceptors):
        if call is not None:
            func = intercept(call, func)
    return func


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
        spec, args, kwargs: The options of the decorator, and the arguments of the call.
        before: The node that was current when a stream was created; with *is_entered*, the previous node.
        is_entered: Whether to make the call the current node, with *before* as the previous one.
    """
    tracer = spec.tracer
    call: Execution | None = None
    try:
        here = current() if before is None or (is_entered and (before.closed or needs_lookup)) else before
        parent = here if tracer.is_default else tracer.own_innermost(here)
        if parent is None or spec.opens_trace or spec.session is not None:
            trace, parent = _place(spec, here, parent, args, kwargs)
            if trace is None:
                return None
        else:
            trace = parent.trace
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
                call = own = Call()  # assigned before it starts, so that an interruption can discard it
                own.start(trace, parent, spec.label, given)
                own.metadata, own.fields = spec.metadata or None, spec.fields or None
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


def _place(
    spec: Spec, here: Node | None, parent: Node | None, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[OpenTrace | None, Node | None]:
    """Return the trace and the parent of a call that may open a trace, or name its session."""
    if parent is None or (spec.opens_trace and _opens_new_trace(spec, parent.trace)):
        return _open_trace(spec, here, args, kwargs), None
    if spec.session is not None:
        name_session(parent.trace, _session_of(spec, args, kwargs))
    return parent.trace, parent


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
