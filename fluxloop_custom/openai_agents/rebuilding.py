"""
Build the Agents SDK's objects from recorded answers: responses, their stream events, token counts.

What ``replayable=True`` recorded is built as it was. Of an ordinary record, the messages and tool calls are used; their
ids are made from their positions. Stream events that were not recorded are those that a provider sends.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from inspect import signature
from typing import Any

from agents import Model, ModelResponse, Usage
from openai.types.chat import ChatCompletionMessage
from openai.types.responses import (
    Response,
    ResponseCompletedEvent,
    ResponseContentPartAddedEvent,
    ResponseContentPartDoneEvent,
    ResponseCreatedEvent,
    ResponseFunctionCallArgumentsDeltaEvent,
    ResponseFunctionToolCall,
    ResponseOutputItemAddedEvent,
    ResponseOutputItemDoneEvent,
    ResponseOutputMessage,
    ResponseOutputText,
    ResponseTextDeltaEvent,
    ResponseTextDoneEvent,
)

from fluxloop.bridge import Answer

from . import internals

PARAMETERS = list(signature(Model.get_response).parameters)[1:]
"""The parameters of a model's methods, without ``self``."""


@dataclass(frozen=True, slots=True)
class Call:
    """The arguments of a model's method that a replay uses."""

    instructions: Any
    input: Any
    tracing: Any
    model_call: internals.ModelCall
    """What is recorded of the call: frames that open its span have it in a variable of this name."""

    @classmethod
    def of(cls, model: Any, args: tuple[Any, ...], kwargs: dict[str, Any], *, is_streamed: bool) -> Call:
        """Return the arguments of a call of *model*, given by position or by name."""
        given = {**dict(zip(PARAMETERS, args, strict=False)), **kwargs, "self": model}
        model_call = internals.model_call_of(given, is_streamed=is_streamed)
        return cls(given.get("system_instructions"), given.get("input"), given["tracing"], model_call)


def response(kind: str, answer: Answer) -> Response:
    """Return the recorded response."""
    value = answer.value() if "value" in answer.whole or answer.is_given else None
    if isinstance(value, Response):
        return value
    if isinstance(value, ModelResponse):
        return _response(list(value.output), answer)
    if isinstance(value, list) and value and isinstance(value[0], dict) and value[0].get("object") == "response":
        return Response.model_validate(value[0])  # a streamed answer of Chat Completions
    if kind == "generation" and isinstance(value, list) and value and not answer.is_given:
        items = internals.output_items(ChatCompletionMessage.model_validate(value[0]))
    else:
        items = _items(answer)
    return _response(items, answer)


def _response(items: list[Any], answer: Answer) -> Response:
    usage = answer.recorded.usage
    counts = None
    if usage is not None and usage.input_tokens is not None and usage.output_tokens is not None:
        counts = {
            "input_tokens": usage.input_tokens,
            "output_tokens": usage.output_tokens,
            "total_tokens": usage.total_tokens or usage.input_tokens + usage.output_tokens,
            "input_tokens_details": {
                "cached_tokens": usage.cache_read_tokens or 0,
                "cache_write_tokens": usage.cache_write_tokens or 0,
            },
            "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens or 0},
        }
    fields = {
        "id": response_id(answer) or f"resp_{answer.recorded.id}",
        "created_at": 0,
        "model": answer.recorded.model or "",
        "object": "response",
        "output": [item.model_dump() if hasattr(item, "model_dump") else item for item in items],
        "tools": [],
        "tool_choice": "auto",
        "parallel_tool_calls": True,
        "status": "completed",
        "usage": counts,
    }
    return Response.model_validate(fields)


def response_id(answer: Answer) -> str | None:
    """Return the id that the provider gave the response, if it was recorded."""
    value = answer.whole.get("value")
    found = (value.get("fields") or {}).get("id") if isinstance(value, dict) else None
    return found if isinstance(found, str) else answer.recorded.metadata.get("response_id")


def _items(answer: Answer) -> list[Any]:
    output = answer.given if isinstance(answer.given, list) else answer.recorded.output
    made: list[Any] = []
    for index, item in enumerate(output if isinstance(output, list) else [output]):
        own_id = f"{answer.recorded.id}_{index}"
        if isinstance(item, str):
            made.append(_message(item, own_id))
        elif isinstance(item, dict) and item.get("role") == "assistant" and "type" not in item:
            made += _chat_items(item, own_id)
        elif isinstance(item, dict):
            made.append({"id": own_id, "status": "completed", **item})
        elif hasattr(item, "model_dump"):
            made.append(item)
    return made


