"""
Scripted models for the tests of the adapters; they work offline.
"""

from __future__ import annotations

import itertools
import json
import re
import threading
from collections.abc import Iterator
from typing import Any

from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models import LLM
from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult, GenerationChunk
from pydantic import PrivateAttr

USAGE = {
    "input_tokens": 20,
    "output_tokens": 5,
    "total_tokens": 25,
    "input_token_details": {"cache_read": 8},
    "output_token_details": {"reasoning": 2},
}
"""The usage of each answer of a `ScriptedModel`."""


class ScriptedModel(BaseChatModel):
    """
    A chat model that returns its *replies* in order, repeatedly; a reply that is an exception is raised.

    A streamed reply consists of one chunk per word; the last chunk has the tool calls and the usage. After
    ``breaks_after`` chunks, the stream raises an error.
    """

    replies: list[Any]
    model_name: str = "scripted-1"
    temperature: float = 0.5
    api_key: str = "sk-abcdefghijklmnopqrstuvwxyz0123456789"
    breaks_after: int | None = None
    _turns: Iterator[Any] | None = PrivateAttr(default=None)
    _lock: Any = PrivateAttr(default_factory=threading.Lock)

    @property
    def _llm_type(self) -> str:
        return "scripted"

    @property
    def _identifying_params(self) -> dict[str, Any]:
        return {"model_name": self.model_name, "temperature": self.temperature, "api_key": self.api_key}

    def bind_tools(self, tools: Any, **kwargs: Any) -> Any:
        names = [getattr(tool, "name", None) or tool.__name__ for tool in tools]  # a tool, or a class for an output
        return self.bind(tools=[{"type": "function", "function": {"name": name}} for name in names])

    def _turn(self) -> AIMessage:
        with self._lock:
            if self._turns is None:
                self._turns = itertools.cycle(self.replies)
            reply = next(self._turns)
        if isinstance(reply, BaseException):
            raise reply
        message = reply if isinstance(reply, AIMessage) else AIMessage(reply)
        about = {
            "model_name": f"{self.model_name}-2026-01",
            "finish_reason": "tool_calls" if message.tool_calls else "stop",
        }
        return message.model_copy(update={"usage_metadata": USAGE, "response_metadata": about})

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        return ChatResult(generations=[ChatGeneration(message=self._turn())])

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        whole = self._turn()
        pieces = [AIMessageChunk(piece) for piece in re.findall(r"\s*\S+", str(whole.content))]
        calls = [
            {"name": call["name"], "args": json.dumps(call["args"]), "id": call["id"], "index": number}
            for number, call in enumerate(whole.tool_calls)
        ]
        last = AIMessageChunk(
            "", tool_call_chunks=calls, usage_metadata=USAGE, response_metadata=whole.response_metadata
        )
        for number, piece in enumerate([*pieces, last]):
            if number == self.breaks_after:
                raise ConnectionError("the line went dead")
            chunk = ChatGenerationChunk(message=piece)
            if run_manager is not None:
                run_manager.on_llm_new_token(str(piece.content), chunk=chunk)
            yield chunk


class ScriptedCompletion(LLM):
    """A completion model that returns *reply*; streamed with one chunk per word."""

    reply: str

    @property
    def _llm_type(self) -> str:
        return "scripted-completion"

    def _call(self, prompt: str, stop: Any = None, run_manager: Any = None, **kwargs: Any) -> str:
        return self.reply

    def _stream(
        self, prompt: str, stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> Iterator[GenerationChunk]:
        for piece in self.reply.split():
            chunk = GenerationChunk(text=piece)
            if run_manager is not None:
                run_manager.on_llm_new_token(piece, chunk=chunk)
            yield chunk


def calls(name: str, args: dict[str, Any], call_id: str = "call-1") -> AIMessage:
    """Return an answer with one tool call."""
    return AIMessage("", tool_calls=[{"name": name, "args": args, "id": call_id}])
