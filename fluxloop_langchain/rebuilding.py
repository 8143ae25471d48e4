"""
Build LangChain's objects from recorded answers: results of models, chunks, documents, outputs of tools.

What ``replayable=True`` recorded is built as it was. Of an ordinary record, the content, tool calls, token counts,
model and finish reason are used; ids of messages are given by LangChain as for a model that sends none.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from langchain_core.documents import Document
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)
from langchain_core.outputs import (
    ChatGeneration,
    ChatGenerationChunk,
    ChatResult,
    Generation,
    GenerationChunk,
    LLMResult,
)

from fluxloop import Status
from fluxloop.bridge import Answer

from . import internals


def _raise_error(answer: Answer) -> None:
    error = answer.error()
    if error is not None:
        raise error


def chat_result(answer: Answer) -> ChatResult:
    """Return the result of a chat model, or raise its recorded error."""
    _raise_error(answer)
    if isinstance(answer.given, BaseMessage):
        return ChatResult(generations=[ChatGeneration(message=answer.given)])
    if "value" in answer.whole:
        return ChatResult(generations=_copies(answer.value()))
    output = answer.recorded.output
    outputs = output if isinstance(output, list) and all(_is_message(one) for one in output) and output else [output]
    return ChatResult(generations=[ChatGeneration(message=_message(one, answer)) for one in outputs])


def _copies(generations: Any) -> list[Any]:
    """Return the recorded generations as a list."""
    return list(generations) if isinstance(generations, list) else [generations]


def _is_message(value: Any) -> bool:
    return isinstance(value, dict) and "role" in value and "content" in value


def _message(output: Any, answer: Answer) -> AIMessage:
    fields: dict[str, Any] = {"content": "" if output is None else output}
    if _is_message(output):
        fields["content"] = "" if output["content"] is None else output["content"]
        for name in ("tool_calls", "invalid_tool_calls", "additional_kwargs", "name"):
            if name in output:
                fields[name] = output[name]
        fields["tool_calls"] = [_call(call) for call in fields.get("tool_calls") or []]
        if output.get("reasoning"):
            fields["additional_kwargs"] = {
                **fields.get("additional_kwargs", {}),
                "reasoning_content": output["reasoning"],
            }
    elif not isinstance(output, str | list | None):
        fields["content"] = json.dumps(output)
    return AIMessage(**fields, usage_metadata=_usage(answer), response_metadata=_response_metadata(answer))


def _call(call: dict[str, Any]) -> dict[str, Any]:
    args = call.get("args", call.get("arguments"))
    return {"name": call.get("name", ""), "args": args if isinstance(args, dict) else {}, "id": call.get("id")}


def _usage(answer: Answer) -> Any:
    usage = answer.recorded.usage
    if usage is None or usage.input_tokens is None or usage.output_tokens is None:
        return None
    found: dict[str, Any] = {"input_tokens": usage.input_tokens, "output_tokens": usage.output_tokens}
    found["total_tokens"] = usage.total_tokens or usage.input_tokens + usage.output_tokens
    cached = {"cache_read": usage.cache_read_tokens, "cache_creation": usage.cache_write_tokens}
    if inputs := {name: count for name, count in cached.items() if count is not None}:
        found["input_token_details"] = inputs
    if usage.reasoning_tokens is not None:
        found["output_token_details"] = {"reasoning": usage.reasoning_tokens}
    return found


def _response_metadata(answer: Answer) -> dict[str, Any]:
    recorded = answer.recorded
    model = recorded.metadata.get("response_model") or recorded.model
    reason = next(iter(recorded.finish_reasons or ()), None)
    return {name: item for name, item in (("model_name", model), ("finish_reason", reason)) if item is not None}


def chat_chunks(answer: Answer) -> list[ChatGenerationChunk]:
    """Return the chunks of a chat model's stream, as they were recorded; one chunk if the call did not stream."""
    if "items" in answer.whole:
        return [one for one in answer.items() if isinstance(one, ChatGenerationChunk)]
    if not answer.is_stream:
        return _single_chunk(answer)
    texts = [item for item in answer.stream.get("items") or () if isinstance(item, str)]
    if answer.error() is not None or answer.recorded.status is Status.ABANDONED:
        return [_chunk(text) for text in texts]
    if "value" in answer.whole:
        message = _copies(answer.value())[0].message
    else:
        message = _message(answer.recorded.output, answer)
    if "".join(texts) != message.content:
        return [ChatGenerationChunk(message=_as_chunk(message))]
    texts = [text for text in texts if text]
    empty = answer.stream.get("count", 0) - len(texts)
    text = texts.pop() if texts and empty <= 0 else ""
    last = _as_chunk(message.model_copy(update={"content": text}))
    if empty <= 1 and hasattr(last, "chunk_position"):  # without it, LangChain adds an empty chunk
        last.chunk_position = "last"
    return [*map(_chunk, texts), ChatGenerationChunk(message=last)]


ADDED: Any = "added"
"""The position of the empty chunk that LangChain adds after the last of a model, once the program has it."""


def added_by_langchain(chunks: list[Any]) -> Any:
    """
    Return the last of *chunks* if LangChain added it to those of the model; else None.

    It is not part of the sum of the chunks, which LangChain reports at the end. See `leave_out`.
    """
    if len(chunks) < 2 or not isinstance(chunks[-1], ChatGenerationChunk):
        return None
    before, last = (chunk.message for chunk in chunks[-2:])
    own = {"id", "type", "chunk_position"}
    is_blank = last.model_dump(exclude=own) == AIMessageChunk(content=last.content).model_dump(exclude=own)
    positions = [getattr(each, "chunk_position", None) for each in (before, last)]
    return chunks[-1] if positions == [None, "last"] and not last.content and is_blank else None


