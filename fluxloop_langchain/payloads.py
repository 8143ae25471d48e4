"""
Read LangChain's objects into plain data.

The readers read attributes and call no methods. Of a model's invocation parameters they read only known settings, as
credentials are among the others.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from langchain_core.documents import Document
from langchain_core.messages import BaseMessage
from langchain_core.prompt_values import ChatPromptValue, StringPromptValue
from langchain_core.runnables import AddableDict

from fluxloop.bridge import NOTHING, read_facts, read_history, read_message

from .internals import is_cached

PARAMETERS = frozenset(
    {
        *("temperature", "top_p", "top_k", "seed", "n", "stop", "stop_sequences", "logprobs", "service_tier"),
        *("max_tokens", "max_completion_tokens", "max_output_tokens", "max_tokens_to_sample", "num_predict"),
        *("presence_penalty", "frequency_penalty", "repeat_penalty", "reasoning", "reasoning_effort", "thinking"),
        *("thinking_budget", "verbosity", "tool_choice", "parallel_tool_calls", "response_format", "num_ctx"),
    }
)
"""Invocation parameters that are recorded: settings of a model, no credentials or endpoints."""

SCORES = ("score", "relevance_score", "similarity_score", "_score")
"""The metadata keys with which vector stores and rerankers add a score to a document."""


def readable(value: Any) -> object:
    """Return *value* as plain data if it is a message, prompt or document, or a list or dict of these."""
    if type(value) in _DICTS:
        return {name: _part(item) for name, item in value.copy().items()}
    return _part(value)


_DICTS: frozenset[type] = frozenset((dict, AddableDict))
"""The dicts that chains take and return; streamed output is added up in LangChain's own class."""


def messages(given: list[Any]) -> object:
    """Return the messages for a chat model as plain data, however many there are."""
    return read_history(given, _reader) if len(given) >= HISTORY else [read_message(one) for one in given]


def _part(value: Any) -> object:
    if type(value) is list and (len(value) <= MAX_ITEMS or _reader(type(next(iter(value), None))) is read_message):
        if len(value) >= HISTORY:
            return read_history(value, _reader)
        return [read(item) if (read := _reader(type(item))) else item for item in value.copy()]
    read = _reader(type(value))
    return read(value) if read else value


def _reader(kind: type) -> Callable[[Any], object] | None:
    """Return the reader for objects of class *kind*; None if they are recorded as they are."""
    try:
        return _readers[kind]
    except KeyError:
        read = next((read for base, read in _BY_BASE.items() if issubclass(kind, base)), None)
        if len(_readers) < MAX_TYPES:
            _readers[kind] = read
        return read


_readers: dict[type, Callable[[Any], object] | None] = {}

MAX_ITEMS = 20_000
"""The length of lists whose items are read here. Longer ones are truncated before their items are read."""

HISTORY = 10
"""The length from which a list is taken for a history, whose messages are read once."""

MAX_TYPES = 1_000
"""The size of the cache of readers, for programs that create classes all the time."""


def same(value: object) -> object:
    """Return *value*."""
    return value


def only(batch: Any) -> object:
    """Return the input of one run, which langchain-core puts into a list."""
    return batch[0] if len(batch) == 1 else batch


def answer(response: Any) -> object:
    """Return the answer in an ``LLMResult``: a message or a text, or a list of several."""
    return only([_generation(one) for row in response.generations for one in row])


def _generation(generation: Any) -> object:
    answered = getattr(generation, "message", None)
    return read_message(answered) if answered is not None else getattr(generation, "text", generation)


