"""
Readers of the Agents SDK's span data: they take an object of the SDK and return JSON.

They read the objects and not their ``export()``, which omits inputs and calls ``str`` on outputs. With the SDK's
``trace_include_sensitive_data`` off, the objects have neither inputs nor outputs, and so have the records.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from itertools import takewhile
from typing import Any

from fluxloop import ObservationType
from fluxloop.bridge import NOTHING
from fluxloop.llm.token_counts import read_usage

from .function_tools import read_arguments
from .internals import ModelCall

Fields = dict[str, Any]

Sides = tuple[object, object, Fields | None]
"""The input of a span, its output, and top-level fields of the record."""

_TEXT_MESSAGE = frozenset({"role", "content", "id", "type", "status"})
"""The keys of a message that has nothing but text."""

_PARAMETERS = frozenset(
    {
        *("temperature", "top_p", "max_tokens", "frequency_penalty", "presence_penalty", "tool_choice", "truncation"),
        *("parallel_tool_calls", "reasoning", "verbosity", "store", "service_tier", "top_logprobs"),
    }
)
"""Model settings that are recorded; others may hold headers and keys."""


def trace_options(trace: Any) -> Fields:
    """Return the options of the FluxLoop trace for the SDK's *trace*."""
    if trace is None:
        return {}
    metadata = {**(getattr(trace, "metadata", None) or {}), "agents_trace_id": trace.trace_id}
    return {"session_id": getattr(trace, "group_id", None), "metadata": metadata}


def name_of(data: Any, kind: str) -> str:
    """Return the name of a span's observation."""
    if kind == "turn":
        return f"turn {data.turn}"
    if kind == "mcp_tools":
        return f"list tools of {data.server}" if data.server else "list tools"
    return str(getattr(data, "name", None) or kind)


def model_call(data: Any) -> tuple[object, object, Fields]:
    """Return input, output and record fields of a generation or response span."""
    response = getattr(data, "response", None)
    if response is not None:
        return _response(data, response)
    parameters, reported = getattr(data, "model_config", None), getattr(data, "usage", None)
    fields = {"model": getattr(data, "model", None), "usage": usage(reported), "model_parameters": _kept(parameters)}
    given, output = getattr(data, "input", None), getattr(data, "output", None)
    return _given(given), _answer(output) if output else NOTHING, fields


def _response(data: Any, response: Any) -> tuple[object, object, Fields]:
    instructions, given = getattr(response, "instructions", None), _given(data.input)
    if instructions and isinstance(given, list):
        given = [{"role": "system", "content": _plain(instructions)}, *given]
    output, fields = answer(response)
    fields["usage"] = fields["usage"] or usage(getattr(data, "usage", None))
    return given, output, fields


def answer(response: Any) -> tuple[object, Fields]:
    """Return output and record fields of a provider's response, of the Responses or the Chat Completions API."""
    choices = getattr(response, "choices", None)
    reported = getattr(response, "usage", None)
    fields: Fields = {"model": getattr(response, "model", None), "usage": usage(reported)}
    if choices is not None:
        fields["finish_reasons"] = [choice.finish_reason for choice in choices if choice.finish_reason] or None
        return _answer([_plain(choice.message) for choice in choices]) if choices else NOTHING, fields
    fields["model_parameters"] = _kept({name: getattr(response, name, None) for name in _PARAMETERS})
    fields["finish_reasons"] = _finish(response)
    return _answer(response.output) if response.output else NOTHING, fields


def request(call: ModelCall) -> tuple[object, Fields]:
    """Return input and record fields of a model call whose span has neither, since it failed."""
    given = _given(call.input)
    if call.instructions and isinstance(given, list):
        given = [{"role": "system", "content": call.instructions}, *given]
    name = getattr(call.model, "model", None)
    return given, {"model": name if isinstance(name, str) else None}


def schemas(call: ModelCall) -> Fields:
    """Return the schemas that a model was given: of its tools, of handoffs, and of its output."""
    tools = [_schema(tool, tool.name, "description", "params_json_schema") for tool in call.tools]
    tools += [_schema(each, each.tool_name, "tool_description", "input_json_schema") for each in call.handoffs]
    found: Fields = {"tools": tools} if tools else {}
    output = call.output_schema
    if output is not None and not output.is_plain_text():
        found["output_schema"] = {"name": output.name(), "schema": output.json_schema()}
    return found


