"""
Record every run of the OpenAI Agents SDK as a trace, or as part of the trace that is open.

The SDK reports spans by id to its processors. Each span becomes an observation, except tasks and turns, which only
divide a run. Its spans rarely have a status: it is read from the exception that is raised while the SDK ends one.
"""

from __future__ import annotations

from asyncio import CancelledError
from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary, WeakSet

from agents import ModelBehaviorError, tracing

from fluxloop import FluxLoopClient, ObservationType, Status
from fluxloop.bridge import (
    NOTHING,
    Ledger,
    Node,
    OpenObservation,
    add_locator,
    default,
    innermost,
    log_once,
    name_session,
    remove_locator,
    was_raised_from_outside,
)

from . import function_tools, internals, payloads
from .endings import Ending, ending_of
from .spans import MODEL_CALLS, RUNS, STEPS, Failure, SpanState, is_cancellation

__all__ = ["FluxLoopTracingProcessor"]


class FluxLoopTracingProcessor(tracing.TracingProcessor):
    """
    Records what the SDK reports.

    A run inside a FluxLoop trace becomes part of it; any other opens one, named after the SDK's workflow, whose
    session is the ``group_id``. User code decorated with FluxLoop nests under the tool, guardrail or agent it
    runs in. No method blocks, or raises an exception of FluxLoop's.

    Args:
        show_all: Whether tasks and turns, which every run consists of, become observations too.
        client: The client whose settings and storage are used.
    """

    def __init__(self, *, show_all: bool = False, client: FluxLoopClient | None = None) -> None:
        self._show_all = show_all
        self._client = client or default
        self._ledger = Ledger(self._client, self._locate)
        self._spans: dict[str, SpanState] = {}
        self._cancelled: WeakKeyDictionary[tracing.Span[Any], OpenObservation | None] = WeakKeyDictionary()
        """Tools that were cancelled, by their spans: a function in a thread goes on, and its calls nest inside."""
        add_locator(self._locate)
        _processors.add(self)

    def on_trace_start(self, trace: tracing.Trace) -> None:
        """Open a trace, or join the one that is open."""
        self._safely(self._start_trace, trace)

    def on_trace_end(self, trace: tracing.Trace) -> None:
        """Close what was opened."""
        self._safely(self._end_trace, trace)

    def on_span_start(self, span: tracing.Span[Any]) -> None:
        """Start an observation."""
        self._safely(self._start_span, span)

    def on_span_end(self, span: tracing.Span[Any]) -> None:
        """End the observation."""
        if not self._safely(self._end_span, span):
            self._ledger.finish(span.span_id)

    def shutdown(self) -> None:
        """End what is still open, and detach from the process; the SDK calls this when the program ends."""
        remove_locator(self._locate)
        self._ledger.close_all()
        for key in self._spans:
            _recorded_by.pop(key, None)
        self._spans.clear()

    def force_flush(self) -> None:
        """Wait until the storage has written what was recorded."""
        self._client.flush(timeout=_FLUSH_S)

    def _safely(self, step: Callable[[Any], None], reported: Any) -> bool:
        """
        Run *step* on a trace or span that the SDK reported, and return whether it did not fail.

        An exception raised from outside passes, and ends the observation: the SDK may not report its end.
        """
        try:
            step(reported)
        except BaseException as exc:
            if was_raised_from_outside(exc):
                self._end_interrupted(reported, exc)
                raise
            self._ledger.tracer.record_failure("following an agent's run", exc)
            return False
        return True

    def _end_interrupted(self, reported: Any, exc: BaseException) -> None:
        """End *reported*, and its whole trace if *exc* ends the run: the SDK may not report further ends."""
        key = getattr(reported, "span_id", reported.trace_id)
        state = self._spans.pop(key, None) or self._spans.get(getattr(reported, "parent_id", None) or reported.trace_id)
        ended = [key]
        if state is not None and not isinstance(exc, Exception):  # the SDK logs an Exception, and goes on
            outermost = state.outermost()
            ended += [other for other, each in self._spans.items() if each.outermost() is outermost][::-1]
        for each in ended:
            self._spans.pop(each, None)
            if _recorded_by.get(each) is self:
                del _recorded_by[each]
            self._ledger.finish(each, error=exc)

    def _locate(self, here: Node | None) -> Node | None:
        """Return the observation of the span whose code is running, if it is the inner one."""
        if not (self._spans or self._cancelled):
            return here
        span = tracing.get_current_span()
        running = span.span_id if span is not None else getattr(tracing.get_current_trace(), "trace_id", None)
        state = self._spans.get(running) if running is not None else None
        if state is None:
            return innermost(here, self._cancelled.get(span)) if span is not None else here
        return innermost(here, self._ledger.get(state.ledger_key))

    def _start_trace(self, trace: Any) -> None:
        key = trace.trace_id
        state = self._spans.get(key)
        if _recorded_by.setdefault(key, self) is not self or (state is not None and state.has_trace(trace)):
            log_once(TWO_PROCESSORS, self._client)
        elif state is not None:
            state.sdk_traces += (trace,)  # concurrent runs may have the same id, and are one trace then
        else:
            state = self._spans[key] = SpanState("trace", None, key)
            state.sdk_traces = (trace,)
            options = payloads.trace_options(trace)
            if self._joins_open_trace(trace):
                self._ledger.start_folded(key)
            else:
                state.observation = self._ledger.start(key, ObservationType.CHAIN, trace.name, trace=options)

    def _joins_open_trace(self, trace: Any) -> bool:
        """Whether a FluxLoop trace is open here, which the SDK's *trace* becomes part of without a level of its own."""
        here = self._ledger.tracer.recording_here()
        if here is None or here.trace.is_closed:
            return False
        name_session(here.trace, getattr(trace, "group_id", None))
        return True

    def _end_trace(self, trace: Any) -> None:
        key = trace.trace_id
        state = self._spans.get(key)
        if state is None or not state.end_trace(trace):
            return
        del self._spans[key]
        _recorded_by.pop(key, None)
        failure = state.failure_at_end(None)
        if failure is not None and failure is state.failure and not internals.is_trace_of_run():
            failure = None  # the program caught what the run inside raised, and went on
        self._finish(key, state, Ending(failure, state.input, state.output))

    def _start_span(self, span: Any) -> None:
        key, data = span.span_id, span.span_data
        if key in self._spans:
            return
        parent = self._spans.get(span.parent_id or span.trace_id)
        if parent is None and (span.parent_id is not None or span.trace_id in _recorded_by):
            return  # its parent has ended, or belongs to another processor
        kind = data.type
        state = self._spans[key] = SpanState(kind, parent, key)
        if parent is not None and kind in STEPS and not self._show_all:
            state.ledger_key = parent.ledger_key
            return
        if kind in MODEL_CALLS:
            self._start_model_call(state)
        where: dict[str, Any] = {}
        if parent is not None:
            where["parent"] = parent.ledger_key
        else:  # of a resumed run, whose trace the SDK does not report
            trace = tracing.get_current_trace()
            if kind in STEPS and not self._show_all and self._joins_open_trace(trace):
                self._ledger.start_folded(key)
                return
            where["trace"] = payloads.trace_options(trace)
        state.observation = self._ledger.start(
            key, payloads.TYPES.get(kind, ObservationType.SPAN), payloads.name_of(data, kind), **where
        )
        if kind == "function":
            self._start_tool(state, data.name)

    def _start_model_call(self, state: SpanState) -> None:
        state.model_call = call = internals.model_call_here()
        if (agent := state.agent()) is not None:
            if agent.model_call is None and call is not None and agent.is_resumed():
                rejected = payloads.answered_calls(call.input)  # and those that tools received since the approval
                agent.pending_calls = {key: rejected[key] for key in rejected.keys() - agent.received_calls}
            self._end_pending_calls(agent, None, call.input if call is not None else None)
            agent.model_call = call

    def _start_tool(self, state: SpanState, name: str) -> None:
        tool, call_id = internals.tool_call_here()
        agent = state.agent()
        if tool is None and agent is not None and agent.model_call is not None:
            tool = next((each for each in agent.model_call.tools if each.name == name), None)
        state.tool = tool
        state.receive_call(name, call_id)
        if state.observation is not None:
            if call_id is not None:
                state.observation.add_metadata(tool_call_id=call_id)
            state.observation.tool_matcher = function_tools.matcher_of(name, tool)

    def _end_pending_calls(self, agent: SpanState, failure: Failure | None, given: object) -> None:
        """
        Record the tool calls that the last answer of the model asked for and no tool received.

        Args:
            agent: The state of the agent's span.
            failure: The failure of the agent, if it ends.
            given: The input of the next model call, if there is one.
        """
        pending, agent.pending_calls = agent.pending_calls, {}
        known = {tool.name for tool in agent.model_call.tools} if agent.model_call is not None else ()
        for call_id, (name, asked) in pending.items():
            key = f"{agent.ledger_key}/{call_id}"
            error: BaseException | str = f"Tool {name} not found"
            if (output := payloads.tool_output(given, call_id)) is not None:
                error = str(output)
            elif name in known:
                error = CancelledError("the run ended before the tool was called")
            elif failure is not None and isinstance(failure[0], ModelBehaviorError):
                error = failure[0]
            self._ledger.start(key, ObservationType.TOOL, name, parent=agent.ledger_key, input=asked)
            self._ledger.finish(key, error=error, metadata={"tool_call_id": call_id})

    def _end_span(self, span: Any) -> None:
        key = span.span_id
        state = self._spans.pop(key, None)
        if state is None:
            return
        if state.observation is None and state.kind not in RUNS:
            self._ledger.finish(key)
            return
        ending = ending_of(state, span)
        if state.kind == "agent":
            self._end_pending_calls(state, ending.failure, None)
        elif state.kind == "function" and is_cancellation(ending.failure):
            self._cancelled[span] = state.observation
        self._finish(key, state, ending)

    def _finish(self, key: str, state: SpanState, ending: Ending) -> None:
        observation = state.observation
        if observation is None:
            if state.ledger_key == key:  # the status matters to what it leaves open
                self._ledger.finish(key, error=ending.failure and ending.failure[0])
            return
        error, details = ending.failure or (None, None)
        status = Status.INTERRUPTED if state.awaits_approval and error is None else None
        inside = observation.claimed_result
        if inside is not None and inside[0] is not Status.SUCCESS:
            if inside[0] is Status.CANCELLED and isinstance(error, Exception):
                observation.claimed_result = None  # it took too long, and the SDK raises that as an exception
            else:
                error, status, details = None, Status.ERROR, None  # the function inside recorded the exception
        has_output = state.kind not in RUNS or (error is None and not state.awaits_approval)
        self._ledger.finish(
            key,
            input=ending.input,
            output=ending.output if has_output else NOTHING,
            error=error,
            status=status,
            metadata={**(ending.metadata or {}), **(details or {})} or None,
            fields=ending.fields,
        )


def observation_of(trace_id: str | None) -> OpenObservation | None:
    """Return the open observation of the SDK's trace *trace_id*; None if it is not recorded."""
    processor = _recorded_by.get(trace_id) if trace_id is not None else None
    return processor._ledger.get(trace_id) if processor is not None else None


def span_state_of(span: tracing.Span[Any] | None) -> SpanState | None:
    """Return the state of the SDK's open *span*; None if it is not recorded."""
    if span is None:
        return None
    states = (processor._spans.get(span.span_id) for processor in list(_processors))
    return next((state for state in states if state is not None), None)


_processors: WeakSet[FluxLoopTracingProcessor] = WeakSet()

_FLUSH_S = 5.0
"""The time limit of the SDK's own flush, in seconds."""

_recorded_by: dict[str, FluxLoopTracingProcessor] = {}
"""The processor that records each open trace of the SDK: the first of FluxLoop's that it was reported to."""

TWO_PROCESSORS = (
    "a FluxLoopTracingProcessor is registered twice: the first one records each run, the others record nothing. "
    "Call fluxloop_custom.openai_agents.install() once, and add no FluxLoopTracingProcessor yourself"
)
