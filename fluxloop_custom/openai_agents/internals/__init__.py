"""
Every part of the Agents SDK that FluxLoop reads and that is not public API.

Stack frames, closures, private attributes and texts are read here and nowhere else; each docstring states what is
lost when a release changes them. A missing part is reported once, and only costs detail: never an exception, a wrong
status, or a trace that is sent over the network.
"""

from __future__ import annotations

from functools import cache
from inspect import unwrap

from agents import FunctionTool, OpenAIResponsesModel, function_tool

from .exporting import is_off, processors
from .parts import in_sdk, is_called_by_sdk, missing
from .running_spans import (
    ModelCall,
    awaits_approval,
    is_trace_of_run,
    model_call_here,
    model_call_of,
    rejecting_guardrail,
    response_here,
    tool_call_here,
)
from .texts import REDACTED, chat_messages, has_timed_out, is_redacted, output_items, timeout_notice
from .tools import INVOKER, function_in, functions_in, invoker_of, replaced, runs_agent

__all__ = [
    "INVOKER",
    "REDACTED",
    "ModelCall",
    "awaits_approval",
    "chat_messages",
    "function_in",
    "functions_in",
    "has_timed_out",
    "in_sdk",
    "invoker_of",
    "is_called_by_sdk",
    "is_off",
    "is_redacted",
    "is_trace_of_run",
    "model_call_here",
    "model_call_of",
    "output_items",
    "probe",
    "processors",
    "rejecting_guardrail",
    "replaced",
    "response_here",
    "runs_agent",
    "tool_call_here",
]


@cache
def probe() -> None:
    """Report what the installed release lacks. `processors` and `tool_call_here` report their parts themselves."""
    if function_in(function_tool(lambda: None, name_override="probe")) is None:
        missing("the function in a FunctionTool", "the text that the SDK makes of a tool's error looks like a result")
    code = unwrap(OpenAIResponsesModel.get_response).__code__  # a replay may have replaced the method
    if REDACTED not in code.co_consts and "__name__" not in code.co_names:
        missing("the text of a redacted error", "errors other than a model's are recorded as the SDK words them")
    if hasattr(FunctionTool, "timeout_seconds") and timeout_notice() is None:
        missing("default_tool_timeout_error_message", "a tool took too long if its call did, hooks included")
