"""
A scripted model for the Agents SDK in tests and examples, without a network or a key.

    agent = Agent(name="Desk", model=ScriptedModel(Calls("lookup", {"city": "Rome"}), Says("It is sunny.")), ...)

Everything else is the SDK's own. The model reports the spans of the real ones, plain and streamed.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from fluxloop.bridge import require

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
    """A text answer."""

    text: str


@dataclass(frozen=True)
class Calls:
    """A call of a tool or a handoff, with its arguments as data, or as the text that a model would send."""

    tool: str
    arguments: Any = None

    @property
    def text(self) -> str:
        return self.arguments if isinstance(self.arguments, str) else json.dumps(self.arguments or {})


Turn = Says | Calls | list[Says | Calls] | BaseException


class ScriptedModel(Model):
    """
    Answers one turn after the other, and starts again after the last.

    Args:
        turns: The answers and calls; a list is one turn of several parts, an exception is raised.
        usage: Whether it reports token counts: 10 in, 5 out, 4 of the former cached, 2 of the latter reasoning.
        delay_s: The pause of a streamed answer before each word, in seconds.

    ``asked`` has the inputs of its calls.
    """

    def __init__(self, *turns: Turn, usage: bool = True, delay_s: float = 0.0) -> None:
        self.turns, self.usage, self.delay_s = turns, usage, delay_s
        self.asked: list[Any] = []

    async def get_response(
        self,
        system_instructions: Any,
        input: Any,
        model_settings: Any,
        tools: Any,
        output_schema: Any,
        handoffs: Any,
        tracing: Any,
        **options: Any,
    ) -> ModelResponse:
        with response_span(disabled=tracing.is_disabled()) as span:
            response = self._answer(input, span, tracing)
            self._report(span, tracing, response, input)
        usage = Usage(requests=1, input_tokens=10, output_tokens=5, total_tokens=15) if self.usage else Usage()
        return ModelResponse(output=list(response.output), usage=usage, response_id=response.id)

    async def stream_response(
        self,
        system_instructions: Any,
        input: Any,
        model_settings: Any,
        tools: Any,
        output_schema: Any,
        handoffs: Any,
        tracing: Any,
        **options: Any,
    ) -> Any:
        with response_span(disabled=tracing.is_disabled()) as span:
            response = self._answer(input, span, tracing)
            async for event in self._events(response):
                if isinstance(event, ResponseCompletedEvent):
                    self._report(span, tracing, response, input)
                yield event

    def _report(self, span: Any, tracing: Any, response: Response, input: Any) -> None:
        if tracing.include_data():
            span.span_data.response = response
            span.span_data.input = input
        if hasattr(span.span_data, "usage") and self.usage:
            span.span_data.usage = {"requests": 1, "input_tokens": 10, "output_tokens": 5, "total_tokens": 15}

    def _answer(self, input: Any, span: Any, tracing: Any) -> Response:
        turn = self.turns[len(self.asked) % len(self.turns)]
        self.asked.append(input)
        if isinstance(turn, BaseException):
            detail = str(turn) if tracing.include_data() else "Error details are redacted."
            span.set_error({"message": "Error getting response", "data": {"error": detail}})
            raise turn
        number = 0 if isinstance(input, str) else len(input)  # the ids of a turn are new in its conversation
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
"""The token counts of each model call, as the Responses API reports them."""


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
