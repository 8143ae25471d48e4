"""
Read LangChain's objects into plain data: their object in, our JSON out.

The readers look at what objects store and call none of their methods. They pick what belongs in a record: of a
model's invocation parameters only those known to be settings, as credentials lie beside them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from langchain_core.documents import Document
from langchain_core.messages import BaseMessage
from langchain_core.prompt_values import ChatPromptValue, StringPromptValue
from langchain_core.runnables import AddableDict

from fluxloop.bridge import read_facts

ROLES = {
    "human": "user",
    "ai": "assistant",
    "HumanMessageChunk": "user",
    "AIMessageChunk": "assistant",
    "SystemMessageChunk": "system",
    "ToolMessageChunk": "tool",
    "FunctionMessageChunk": "function",
}
"""LangChain's message types in the words of the field; the others are called the same."""

_ANSWER = ("tool_calls", "invalid_tool_calls")
_RESULT = ("tool_call_id", "artifact", "status")
SAYS = {"ai": _ANSWER, "AIMessageChunk": _ANSWER, "tool": _RESULT, "ToolMessageChunk": _RESULT, "remove": ("id",)}
"""What messages of a type say beside role, content and name."""

PARAMETERS = frozenset(
    {
        *("temperature", "top_p", "top_k", "seed", "n", "stop", "stop_sequences", "logprobs", "service_tier"),
        *("max_tokens", "max_completion_tokens", "max_output_tokens", "max_tokens_to_sample", "num_predict"),
        *("presence_penalty", "frequency_penalty", "repeat_penalty", "reasoning", "reasoning_effort", "thinking"),
        *("thinking_budget", "verbosity", "tool_choice", "parallel_tool_calls", "response_format", "num_ctx"),
    }
)
"""Invocation parameters that are recorded: settings of a model, never credentials or endpoints."""

SCORES = ("score", "relevance_score", "similarity_score", "_score")
"""Where vector stores and rerankers leave a document's score in its metadata."""


def readable(value: Any) -> object:
    """Return *value* with the messages, prompts and documents at its top, in a list or in a dict, as plain data."""
    if type(value) in _DICTS:
        return {name: _part(item) for name, item in value.copy().items()}
    return _part(value)


_DICTS: frozenset[type] = frozenset((dict, AddableDict))
"""What chains take and give; a streamed one puts its output together in LangChain's own kind."""


def _part(value: Any) -> object:
    if type(value) is list:
        return [read(item) if (read := _reader(type(item))) else item for item in value.copy()]
    read = _reader(type(value))
    return read(value) if read else value


def _reader(kind: type) -> Callable[[Any], object] | None:
    """Return what reads objects of *kind*; None for what is recorded as it is."""
    try:
        return _readers[kind]
    except KeyError:
        read = next((read for base, read in _BY_BASE.items() if issubclass(kind, base)), None)
        if len(_readers) < MOST_TYPES:
            _readers[kind] = read
        return read


_readers: dict[type, Callable[[Any], object] | None] = {}

MOST_TYPES = 1_000
"""Types remembered; a program that makes ever new ones must not make us grow."""


def same(value: object) -> object:
    """Return *value*."""
    return value


def only(batch: Any) -> object:
    """Return what one run was given, which langchain-core wraps in a list of one."""
    return batch[0] if len(batch) == 1 else batch


def message(value: Any) -> object:
    """Return a message as role, content, tool_calls and whatever else it says; what is empty is left out."""
    held = getattr(value, "__dict__", None)
    if not held or "content" not in held:
        return value
    kind = held.get("type")
    said: dict[str, Any] = {"role": held.get("role") or ROLES.get(kind, kind), "content": held["content"]}
    for name in SAYS.get(kind, ()):
        if item := held.get(name):
            said[name] = item
    if calls := said.get("tool_calls"):
        said["tool_calls"] = [{name: item for name, item in call.items() if name != "type"} for call in calls]
    if said.get("status") == "success":
        del said["status"]
    if name := held.get("name"):
        said["name"] = name
    if extra := held.get("additional_kwargs"):
        _add_extra(said, extra)
    return said


def _add_extra(said: dict[str, Any], extra: Mapping[str, Any]) -> None:
    """Add what providers leave beside the standard fields; their own spelling of the tool calls says nothing new."""
    if thought := extra.get("reasoning_content"):
        said["reasoning"] = thought
    beside = {name: item for name, item in extra.items() if name not in ("reasoning_content", "tool_calls") and item}
    if beside:
        said["additional_kwargs"] = beside


def answer(response: Any) -> object:
    """Return what a model said, from its ``LLMResult``: a message or a text; a list where it gave several."""
    return only([_generation(one) for row in response.generations for one in row])


