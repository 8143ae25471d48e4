"""
Small readers of the Agents SDK's span data: its object in, our JSON out.

The objects themselves are read, not their ``export()``, which leaves the input out and calls ``str`` on outputs.
With the SDK's ``trace_include_sensitive_data`` off they hold neither inputs nor outputs, and so do our records.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from fluxloop import ObservationType
from fluxloop.bridge import NOTHING
from fluxloop.llm.token_counts import read_usage

Fields = dict[str, Any]

Told = tuple[object, object, Fields | None]
"""What a span tells: its input, its output, and fields of the record."""

_AROUND_WORDS = frozenset({"role", "content", "id", "type", "status"})
"""What a message has that says nothing but its words."""

_PARAMETERS = frozenset(
    {
        *("temperature", "top_p", "max_tokens", "frequency_penalty", "presence_penalty", "tool_choice", "truncation"),
        *("parallel_tool_calls", "reasoning", "verbosity", "store", "service_tier", "top_logprobs"),
    }
)
"""Model settings that are recorded; others may hold headers and keys."""


def about(trace: Any) -> Fields:
    """Return what a trace of ours is opened with for one of the SDK's."""
    if trace is None:
        return {}
    metadata = {**(getattr(trace, "metadata", None) or {}), "agents_trace_id": trace.trace_id}
    return {"session_id": getattr(trace, "group_id", None), "metadata": metadata}


def name_of(data: Any, kind: str) -> str:
    """Return what the observation of a span is called."""
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
    fields = {
        "model": getattr(response, "model", None),
        "usage": usage(getattr(response, "usage", None) or getattr(data, "usage", None)),
        "model_parameters": _kept({name: getattr(response, name, None) for name in _PARAMETERS}),
        "finish_reasons": _finish(response),
    }
    instructions = getattr(response, "instructions", None)
    given = _given(data.input)
    if instructions and isinstance(given, list):
        given = [{"role": "system", "content": _plain(instructions)}, *given]
    return given, _answer(response.output), fields


def unanswered(model: Any, instructions: Any, given: Any) -> tuple[object, Fields]:
    """Return input and record fields of a model call that the SDK tells nothing of, since no answer came."""
    asked = _given(given)
    if instructions and isinstance(asked, list):
        asked = [{"role": "system", "content": instructions}, *asked]
    name = getattr(model, "model", None)
    return asked, {"model": name if isinstance(name, str) else None}


def usage(reported: object) -> dict[str, int] | None:
    """Return token counts in our words; None where none, or none but zeros, were reported."""
    counts = read_usage(reported) if reported is not None else None
    return counts if counts and any(counts.values()) else None


def text_of(output: object) -> object:
    """Return the words of a model's last message: what its agent ends with, unless it goes on."""
    if isinstance(output, list):
        messages = [item for item in output if isinstance(item, dict) and item.get("role") == "assistant"]
        output = messages[-1].get("content") if messages else None
    return output if isinstance(output, str) else NOTHING


def question_of(given: object) -> object:
    """Return what an agent was asked: the words of the only message, or the messages."""
    if not isinstance(given, list):
        return given
    messages = [item for item in given if not (isinstance(item, dict) and item.get("role") == "system")]
    if len(messages) == 1 and isinstance(messages[0], dict) and isinstance(messages[0].get("content"), str):
        return messages[0]["content"]
    return messages


def arguments(data: Any) -> object:
    """Return a function span's arguments, as data where they are JSON."""
    text = data.input
    if text is None:
        return NOTHING
    try:
        return json.loads(text) if text else {}
    except (TypeError, ValueError):
        return text


def agent(data: Any) -> Fields:
    """Return the metadata of an agent span."""
    known = {name: getattr(data, name, None) for name in ("tools", "handoffs", "output_type", "metadata")}
    return {name: value for name, value in known.items() if value}


def handoff(data: Any) -> Told:
    """Return where a handoff came from, and where it went, if it went anywhere."""
    return {"from_agent": data.from_agent}, {"to_agent": data.to_agent} if data.to_agent else NOTHING, {}


def guardrail(data: Any) -> Told:
    """Return whether a guardrail stopped the run."""
    return NOTHING, {"triggered": data.triggered}, {}


def mcp_tools(data: Any) -> Told:
    """Return the names of the tools a server offers."""
    return NOTHING, data.result if data.result is not None else NOTHING, {}


def custom(data: Any) -> Told:
    """Return what the user put into a custom span."""
    return NOTHING, data.data or NOTHING, {}


def voice(data: Any) -> Told:
    """Return a transcription or a synthesis: its words, and of the sound only format and size."""
    sides = []
    for side, sound_format in (("input", "input_format"), ("output", "output_format")):
        value = getattr(data, side, None)
        if value is not None and hasattr(data, sound_format):
            value = {"format": getattr(data, sound_format), "base64_characters": len(value)}
        sides.append(NOTHING if value is None else value)
    fields = {"model": getattr(data, "model", None), "model_parameters": _kept(getattr(data, "model_config", None))}
    return sides[0], sides[1], fields


def other(data: Any) -> Told:
    """Return what a span of a kind we do not know holds as input and output."""
    sides = (getattr(data, side, None) for side in ("input", "output"))
    given, output = (NOTHING if side is None else side for side in sides)
    return given, output, {}


def _given(given: Any) -> object:
    """Return a model's input as a list of messages and items."""
    if given is None:
        return NOTHING
    return [{"role": "user", "content": given}] if isinstance(given, str) else [_plain(item) for item in given]


def _plain(value: Any) -> Any:
    """Return a pydantic object of the SDK's as a dict, without what is not set; anything else as it is."""
    dump = getattr(value, "model_dump", None)
    return value if dump is None else dump(exclude_none=True, warnings=False)


def _answer(output: Any) -> object:
    """Return a model's output items; the words alone, where it said nothing else."""
    if not isinstance(output, list):
        return _plain(output)
    if len(output) == 1 and isinstance(output[0], dict) and output[0].get("object") == "response":
        output = output[0].get("output") or []  # chat completions that were streamed are told of as a response
    items = [_item(each) for each in output]
    if len(items) == 1 and isinstance(items[0], dict) and items[0].keys() <= _AROUND_WORDS:
        words = items[0].get("content")
        return words if isinstance(words, str) else items
    return items


def _item(item: Any) -> Any:
    """Return an item of a model's output, an object of the SDK's or such an object dumped, without what is not set."""
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
    """Return a message in the short form of role and words, with what it cites; None where it holds anything else."""
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
"""Our type of each of the SDK's span types; SPAN for all others."""

READERS: dict[str, Callable[[Any], Told]] = {
    "transcription": voice,
    "speech": voice,
    "handoff": handoff,
    "guardrail": guardrail,
    "mcp_tools": mcp_tools,
    "custom": custom,
}
"""What reads input, output and fields of a span that has ended, where that is no model call of an agent's."""