def model_fields(metadata: Mapping[str, Any], parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return model, provider and model_parameters, as far as the start event has them."""
    model = metadata.get("ls_model_name")
    if model is None:
        model = parameters.get("model") or parameters.get("model_name") or parameters.get("model_id")
    known = {name: item for name, item in parameters.items() if name in PARAMETERS and item is not None}
    for name in ("temperature", "max_tokens", "stop"):
        if name not in known and (item := metadata.get(f"ls_{name}")) is not None:
            known[name] = item
    return {"model": model, "provider": metadata.get("ls_provider"), "model_parameters": known or None}


def schemas(parameters: Mapping[str, Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the names and definitions of the tools for a model, and the schema of its structured output."""
    offered = parameters.get("tools") or parameters.get("functions") or ()
    definitions = [one for one in offered if isinstance(one, dict)]
    names = [one.get("name") or (one.get("function") or {}).get("name") for one in definitions]
    output = (options.get("ls_structured_output_format") or {}).get("schema")
    found = {"tools": [name for name in names if name], "tool_definitions": definitions, "output_schema": output}
    return {name: item for name, item in found.items() if item}


def response_fields(response: Any) -> dict[str, Any]:
    """Return usage, model and finish_reasons from the end event; an answer from a cache has no usage."""
    facts = read_facts(response) if response.llm_output or any(map(_has_facts, response.generations)) else None
    if facts is None:
        return {}
    fields = {"model": facts.model, "finish_reasons": facts.finish_reasons}
    return fields if is_cached(response) else {"usage": facts.usage, **fields}


def _has_facts(row: list[Any]) -> bool:
    """Whether a generation has any metadata; those of fakes and of some local models have none."""
    for one in row:
        answer = getattr(one, "message", one)
        if one.generation_info or getattr(answer, "usage_metadata", None) or getattr(answer, "response_metadata", None):
            return True
    return False


def refused_body(error: BaseException, response: Any) -> Any:
    """Return the provider's response to a call that failed after it: of an SDK's error, or kept by LangChain."""
    for row in response.generations if response is not None else ():
        for one in row:
            body = (getattr(getattr(one, "message", None), "response_metadata", None) or {}).get("body")
            if body is not None:
                return body
    return getattr(error, "completion", None)  # such as openai.LengthFinishReasonError


def is_empty(response: Any) -> bool:
    """Whether *response* has no answer: LangChain makes an empty message for some errors."""
    answers = [getattr(one, "message", one) for row in response.generations for one in row]
    return not any(getattr(one, "content", True) or getattr(one, "tool_calls", None) for one in answers)


def refused_answer(body: Any) -> object:
    """Return the answer in the *body* of a provider's response; NOTHING if it has none, as that of an error."""
    for name in ("choices", "content", "output", "candidates", "message"):
        if found := _field(body, name):
            return only([_field(one, "message") or one for one in found]) if name == "choices" else found
    return NOTHING


def _field(value: Any, name: str) -> Any:
    return value.get(name) if isinstance(value, dict) else getattr(value, name, None)


def documents(found: Any) -> object:
    """Return the documents of a retriever: page_content, metadata, and id and score if they have them."""
    return [_document(one) for one in found] if isinstance(found, list | tuple) else found


def _document(value: Any) -> object:
    held = getattr(value, "__dict__", None)
    if not held or "page_content" not in held:
        return value
    found = {"page_content": held["page_content"], "metadata": held.get("metadata")}
    if held.get("id") is not None:
        found["id"] = held["id"]
    metadata = held.get("metadata") or {}
    for name in SCORES:
        if name in metadata:
            found["score"] = metadata[name]
            break
    return found


def tool_output(output: Any) -> object:
    """Return the output of a tool: of a message, the content, with the artifact if there is one."""
    held = getattr(output, "__dict__", None)
    if not held or held.get("type") != "tool" or "content" not in held:
        return output
    artifact = held.get("artifact")
    return held["content"] if artifact is None else {"content": held["content"], "artifact": artifact}


def tool_call_id(output: Any) -> str | None:
    """Return the id of the tool call that *output* answers, if it is a message."""
    return (getattr(output, "__dict__", None) or {}).get("tool_call_id")


def tool_failure(output: Any) -> str | None:
    """Return the error of a tool that LangChain made a message for the model of."""
    held = getattr(output, "__dict__", None)
    if held and held.get("type") == "tool" and held.get("status") == "error":
        return str(held.get("content"))
    return None


_BY_BASE: dict[type, Callable[[Any], object]] = {
    BaseMessage: read_message,
    Document: _document,
    ChatPromptValue: lambda value: {"messages": [read_message(one) for one in value.messages]},
    StringPromptValue: lambda value: value.text,
}
"""The readers of LangChain's classes and their subclasses."""


def retry(state: Any) -> dict[str, Any]:
    """Return the state of tenacity at a retry: the failed attempt, its error, and the wait before the next."""
    outcome = getattr(state, "outcome", None)
    failed = outcome.exception() if outcome is not None and outcome.done() and outcome.failed else None
    wait_s = getattr(getattr(state, "next_action", None), "sleep", None)
    found = {"attempt": getattr(state, "attempt_number", None), "error": failed, "wait_s": wait_s}
    return {name: item for name, item in found.items() if item is not None}


def attributes(value: Any) -> object:
    """Return the fields of an agent's action or finish."""
    held = getattr(value, "__dict__", None) or {}
    return {name: item for name, item in held.items() if name != "type" and item not in (None, "", [])}