def _schema(tool: Any, name: str, description: str, parameters: str) -> Fields:
    known = {"description": getattr(tool, description, None), "parameters": getattr(tool, parameters, None)}
    return {"name": name, **{key: value for key, value in known.items() if value}}


def tool_calls(output: object) -> dict[str, tuple[str, object]]:
    """Return name and arguments of the function calls in a model's output, by call id."""
    found = {}
    for item in output if isinstance(output, list) else ():
        for call in [item, *(item.get("tool_calls") or ())] if isinstance(item, dict) else ():
            function = call.get("function") or (call if call.get("type") == "function_call" else {})
            call_id, name = call.get("call_id") or call.get("id"), function.get("name")
            if isinstance(call_id, str) and isinstance(name, str):
                found[call_id] = name, read_arguments(function.get("arguments"))
    return found


def answered_calls(given: object) -> dict[str, tuple[str, object]]:
    """Return name and arguments of the function calls, by call id, whose outputs end the input of a model."""
    items = [_plain(item) for item in given] if isinstance(given, list) else []
    outputs = takewhile(lambda item: isinstance(item, dict) and item.get("type") == "function_call_output", items[::-1])
    ids = [item.get("call_id") for item in outputs]
    return {call_id: call for call_id, call in tool_calls(items).items() if call_id in ids}


def tool_output(given: object, call_id: str) -> object:
    """Return what the model is given as the output of the tool call *call_id*; None if it is given none."""
    items = [_plain(item) for item in given] if isinstance(given, list) else []
    outputs = [item.get("output") for item in items if isinstance(item, dict) and item.get("call_id") == call_id]
    return next((output for output in outputs if output is not None), None)


def duration_s(span: Any) -> float:
    """Return how long a span took, by the SDK's clock, in seconds."""
    if not span.started_at or not span.ended_at:
        return 0.0
    return (datetime.fromisoformat(span.ended_at) - datetime.fromisoformat(span.started_at)).total_seconds()


def usage(reported: object) -> dict[str, int] | None:
    """Return token counts by FluxLoop's names; None if none, or only zeros, were reported."""
    counts = read_usage(reported) if reported is not None else None
    return counts if counts and any(counts.values()) else None


def text_of(output: object) -> object:
    """Return the text of a model's last message, which is the agent's output unless the model is called again."""
    if isinstance(output, list):
        messages = [item for item in output if isinstance(item, dict) and item.get("role") == "assistant"]
        output = messages[-1].get("content") if messages else None
    return output if isinstance(output, str) else NOTHING


def question_of(given: object) -> object:
    """Return the input of an agent: the text of the only message, or the messages."""
    if not isinstance(given, list):
        return given
    messages = [item for item in given if not (isinstance(item, dict) and item.get("role") == "system")]
    if len(messages) == 1 and isinstance(messages[0], dict) and isinstance(messages[0].get("content"), str):
        return messages[0]["content"]
    return messages


def agent(data: Any) -> Fields:
    """Return the metadata of an agent span."""
    known = {name: getattr(data, name, None) for name in ("tools", "handoffs", "output_type", "metadata")}
    return {name: value for name, value in known.items() if value}


def handoff(data: Any) -> Sides:
    """Return the agents of a handoff: the one it leaves, and the one it reaches, if any."""
    return {"from_agent": data.from_agent}, {"to_agent": data.to_agent} if data.to_agent else NOTHING, {}


def guardrail(data: Any) -> Sides:
    """Return whether a guardrail stopped the run."""
    return NOTHING, {"triggered": data.triggered}, {}


def mcp_tools(data: Any) -> Sides:
    """Return the names of the tools a server offers."""
    return NOTHING, data.result if data.result is not None else NOTHING, {}


def custom(data: Any) -> Sides:
    """Return the data of a custom span."""
    return NOTHING, data.data or NOTHING, {}