def _generation(generation: Any) -> object:
    answered = getattr(generation, "message", None)
    return message(answered) if answered is not None else getattr(generation, "text", generation)


def model_fields(metadata: Mapping[str, Any], parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return model, provider and model_parameters, as far as the start of a run tells them."""
    model = metadata.get("ls_model_name")
    if model is None:
        model = parameters.get("model") or parameters.get("model_name") or parameters.get("model_id")
    known = {name: item for name, item in parameters.items() if name in PARAMETERS and item is not None}
    for name in ("temperature", "max_tokens", "stop"):
        if name not in known and (item := metadata.get(f"ls_{name}")) is not None:
            known[name] = item
    return {"model": model, "provider": metadata.get("ls_provider"), "model_parameters": known or None}


def tool_names(parameters: Mapping[str, Any]) -> list[str]:
    """Return the names of the tools a model was offered."""
    offered = parameters.get("tools") or parameters.get("functions") or ()
    names = [one.get("name") or (one.get("function") or {}).get("name") for one in offered if isinstance(one, dict)]
    return [name for name in names if name]


def response_fields(response: Any) -> dict[str, Any]:
    """Return usage, model and finish_reasons, as the end of a run tells them; an answer from a cache has no usage."""
    facts = read_facts(response) if response.llm_output or any(map(_tells, response.generations)) else None
    if facts is None:
        return {}
    fields = {"model": facts.model, "finish_reasons": facts.finish_reasons}
    return fields if is_cached(response) else {"usage": facts.usage, **fields}


def _tells(row: list[Any]) -> bool:
    """Whether any of the generations says something about the call; those of fakes and of some local models do not."""
    for one in row:
        said = getattr(one, "message", one)
        if one.generation_info or getattr(said, "usage_metadata", None) or getattr(said, "response_metadata", None):
            return True
    return False


def is_cached(response: Any) -> bool:
    """Whether the answer came from LangChain's cache, which marks it by a cost of zero."""
    for row in response.generations:
        for one in row:
            usage = getattr(getattr(one, "message", None), "usage_metadata", None) or {}
            return usage.get("total_cost") == 0
    return False


def documents(found: Any) -> object:
    """Return what a retriever found: page_content, metadata, and id and score where there is one."""
    return [_document(one) for one in found] if isinstance(found, list | tuple) else found


def _document(value: Any) -> object:
    held = getattr(value, "__dict__", None)
    if not held or "page_content" not in held:
        return value
    said = {"page_content": held["page_content"], "metadata": held.get("metadata")}
    if held.get("id") is not None:
        said["id"] = held["id"]
    about = held.get("metadata") or {}
    for name in SCORES:
        if name in about:
            said["score"] = about[name]
            break
    return said


def tool_output(output: Any) -> object:
    """Return what a tool gave back: of the message made of it, the content, and the artifact where there is one."""
    held = getattr(output, "__dict__", None)
    if not held or held.get("type") != "tool" or "content" not in held:
        return output
    artifact = held.get("artifact")
    return held["content"] if artifact is None else {"content": held["content"], "artifact": artifact}


def tool_call_id(output: Any) -> str | None:
    """Return the id of the model's call that a tool's output answers, where it is a message."""
    return (getattr(output, "__dict__", None) or {}).get("tool_call_id")


def tool_failure(output: Any) -> str | None:
    """Return what a tool told the model instead of raising, where LangChain turned its error into a message."""
    held = getattr(output, "__dict__", None)
    if held and held.get("type") == "tool" and held.get("status") == "error":
        return str(held.get("content"))
    return None


_BY_BASE: dict[type, Callable[[Any], object]] = {
    BaseMessage: message,
    Document: _document,
    ChatPromptValue: lambda value: {"messages": [message(one) for one in value.messages]},
    StringPromptValue: lambda value: value.text,
}
"""What reads LangChain's own data; subclasses are read alike."""


def retry(state: Any) -> dict[str, Any]:
    """Return what tenacity tells about a retry: the attempt that failed, why, and the wait before the next."""
    outcome = getattr(state, "outcome", None)
    failed = outcome.exception() if outcome is not None and outcome.done() and outcome.failed else None
    waits = getattr(getattr(state, "next_action", None), "sleep", None)
    told = {"attempt": getattr(state, "attempt_number", None), "error": failed, "wait_s": waits}
    return {name: item for name, item in told.items() if item is not None}


def attributes(value: Any) -> object:
    """Return an agent's action or finish, which are small serializable objects, as the fields they declare."""
    held = getattr(value, "__dict__", None) or {}
    return {name: item for name, item in held.items() if name != "type" and item not in (None, "", [])}
