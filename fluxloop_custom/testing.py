"""
A model that says what it was told to say: the Agents SDK in tests and examples, without a network or a key.

    agent = Agent(name="Desk", model=ScriptedModel(Calls("lookup", {"city": "Rome"}), Says("It is sunny.")), ...)

Everything around the model is the SDK's own, plain and streamed; the spans it reports are those of the real ones.
"""

from __future__ import annotations

import asyncio
import inspect
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from .requirement import require

require("agents", extra="openai-agents", by=__name__)

from agents import Model, ModelResponse, Usage  # noqa: E402 - after the requirement, which explains itself
from agents.tracing import response_span  # noqa: E402
from openai.types.responses import (  # noqa: E402
    Response,
    ResponseCompletedEvent,
    ResponseContentPartAddedEvent,
    ResponseCreatedEvent,
    ResponseFunctionToolCall,
    ResponseOutputItemAddedEvent,
    ResponseOutputItemDoneEvent,
    ResponseOutputMessage,
    ResponseOutputText,
    ResponseTextDeltaEvent,
    ResponseTextDoneEvent,
    ResponseUsage,
)

__all__ = ["Calls", "Says", "ScriptedModel"]


@dataclass(frozen=True)
class Says:
    """An answer in words."""

    text: str


@dataclass(frozen=True)
class Calls:
    """One call of a tool or a handoff; its arguments as data, or as the very text a model would send."""

    tool: str
    arguments: Any = None

    @property
    def text(self) -> str:
        return self.arguments if isinstance(self.arguments, str) else json.dumps(self.arguments or {})


Turn = Says | Calls | list[Says | Calls] | BaseException


class ScriptedModel(Model):
    """
    Answers one turn after the other, and begins again when they are used up.

    Args:
        turns: What it says or calls; a list is one turn of several parts, an exception is raised.
        usage: Whether it reports token counts: 10 in, 5 out, 4 of the former cached, 2 of the latter reasoning.
        delay_s: What a streamed answer waits before each word, in seconds.

    ``asked`` holds the inputs it was given.
    """

    def __init__(self, *turns: Turn, usage: bool = True, delay_s: float = 0.0) -> None:
        self.turns, self.usage, self.delay_s = turns, usage, delay_s
        self.asked: list[Any] = []

    async def get_response(self, system_instructions: Any, input: Any, *args: Any, **kwargs: Any) -> ModelResponse:
        tracing = self._tracing(args, kwargs)
        with response_span(disabled=tracing.is_disabled()) as span:
            response = self._answer(input, span, tracing)
            self._note(span, tracing, response, input)
        usage = Usage(requests=1, input_tokens=10, output_tokens=5, total_tokens=15) if self.usage else Usage()
        return ModelResponse(output=list(response.output), usage=usage, response_id=response.id)

    async def stream_response(self, system_instructions: Any, input: Any, *args: Any, **kwargs: Any) -> Any:
        tracing = self._tracing(args, kwargs)
        with response_span(disabled=tracing.is_disabled()) as span:
            response = self._answer(input, span, tracing)
            async for event in self._events(response):
                if isinstance(event, ResponseCompletedEvent):
                    self._note(span, tracing, response, input)
                yield event

    def _tracing(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        names = list(inspect.signature(Model.get_response).parameters)[3:]
        return {**dict(zip(names, args, strict=False)), **kwargs}["tracing"]

    def _note(self, span: Any, tracing: Any, response: Response, input: Any) -> None:
        if tracing.include_data():
            span.span_data.response = response
            span.span_data.input = input
        if hasattr(span.span_data, "usage") and self.usage:
            span.span_data.usage = {"requests": 1, "input_tokens": 10, "output_tokens": 5, "total_tokens": 15}

    def _answer(self, input: Any, span: Any, tracing: Any) -> Response:
        turn = self.turns[len(self.asked) % len(self.turns)]
        self.asked.append(input)
        if isinstance(turn, BaseException):
            told = str(turn) if tracing.include_data() else "Error details are redacted."
            span.set_error({"message": "Error getting response", "data": {"error": told}})
            raise turn
        number = 0 if isinstance(input, str) else len(input)  # ids are to be new in each turn of a conversation
        output = [_item(part, f"{number}_{i}") for i, part in enumerate(turn if isinstance(turn, list) else [turn])]
        usage = ResponseUsage.model_validate(_USAGE) if self.usage else None
        return Response(
            id=f"resp_{number}",
            created_at=0,
            model="scripted-1",
            object="response",
            output=output,
            tools=[],
            tool_choice="auto",
            parallel_tool_calls=True,
            usage=usage,
        )

    async def _events(self, response: Response) -> AsyncIterator[Any]:
        yield ResponseCreatedEvent(response=response, type="response.created", sequence_number=0)
        for index, item in enumerate(response.output):
            where: dict[str, Any] = {"output_index": index, "sequence_number": 0}
            added = item.model_copy(update={"content": []}) if isinstance(item, ResponseOutputMessage) else item
            yield ResponseOutputItemAddedEvent(item=added, type="response.output_item.added", **where)
            if isinstance(item, ResponseOutputMessage):
                async for event in self._words(item, where):
                    yield event
            yield ResponseOutputItemDoneEvent(item=item, type="response.output_item.done", **where)
        yield ResponseCompletedEvent(response=response, type="response.completed", sequence_number=0)

    async def _words(self, message: ResponseOutputMessage, where: dict[str, Any]) -> AsyncIterator[Any]:
        where = {**where, "item_id": message.id, "content_index": 0}
        text = _text_of(message)
        yield ResponseContentPartAddedEvent(part=_part(""), type="response.content_part.added", **where)
        for word in text.split(" "):
            await asyncio.sleep(self.delay_s)
            yield ResponseTextDeltaEvent(delta=word + " ", type="response.output_text.delta", logprobs=[], **where)
        yield ResponseTextDoneEvent(text=text, type="response.output_text.done", logprobs=[], **where)


_USAGE = {
    "input_tokens": 10,
    "output_tokens": 5,
    "total_tokens": 15,
    "input_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 0},
    "output_tokens_details": {"reasoning_tokens": 2},
}
"""What each model call is said to have cost, in the words of the Responses API."""


def _item(part: Says | Calls, number: str) -> Any:
    if isinstance(part, Calls):
        return ResponseFunctionToolCall(
            id=f"fc_{number}", call_id=f"call_{number}", name=part.tool, arguments=part.text, type="function_call"
        )
    return ResponseOutputMessage(
        id=f"msg_{number}", content=[_part(part.text)], role="assistant", status="completed", type="message"
    )


def _part(text: str) -> ResponseOutputText:
    return ResponseOutputText(text=text, type="output_text", annotations=[], logprobs=[])


def _text_of(message: ResponseOutputMessage) -> str:
    return "".join(part.text for part in message.content if isinstance(part, ResponseOutputText))
