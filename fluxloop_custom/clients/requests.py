"""
What a request of a model's client asks, and what the response answers, as plain data.

A request is read from the JSON that the client sends. Of its parameters and tools only known members are read, as
others may hold credentials. Headers and client options are never read.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from fluxloop import ObservationType
from fluxloop.bridge import StreamFacts

Body = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One operation of a provider's API."""

    name: str
    type: ObservationType
    question: Callable[[Body], object]
    """Returns the input to record."""
    answer: Callable[[Any], object]
    """Returns the output to record of a response."""


@dataclass(slots=True)
class Request:
    """One request that a client is about to send."""

    endpoint: Endpoint
    body: Body
    model: Any
    provider: str
    parameters: dict[str, Any]
    is_streamed: bool
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    """With *args*, the arguments to send it with."""
    plain: Callable[[Any], Any] = lambda value: value
    """Returns a response, or an item of a stream, without the HTTP response around it."""
    seen: list[Any] = field(default_factory=list)
    """The response before the SDK parsed the answer in it, which may fail."""

    def fields(self) -> dict[str, Any]:
        """Return the top-level fields of its record."""
        return {"model": self.model, "provider": self.provider, "model_parameters": self.parameters or None}


Reader = Callable[..., Request | None]
"""Takes the arguments of a client's method; returns the request, or None if it is not a model call."""


def picked(body: Body, names: Iterable[str]) -> dict[str, Any]:
    """Return the members of *body* with these *names*, where they are set."""
    return {name: body[name] for name in names if body.get(name) is not None}


def listed(value: Any) -> list[Any]:
    """Return *value* as a list; an iterator is not consumed."""
    return list(value) if isinstance(value, list | tuple) else [value]


def with_system(system: Any, messages: Any) -> list[Any]:
    """Return *messages*, which may be one text, after the *system* message if there is one."""
    if isinstance(messages, str):
        messages = [{"role": "user", "content": messages}]
    return [*([{"role": "system", "content": system}] if system else []), *listed(messages)]


_TOOL_MEMBERS = (
    *("type", "name", "description", "parameters", "input_schema", "strict", "function", "server_label"),
    *("parameters_json_schema", "parametersJsonSchema", "response", "format"),
)
"""The members of a tool's definition that are recorded; tools that call a server have its credentials, too."""


def tools(body: Body) -> dict[str, Any]:
    """Return the names and the definitions of the tools that the model may call, for the metadata."""
    definitions = []
    for tool in [*listed(body.get("tools") or []), *listed(body.get("functions") or [])]:
        if isinstance(tool, Mapping):
            declared = tool.get("functionDeclarations") or tool.get("function_declarations")
            definitions += [picked(one, _TOOL_MEMBERS) for one in declared or [tool]] or []
    definitions = [one for one in definitions if one]
    names = [one.get("name") or (one.get("function") or {}).get("name") or one.get("type") for one in definitions]
    return {"tools": names, "tool_definitions": definitions} if definitions else {}


def get(value: Any, name: str) -> Any:
    """Return the member *name* of *value*, a dict or an object of an SDK's; None if there is none."""
    return value.get(name) if isinstance(value, dict) else getattr(value, name, None)


def answer(response: Any) -> object:
    """
    Return the answer in *response*: its text, or a message with reasoning and tool calls.

    An answer that is more than that - several choices, images, citations, calls of the provider's own tools - is
    returned as the provider spells it.
    """
    for name in ("choices", "candidates", "content", "output"):
        parts = get(response, name)
        if isinstance(parts, list) and parts:
            if not _is_message(name, parts):
                return parts
            break
    stream = StreamFacts()
    stream.on_item(response)
    message = stream.message()
    return message if message is not None else stream.text()


_SIMPLE_PARTS = frozenset(
    {
        "text",
        "output_text",
        "message",
        "reasoning",
        "reasoning_text",
        "thinking",
        "tool_use",
        "function_call",
        "refusal",
    }
)
_BEYOND_TEXT = ("annotations", "citations", "audio", "function_call")
_GOOGLE_PARTS = frozenset({"text", "thought", "thoughtSignature", "functionCall"})


def _is_message(name: str, parts: list[Any]) -> bool:
    """Whether `StreamFacts` reads all of an answer: one choice of text, reasoning and tool calls."""
    if name == "choices":
        return len(parts) == 1 and not any(get(get(parts[0], "message"), more) for more in _BEYOND_TEXT)
    if name == "candidates":
        inner = get(get(parts[0], "content"), "parts") or []
        return len(parts) == 1 and all(set(part) <= _GOOGLE_PARTS for part in inner if isinstance(part, dict))
    return all(_is_simple(part) for part in parts)


def _is_simple(part: Any) -> bool:
    inner = get(part, "content")
    return (
        get(part, "type") in _SIMPLE_PARTS
        and not any(get(part, more) for more in _BEYOND_TEXT)
        and (not isinstance(inner, list) or all(map(_is_simple, inner)))
    )


def vectors(response: Any) -> object:
    """Return the vectors in the response to an embedding request."""
    for name in ("data", "embeddings", "predictions"):
        if isinstance(found := get(response, name), list):
            return [_vector(one) for one in found]
    return [_vector(response)]


def _vector(item: Any) -> object:
    for name in ("embedding", "embeddings", "values"):
        if (found := get(item, name)) is not None:
            return _vector(found)
    return item


def json_of(text: Any) -> Any:
    """Return what *text* or bytes spell; None if that is not JSON."""
    try:
        return json.loads(text)
    except (TypeError, ValueError):
        return None
