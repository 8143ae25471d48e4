"""
Parse LangChain's streams: message and generation chunks, and the stream events of newer releases.

``astream_events`` and LangGraph's ``stream_mode="messages"`` contain the same chunks; `assembly` unwraps them.
"""

from __future__ import annotations

from ..fields import Fields, fields, get, listed
from .answers import Answer
from .content import Reader, content


def _message(answer: Answer, held: Fields, item: object) -> str | None:
    """AIMessageChunk and AIMessage. The token counts of chunks are added up."""
    if "content" not in held:
        return None
    whole = get(held, "type") == "ai"
    if whole and answer.repeats(get(held, "id")):
        return answer.add_text(None)
    value, calls = get(held, "content"), get(held, "tool_call_chunks")
    if value or calls or whole:
        answer.begin_response(get(held, "id"))
    _metadata(answer, fields(get(held, "response_metadata")))
    if thought := get(fields(get(held, "additional_kwargs")), "reasoning_content"):
        answer.add_reasoning(thought)
    for call in map(fields, listed(calls or get(held, "tool_calls"))):
        index, arguments = get(call, "index"), get(call, "args")
        answer.add_call(index, call_id=get(call, "id"), name=get(call, "name"), arguments=arguments)
    if (usage := get(held, "usage_metadata")) is not None:
        answer.add_usage(usage)
    return content(answer, value)


def _metadata(answer: Answer, meta: Fields) -> None:
    if meta:
        answer.set_model(model=get(meta, "model_name") or get(meta, "model"), provider=get(meta, "model_provider"))
        answer.set_finish_reason(get(meta, "finish_reason") or get(meta, "stop_reason") or get(meta, "done_reason"))


def _text(answer: Answer, held: Fields, item: object) -> str | None:
    """GenerationChunk, of a completion model."""
    return answer.add_text(get(held, "text")) if "text" in held else None


def _event_start(answer: Answer, held: Fields, item: object) -> str:
    meta = fields(get(held, "metadata"))
    answer.begin_response(get(held, "id"), new=True)
    answer.set_model(model=get(meta, "model"), provider=get(meta, "provider"))
    return answer.add_text(None)


def _event_block(answer: Answer, held: Fields, item: object) -> str:
    """The start event of a tool call has the name of the tool, and the finish event the complete call."""
    block = fields(get(held, "content"))
    if str(get(block, "type")).startswith("tool_call"):
        put = answer.complete_call if get(held, "event") == "content-block-finish" else answer.add_call
        put(get(held, "index"), call_id=get(block, "id"), name=get(block, "name"), arguments=get(block, "args"))
    return answer.add_text(None)


def _event_delta(answer: Answer, held: Fields, item: object) -> str:
    delta = fields(get(held, "delta"))
    kind = get(delta, "type")
    if kind == "reasoning-delta":
        return answer.add_reasoning(get(delta, "reasoning"))
    if kind == "tool-call-delta":
        return answer.add_call(get(held, "index"), arguments=get(delta, "args"))
    return answer.add_text(get(delta, "text"))


def _event_finish(answer: Answer, held: Fields, item: object) -> str:
    answer.update_usage(get(held, "usage"))
    _metadata(answer, fields(get(held, "metadata")))
    return answer.add_text(None)


BY_TYPE: dict[str, Reader] = {
    "AIMessageChunk": _message,
    "ai": _message,
    "GenerationChunk": _text,
    "Generation": _text,
    "message-start": _event_start,
    "content-block-start": _event_block,
    "content-block-delta": _event_delta,
    "content-block-finish": _event_block,
    "message-finish": _event_finish,
}

SILENT = ("on_chain_", "on_chat_model_", "on_llm_", "on_tool_", "on_retriever_", "on_prompt_", "on_parser_")
