"""
The SDK's functions that run while a span starts or ends: the call of a tool or a model, read from their variables.

The functions here that end in ``_here``, and `awaits_approval`, `rejecting_guardrail` and `is_trace_of_run`, read the
stack, so only the processor's own methods may call them.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from types import FrameType
from typing import Any, NamedTuple

import agents
from agents import items
from openai.types.chat import ChatCompletion
from openai.types.responses import Response

from .parts import missing

MAX_FRAMES = 16
"""Frames examined per span: a processor is about ten frames below the function that opens the span."""

_TOOL, _CALL, _RESULT = "func_tool", "tool_call", "result"
"""Variables of the function that opens the span of a tool: the tool, the model's call of it, its result."""


def _runs_other(frame: FrameType | None) -> bool:
    """Whether the span is of a shell, an editor or a computer, which have a function of their own for it."""
    return frame is not None and frame.f_code.co_name == "with_tool_function_span"


def tool_call_here() -> tuple[Any, str | None]:
    """
    Return the tool, and the id of its call, whose span starts now; None for each one that is unknown.

    Without it, the tool is the one of its name among the tools that the model was given, and calls have no id.
    """
    frame, caller = _tool_frame(), _caller()
    known = {} if frame is None else frame.f_locals
    call_id = getattr(known.get(_CALL), "call_id", None)
    if call_id is None and caller is not None and _module(caller).startswith("agents.") and not _runs_other(caller):
        missing(
            f"a local variable {_TOOL} or {_CALL}", "tool calls have no call id, and tools are found by their names"
        )
    return known.get(_TOOL), call_id if isinstance(call_id, str) else None


def awaits_approval(tool: Any) -> bool:
    """
    Whether the call of *tool*, which may need an approval and has no output as its span ends now, waits for it.

    Without the variables, every such call counts as waiting.
    """
    frame = _tool_frame()
    if frame is None:  # a shell, an editor or a computer always has an output after it ran
        return tool is not None or _runs_other(_caller())
    if _RESULT not in frame.f_locals and _RESULT in (*frame.f_code.co_varnames, *frame.f_code.co_cellvars):
        return True  # releases before 0.9 return before they assign it
    found = [getattr(value, "run_item", None) for value in frame.f_locals.values()]
    return any(item is not None and not isinstance(item, items.ToolCallOutputItem) for item in found)


def rejecting_guardrail(tool: Any, output: object) -> str | None:
    """
    Return the name of the input guardrail that put *output* in the place of a call of *tool*, whose span ends now.

    It is found by its public result. Without it, a call that a guardrail rejected ends as a success with that output.
    """
    if tool is not None and not getattr(tool, "tool_input_guardrails", None):
        return None  # nearly every tool: the search below takes a twentieth of recording a run
    frame = _tool_frame()
    known = {} if frame is None else frame.f_locals
    kind: Any = getattr(agents, "ToolInputGuardrailResult", ())
    for values in (*known.values(), *getattr(known.get("self"), "__dict__", {}).values()):
        for result in values if isinstance(values, list) else ():
            if isinstance(result, kind):
                behavior = result.output.behavior
                if behavior["type"] == "reject_content" and behavior["message"] == output:
                    return str(result.guardrail.get_name())
    return None


class ModelCall(NamedTuple):
    """The call of a model, by the parameters of the public ``Model`` interface."""

    model: Any
    instructions: Any
    input: Any
    includes_data: bool
    """Whether the run lets input, output and errors into the trace."""
    tools: tuple[Any, ...]
    handoffs: tuple[Any, ...]
    output_schema: Any
    is_streamed: bool


def model_call_here() -> ModelCall | None:
    """
    Return the call of the model whose span starts or ends now; None if it is unknown.

    Without it, a call that failed has no input, schemas are unknown, and tool calls that no tool got are not recorded.
    """
    frame = _caller()
    replayed = frame.f_locals.get("model_call") if frame is not None else None
    if isinstance(replayed, ModelCall):
        return replayed
    if frame is None or frame.f_code.co_name not in ("get_response", "stream_response"):
        return None
    if getattr(frame.f_locals.get("tracing"), "include_data", None) is None:
        return None
    return model_call_of(frame.f_locals, is_streamed=frame.f_code.co_name == "stream_response")


def model_call_of(given: Mapping[str, Any], *, is_streamed: bool) -> ModelCall:
    """Return the call of a model with the arguments *given*, by the names of the parameters."""
    get = given.get
    return ModelCall(
        get("self"),
        get("system_instructions"),
        get("input"),
        bool(given["tracing"].include_data()),
        tuple(get("tools") or ()),
        tuple(get("handoffs") or ()),
        get("output_schema"),
        is_streamed=is_streamed,
    )


def response_here() -> Response | ChatCompletion | None:
    """
    Return the provider's response to the model call whose span ends now with an error.

    It is found by its class, among the variables and their ``response``. Without it, a response that was paid for
    and refused, such as one that a content filter stopped, has neither output nor usage.
    """
    frame = _caller()
    for value in frame.f_locals.values() if frame is not None else ():
        for found in (value, getattr(value, "response", None)):
            if isinstance(found, Response | ChatCompletion):
                return found
    return None


def is_trace_of_run() -> bool:
    """Whether the SDK opened the trace that ends now for a run; else the program did, with ``trace()``."""
    frame = _caller()
    return frame is not None and _module(frame).startswith("agents.")


def _caller() -> FrameType | None:
    """Return the frame that starts or ends the span or trace: the first one outside the SDK's tracing package."""
    frame = _first(sys._getframe(2), _in_tracing)
    while frame is not None and (_in_tracing(frame) or _module(frame) == "contextlib"):
        frame = frame.f_back
    return frame


def _tool_frame() -> FrameType | None:
    """Return the frame of the function that opens the span of a tool."""
    return _first(sys._getframe(2), lambda frame: _TOOL in (*frame.f_code.co_varnames, *frame.f_code.co_cellvars))


def _first(frame: FrameType | None, matches: Callable[[FrameType], bool]) -> FrameType | None:
    for _ in range(MAX_FRAMES):
        if frame is None or matches(frame):
            return frame
        frame = frame.f_back
    return None


def _in_tracing(frame: FrameType) -> bool:
    return _module(frame).startswith("agents.tracing.")


def _module(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__"))
