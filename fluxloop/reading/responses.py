"""
Find the messages in a recorded value: one message, a list of messages or items, or the response of a model.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from .messages import Message, Part, are_messages, content_parts, grouped, no_content, role_of


class Conversation(NamedTuple):
    """The messages in a value."""

    messages: list[Message]
    other_fields: list[str]
    """The other fields of a response that have a value."""
    is_choice: bool = False
    """Whether the messages are alternatives, as of a request for several."""


def conversation_of(value: Any) -> Conversation | None:
    """Return the messages in *value*; None if it is neither a message, nor a list of messages, nor a response."""
    if isinstance(value, dict):
        if _RESPONSES.keys().isdisjoint(value):
            return None if role_of(value) is None else Conversation(_answered([*grouped([value])], value), [])
        for field, read in _RESPONSES.items():
            if field in value and (found := read(value)):
                others = [key for key, item in value.items() if key != field and item not in (None, [], {})]
                return Conversation(found, others, field in _CHOICES and len(found) > 1)
    items = value if isinstance(value, list) else [value]
    if not are_messages(items):
        return None
    return Conversation([*grouped(items)], [])


def messages_of(value: Any) -> list[Message] | None:
    """Return the messages in *value* as `conversation_of` does, without the other fields."""
    found = conversation_of(value)
    return found.messages if found else None


def _answered(messages: list[Message], response: dict[str, Any]) -> list[Message]:
    """Return *messages*; one without content says why *response*, or its choice, ended."""
    names = ("error", "incomplete_details", "stop_reason", "finish_reason", "status")
    if any(name in response for name in names):
        for message in messages:
            if not message.parts:
                message.parts.append(no_content(*map(response.get, names)))
    return messages


def _choices(response: dict[str, Any]) -> list[Message]:
    """The messages of a chat completion, or the texts of a completion."""
    found: list[Message] = []
    for choice in response["choices"] if isinstance(response["choices"], list) else ():
        message = choice.get("message") if isinstance(choice, dict) else None
        if role_of(message) is not None:
            found += _answered([*grouped([message])], choice)
        elif isinstance(choice, dict) and isinstance(choice.get("text"), str):
            found.append(Message("assistant", [Part("text", choice["text"])]))
        else:
            return []
    if response["choices"] == [] and response.get("object") == "chat.completion":
        return [Message("assistant", [no_content(response.get("error"))])]
    return found


def _output(response: dict[str, Any]) -> list[Message]:
    """The items of a response of the Responses API, also as the Agents SDK returns it; the message of Bedrock."""
    output = response["output"]
    if isinstance(output, dict) and role_of(output.get("message")) is not None:
        return [*grouped([output["message"]])]
    is_response = response.get("object") == "response" or "response_id" in response
    if not is_response or not isinstance(output, list) or not all(isinstance(item, dict) for item in output):
        return []
    # An item of a kind that is not known here is shown as it is; it must not hide the others.
    known = (
        item if role_of(item) is not None else {"type": "message", "role": "assistant", "content": [item]}
        for item in output
    )
    return _answered([*grouped(known)] or [Message("assistant", [])], {"status": None, **response})


def _candidates(response: dict[str, Any]) -> list[Message]:
    """The candidates of Google's models; one that was blocked has a reason instead of content."""
    found: list[Message] = []
    for candidate in response["candidates"] if isinstance(response["candidates"], list) else ():
        if not isinstance(candidate, dict) or not candidate.keys() & {"content", "finish_reason", "finishReason"}:
            return []
        content = candidate.get("content")
        parts = [*content_parts(content.get("parts"))] if isinstance(content, dict) else []
        reason = candidate.get("finish_reason") or candidate.get("finishReason")
        found.append(Message("model", parts or [no_content(reason)]))
    feedback = response.get("prompt_feedback") or response.get("promptFeedback")
    is_google = feedback or "usage_metadata" in response or "usageMetadata" in response
    return found or ([Message("model", [no_content(feedback)])] if is_google else [])


def _generations(result: dict[str, Any]) -> list[Message]:
    """The messages or texts of LangChain's ``LLMResult``."""
    rows = result["generations"] if isinstance(result["generations"], list) else ()
    found: list[Message] = []
    for one in (one for row in rows for one in (row if isinstance(row, list) else [row])):
        message = one.get("message") if isinstance(one, dict) else None
        if role_of(message) is not None:
            found += grouped([message])
        elif isinstance(one, dict) and isinstance(one.get("text"), str):
            found.append(Message("assistant", [Part("text", one["text"])]))
        else:
            return []
    return found


_RESPONSES: dict[str, Callable[[dict[str, Any]], list[Message]]] = {
    "choices": _choices,
    "output": _output,
    "candidates": _candidates,
    "generations": _generations,
}
"""Readers of responses, by the field that has their messages."""

_CHOICES = frozenset({"choices", "candidates", "generations"})