def voice(data: Any) -> Sides:
    """Return a transcription or a synthesis: its text, and of the audio only format and size."""
    sides = []
    for side, sound_format in (("input", "input_format"), ("output", "output_format")):
        value = getattr(data, side, None)
        if value is not None and hasattr(data, sound_format):
            value = {"format": getattr(data, sound_format), "base64_characters": len(value)}
        sides.append(NOTHING if value is None else value)
    fields = {"model": getattr(data, "model", None), "model_parameters": _kept(getattr(data, "model_config", None))}
    return sides[0], sides[1], fields


def other(data: Any) -> Sides:
    """Return input and output of a span of an unknown type."""
    sides = (getattr(data, side, None) for side in ("input", "output"))
    given, output = (NOTHING if side is None else side for side in sides)
    return given, output, {}


def _given(given: Any) -> object:
    """Return a model's input as a list of messages and items."""
    if given is None:
        return NOTHING
    return [{"role": "user", "content": given}] if isinstance(given, str) else [_plain(item) for item in given]


def given_items(given: Any) -> list[Any]:
    """Return a model's input as a list of messages and items; an empty one if there is none."""
    found = _given(given)
    return found if isinstance(found, list) else []


def _plain(value: Any) -> Any:
    """Return a pydantic object of the SDK as a dict without unset fields; other values as they are."""
    dump = getattr(value, "model_dump", None)
    return value if dump is None else dump(exclude_none=True, warnings=False)


def _answer(output: Any) -> object:
    """Return a model's output items, or the text if that is all."""
    if not isinstance(output, list):
        return _plain(output)
    if len(output) == 1 and isinstance(output[0], dict) and output[0].get("object") == "response":
        output = output[0].get("output") or []  # streamed chat completions are reported as a response
    items = [_item(each) for each in output]
    if len(items) == 1 and isinstance(items[0], dict) and items[0].keys() <= _TEXT_MESSAGE:
        text = items[0].get("content")
        return text if isinstance(text, str) else items
    return items


def _item(item: Any) -> Any:
    """Return an item of a model's output, an object or a dumped one, without unset fields."""
    fields = item if isinstance(item, dict) else getattr(item, "__dict__", {})
    kind = fields.get("type")
    if kind == "function_call":
        return {"type": kind, **{name: fields.get(name) for name in ("name", "arguments", "call_id")}}
    if kind == "message" and (message := _message(fields)) is not None:
        return message
    if not isinstance(item, dict):
        return _plain(item)
    return {name: value for name, value in item.items() if value is not None and (type(value) is not list or value)}


def _message(fields: Mapping[str, Any]) -> Fields | None:
    """Return a text message as role, text and citations; None if it has other parts."""
    parts = [part if isinstance(part, dict) else getattr(part, "__dict__", {}) for part in fields.get("content") or ()]
    if not parts or any(part.get("type") != "output_text" for part in parts):
        return None
    message = {"role": fields.get("role"), "content": "".join(part["text"] for part in parts)}
    cited = [_plain(note) for part in parts for note in part.get("annotations") or ()]
    return {**message, "annotations": cited} if cited else message


def _finish(response: Any) -> list[str] | None:
    incomplete = getattr(getattr(response, "incomplete_details", None), "reason", None)
    status = incomplete or getattr(response, "status", None)
    return [status] if status else None


def _kept(parameters: object) -> Fields | None:
    if not isinstance(parameters, Mapping):
        return None
    known = ((name, value) for name, value in parameters.items() if name in _PARAMETERS and value is not None)
    return {name: _plain(value) for name, value in known} or None


TYPES = {
    "agent": ObservationType.AGENT,
    "task": ObservationType.CHAIN,
    "turn": ObservationType.CHAIN,
    "generation": ObservationType.GENERATION,
    "response": ObservationType.GENERATION,
    "transcription": ObservationType.GENERATION,
    "speech": ObservationType.GENERATION,
    "function": ObservationType.TOOL,
    "guardrail": ObservationType.EVALUATION,
}
"""The observation type of each span type; SPAN for all others."""

READERS: dict[str, Callable[[Any], Sides]] = {
    "transcription": voice,
    "speech": voice,
    "handoff": handoff,
    "guardrail": guardrail,
    "mcp_tools": mcp_tools,
    "custom": custom,
}
"""Readers of input, output and fields by span type, for spans that are neither runs, tools nor model calls."""