def leave_out(chunk: Any) -> None:
    """Let LangChain neither count the position of *chunk* in the sum of the chunks, nor add another last chunk."""
    chunk.message = chunk.message.model_copy(update={"chunk_position": ADDED})


def as_received(chunks: list[Any]) -> list[Any]:
    """Return *chunks* as the program received them, before `leave_out`."""
    last = chunks[-1]
    if getattr(getattr(last, "message", None), "chunk_position", None) != ADDED:
        return chunks
    message = last.message.model_copy(update={"chunk_position": "last"})
    return [*chunks[:-1], last.model_copy(update={"message": message})]


def _single_chunk(answer: Answer) -> list[ChatGenerationChunk]:
    if answer.error() is not None:
        return []
    return [ChatGenerationChunk(message=_as_chunk(chat_result(answer).generations[0].message))]


def _chunk(text: str) -> ChatGenerationChunk:
    return ChatGenerationChunk(message=AIMessageChunk(content=text))


def _as_chunk(message: Any) -> AIMessageChunk:
    """Return *message* as the only chunk of a stream."""
    if isinstance(message, AIMessageChunk):
        return message
    calls: Any = [
        {"name": call["name"], "args": json.dumps(call["args"]), "id": call["id"], "index": index}
        for index, call in enumerate(message.tool_calls)
    ]
    return AIMessageChunk(
        content=message.content,
        id=message.id,
        additional_kwargs=message.additional_kwargs,
        response_metadata=message.response_metadata,
        usage_metadata=message.usage_metadata,
        tool_call_chunks=calls,
    )


def completion_result(answers: list[Answer]) -> LLMResult:
    """Return the result of a completion model for several prompts, or raise the first recorded error."""
    for answer in answers:
        _raise_error(answer)
    return LLMResult(generations=[_generations(answer) for answer in answers])


def _generations(answer: Answer) -> list[Any]:
    if "value" in answer.whole:
        return _copies(answer.value())
    output = answer.recorded.output
    return [Generation(text=str(one)) for one in (output if isinstance(output, list) else [output])]


def completion_chunks(answer: Answer) -> list[GenerationChunk]:
    """Return the chunks of a completion model's stream, as they were recorded; one chunk if the call did not stream."""
    if "items" in answer.whole:
        return [one if isinstance(one, GenerationChunk) else GenerationChunk(text=str(one)) for one in answer.items()]
    if answer.is_stream:
        return [GenerationChunk(text=item) for item in answer.items() if isinstance(item, str)]
    return [] if answer.error() is not None else [GenerationChunk(text=one.text) for one in _generations(answer)]


def documents(answer: Answer) -> list[Document]:
    """Return the documents of a retriever, or raise its recorded error."""
    _raise_error(answer)
    if "value" in answer.whole or any(isinstance(one, Document) for one in _given_items(answer)):
        return list(answer.value())
    fields = ("id", "page_content", "metadata")
    found = answer.recorded.output or []
    return [Document(**{name: one[name] for name in fields if one.get(name) is not None}) for one in found]


def _given_items(answer: Answer) -> list[Any]:
    return answer.given if isinstance(answer.given, list) else []


def tool_result(found: tuple[Any, Answer]) -> Any:
    """Return what the method of a tool returned, raise its recorded error, or interrupt the graph as it did."""
    tool, answer = found
    recorded = answer.recorded
    if recorded.status is Status.INTERRUPTED:
        for event in answer.events:
            internals.interrupt_with(event.input)
    is_message = recorded.status is Status.ERROR and "error_type" not in recorded.metadata
    if not is_message:
        _raise_error(answer)
    has_artifact = getattr(tool, "response_format", "content") == "content_and_artifact"
    if "value" in answer.whole or answer.is_given:
        value = answer.value()
        return (value, getattr(value, "artifact", None)) if has_artifact else value
    output = recorded.output
    call_id = recorded.metadata.get("tool_call_id")
    if is_message and call_id is not None:
        message = ToolMessage(str(output), tool_call_id=call_id, name=tool.name, status="error")
        return (message, None) if has_artifact else message
    if has_artifact:
        is_split = isinstance(output, dict) and set(output) == {"content", "artifact"}
        return (output["content"], output["artifact"]) if is_split else (output, None)
    return _command(output)


def _command(output: Any) -> Any:
    """Return a recorded ``Command`` as an object; other outputs as they are."""
    if not (isinstance(output, dict) and str(output.get("__class__", "")).endswith("Command")):
        return output
    fields = {name: item for name, item in output.items() if name != "__class__"}
    if isinstance(update := fields.get("update"), dict):
        fields["update"] = {name: _messages(item) for name, item in update.items()}
    return internals.command_of(fields)


def _messages(value: Any) -> Any:
    """Return recorded messages, in the *value* of a state, as objects."""
    if not (isinstance(value, list) and value and all(map(_is_message, value))):
        return value
    return [_MESSAGES[one["role"]](one) if one["role"] in _MESSAGES else one for one in value]


def _fields(one: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: one[name] for name in ("content", "id", "name", *names) if one.get(name) is not None}


_MESSAGES: dict[str, Callable[[dict[str, Any]], Any]] = {
    "user": lambda one: HumanMessage(**_fields(one)),
    "system": lambda one: SystemMessage(**_fields(one)),
    "assistant": lambda one: AIMessage(
        **_fields(one), tool_calls=[_call(call) for call in one.get("tool_calls") or ()]
    ),
    "tool": lambda one: ToolMessage(**_fields(one, "tool_call_id", "artifact", "status")),
}
"""Makes a message from its record, by role."""
