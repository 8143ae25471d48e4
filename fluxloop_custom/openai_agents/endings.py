"""
What is recorded at the end of a span of the Agents SDK: its failure, its input and output, and further fields.

The SDK's span data have part of it; the rest comes from the functions that run while the span ends, and from the
spans inside. A run passes its failure on to the run that it is part of.
"""

from __future__ import annotations

from asyncio import CancelledError
from typing import Any, NamedTuple

from agents import OpenAIResponsesModel

from fluxloop.bridge import NOTHING, add_whole
from fluxloop.llm.token_counts import add_usage

from . import function_tools, internals, payloads
from .spans import MODEL_CALLS, RUNS, Failure, SpanState, is_cancellation


class Ending(NamedTuple):
    """The end of a span."""

    failure: Failure | None
    input: object = NOTHING
    output: object = NOTHING
    fields: payloads.Fields | None = None
    """Top-level fields of the record, such as the model."""
    metadata: payloads.Fields | None = None


def ending_of(state: SpanState, span: Any) -> Ending:
    """Return the ending of *span*, and pass on to the spans around it what concerns them."""
    if state.kind in RUNS:
        return _run(state, span)
    if state.kind in MODEL_CALLS:
        return _model_call(state, span)
    if state.kind == "function":
        return _tool(state, span)
    failure = state.failure_at_end(span.error)
    if state.kind == "handoff":
        state.set_output(NOTHING)
    elif state.kind == "guardrail":
        if span.span_data.triggered and state.observation is not None:
            state.observation.level = "WARNING"
        if failure is not None and state.parent is not None:
            state.parent.failure = failure
    return Ending(failure, *payloads.READERS.get(state.kind, payloads.other)(span.span_data))


def _run(state: SpanState, span: Any) -> Ending:
    data, failure, outer = span.span_data, state.failure_at_end(span.error), state.reports_to
    if state.kind == "turn" and not state.has_model_call and (counts := payloads.usage(data.usage)):
        state.turn_usage += (counts,)
    if state.parent is not None:
        state.parent.awaits_approval = state.awaits_approval
    if outer is not None and outer.kind in RUNS and (outer.failure is None or not is_cancellation(failure)):
        outer.failure = failure
    if state.kind == "agent":
        usage = {"usage": add_usage(state.turn_usage)}
        return Ending(failure, state.input, state.output, usage, payloads.agent(data))
    if outer is not None:
        outer.turn_usage += state.turn_usage
    return Ending(failure, state.input, state.output)


def _model_call(state: SpanState, span: Any) -> Ending:
    asked, answer, fields = payloads.model_call(span.span_data)
    if state.observation is not None and answer is not NOTHING:
        add_whole(state.observation, value=getattr(span.span_data, "response", None) or span.span_data.output)
    response = internals.response_here() if answer is NOTHING else None
    call = state.model_call
    is_open = call is not None and call.includes_data
    if state.observation is not None and state.kept_events is not None and is_open:
        state.kept_events.record(state.observation)
    if answer is NOTHING and call is not None and not is_open:
        state.redact()
    failure = state.failure_at_end(span.error)
    if failure is None and call is not None and _has_no_answer(call, asked, response):
        failure = "no final response came", {}  # the stream broke off, and the span has no error
    if answer is not NOTHING and failure is not None and isinstance(failure[0], GeneratorExit):
        failure = None  # the program closed the stream after the last event
    if response is not None:
        refused, found = payloads.answer(response)
        answer, fields = refused if is_open else NOTHING, _merged(fields, found)
    if asked is NOTHING and call is not None and is_open:
        asked, requested = payloads.request(call)
        fields = _merged(requested, fields)
    state.add_model_call(payloads.question_of(asked), payloads.text_of(answer))
    state.add_pending_calls(payloads.tool_calls(answer))
    return Ending(failure, asked, answer, fields, payloads.schemas(call) if call is not None and is_open else None)


def _has_no_answer(call: internals.ModelCall, asked: object, response: Any) -> bool:
    """Whether the stream of *call* broke off without an error: the SDK's model reports a final response only."""
    if not isinstance(call.model, OpenAIResponsesModel):
        return False
    if call.includes_data:
        return asked is NOTHING
    return call.is_streamed and getattr(response, "status", None) != "completed"


def _merged(fields: payloads.Fields, known: payloads.Fields) -> payloads.Fields:
    return {**fields, **{name: value for name, value in known.items() if value is not None}}


def _tool(state: SpanState, span: Any) -> Ending:
    data, observation = span.span_data, state.observation
    is_recorded_inside = observation is not None and observation.claimed_result is not None
    if data.input is None:
        state.redact()
        if observation is not None:
            observation.drop_captured()
    output = NOTHING if data.output is None else data.output
    failure = _failure_of_tool(state, span, output, is_recorded_inside=is_recorded_inside)
    if output is not NOTHING or failure is not None or is_recorded_inside:
        state.awaits_approval = False
    elif data.input is not None if state.tool is None else getattr(state.tool, "needs_approval", False):
        state.awaits_approval = state.awaits_approval or internals.awaits_approval(state.tool)
    state.set_output(output)
    asked = NOTHING if is_recorded_inside or data.input is None else function_tools.read_arguments(data.input)
    mcp = getattr(data, "mcp_data", None)
    return Ending(failure, asked, output, None, {"mcp": mcp} if mcp else None)


def _failure_of_tool(state: SpanState, span: Any, output: object, *, is_recorded_inside: bool) -> Failure | None:
    """Return the failure of a tool: it raised, took too long, or was rejected by a guardrail."""
    failure = state.failure_at_end(span.error)
    if failure is None and output is not NOTHING:
        if internals.has_timed_out(state.tool, output, payloads.duration_s(span)):
            return CancelledError(), {}
        if not is_recorded_inside and (guardrail := internals.rejecting_guardrail(state.tool, output)):
            return str(output), {"rejected_by": guardrail}
    return failure