def _chat_items(message: dict[str, Any], own_id: str) -> list[Any]:
    """Return the items of an assistant's message, which may have calls of tools."""
    content = message.get("content")
    found: list[Any] = (
        [_message(content, own_id, message.get("annotations"))] if isinstance(content, str) and content else []
    )
    for call in message.get("tool_calls") or []:
        function = call.get("function") or call
        found.append(
            ResponseFunctionToolCall(
                call_id=str(call.get("call_id") or call.get("id")),
                name=function["name"],
                arguments=function.get("arguments") or "{}",
                type="function_call",
            )
        )
    return found


def _message(text: str, own_id: str, annotations: Any = None) -> Any:
    part = {"type": "output_text", "text": text, "annotations": annotations or [], "logprobs": []}
    return {"type": "message", "id": f"msg_{own_id}", "role": "assistant", "status": "completed", "content": [part]}


def usage(answer: Answer) -> Usage:
    """Return the recorded token counts."""
    recorded = answer.recorded.usage
    if recorded is None or not recorded.reported:
        return Usage(requests=1)
    inputs, outputs = recorded.input_tokens or 0, recorded.output_tokens or 0
    total = recorded.total_tokens or inputs + outputs
    made = Usage(requests=1, input_tokens=inputs, output_tokens=outputs, total_tokens=total)
    if recorded.cache_read_tokens is not None:
        made.input_tokens_details.cached_tokens = recorded.cache_read_tokens
    if recorded.reasoning_tokens is not None:
        made.output_tokens_details.reasoning_tokens = recorded.reasoning_tokens
    return made


def report(span: Any, kind: str, answer: Answer, answered: Response, call: Call) -> None:
    """Set the data of the *span* of a model call, as the SDK's models do."""
    data = span.span_data
    counts = answer.recorded.usage
    if counts is not None and hasattr(data, "usage"):
        data.usage = {"requests": 1, **counts.model_dump(exclude_none=True)}
    if not call.tracing.include_data():
        return
    if kind == "response":
        data.response, data.input = answered, call.input
        return
    data.input = answer.recorded.input
    value = answer.value() if "value" in answer.whole else None
    data.output = value if isinstance(value, list) else [item.model_dump() for item in answered.output]
    data.model = answer.recorded.model or data.model


def has_events(answer: Answer) -> bool:
    """Whether the events of the stream were recorded."""
    return not answer.is_given and isinstance(answer.whole.get("items"), list)


_LAST = frozenset({"response.completed", "response.incomplete", "response.failed"})


def is_last(event: Any) -> bool:
    """Whether *event* has the final response."""
    return getattr(event, "type", None) in _LAST


async def events(answered: Any) -> AsyncIterator[Any]:
    """Yield the events by which a provider streams the response *answered*."""
    for event in _events(answered):
        yield event


def _events(answered: Response) -> Iterator[Any]:
    number = 0

    def numbered(kind: Any, **fields: Any) -> Any:
        nonlocal number
        number += 1
        return kind(sequence_number=number - 1, **fields)

    opened = answered.model_copy(update={"output": [], "status": "in_progress", "usage": None})
    yield numbered(ResponseCreatedEvent, response=opened, type="response.created")
    for index, item in enumerate(answered.output):
        where = {"output_index": index}
        blank: dict[str, Any] = {"content": []} if isinstance(item, ResponseOutputMessage) else {}
        if isinstance(item, ResponseFunctionToolCall):
            blank = {"arguments": ""}
        added = item.model_copy(update=blank)
        yield numbered(ResponseOutputItemAddedEvent, item=added, type="response.output_item.added", **where)
        if isinstance(item, ResponseOutputMessage):
            for position, part in enumerate(item.content):
                if isinstance(part, ResponseOutputText):
                    yield from _text_events(numbered, part, {**where, "item_id": item.id, "content_index": position})
        elif isinstance(item, ResponseFunctionToolCall):
            own_id = item.id or item.call_id
            kind = "response.function_call_arguments.delta"
            yield numbered(
                ResponseFunctionCallArgumentsDeltaEvent, delta=item.arguments, item_id=own_id, type=kind, **where
            )
        yield numbered(ResponseOutputItemDoneEvent, item=item, type="response.output_item.done", **where)
    yield numbered(ResponseCompletedEvent, response=answered, type="response.completed")


def _text_events(numbered: Any, part: ResponseOutputText, where: dict[str, Any]) -> Iterator[Any]:
    blank = part.model_copy(update={"text": ""})
    yield numbered(ResponseContentPartAddedEvent, part=blank, type="response.content_part.added", **where)
    for word in re.findall(r"\s*\S+\s*$|\s*\S+", part.text) or ([part.text] if part.text else []):
        kind = "response.output_text.delta"
        yield numbered(ResponseTextDeltaEvent, delta=word, type=kind, logprobs=[], **where)
    done = "response.output_text.done"
    yield numbered(ResponseTextDoneEvent, text=part.text, type=done, logprobs=[], **where)
    yield numbered(ResponseContentPartDoneEvent, part=part, type="response.content_part.done", **where)
