"""
Make a provider's JSON from an ordinary record, which has the answer and not the response.

With ``replayable=True`` the response itself is recorded, and none of this is used.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from fluxloop.bridge import Answer

from .requests import Request


def body_of(request: Request, answer: Answer) -> Any:
    """Return the response to *request* with the recorded answer, as JSON."""
    return _BODIES[request.endpoint.name](answer)


def stream_of(request: Request, answer: Answer, body: Any) -> list[Any]:
    """Return the items by which a provider streams *body*."""
    make = _STREAMS.get(request.endpoint.name)
    return [body] if make is None else make(body)


def _message(answer: Answer) -> dict[str, Any]:
    output = answer.recorded.output
    if isinstance(output, dict) and ("content" in output or "tool_calls" in output):
        return output
    return {"content": output}


def _calls(message: dict[str, Any]) -> list[tuple[str, str, Any]]:
    """Return id, name and arguments of the calls of tools in a message."""
    found = []
    for index, call in enumerate(message.get("tool_calls") or ()):
        function = call.get("function") or call
        arguments = function.get("arguments", function.get("args", function.get("input")))
        found.append((str(call.get("id") or f"call_{index}"), str(function.get("name")), arguments))
    return found


def _as_text(arguments: Any) -> str:
    return arguments if isinstance(arguments, str) else json.dumps(arguments if arguments is not None else {})


def _as_data(arguments: Any) -> Any:
    try:
        return json.loads(arguments) if isinstance(arguments, str) else arguments or {}
    except ValueError:
        return {}


def _tokens(answer: Answer, given: str, returned: str, **more: str) -> dict[str, Any] | None:
    usage = answer.recorded.usage
    if usage is None or usage.input_tokens is None:
        return None
    found = {given: usage.input_tokens, returned: usage.output_tokens or 0}
    return {**found, **{name: getattr(usage, ours) or 0 for name, ours in more.items()}}


def _details(answer: Answer, **names: str) -> dict[str, int]:
    """Return the recorded counts that are part of others, by the provider's *names*."""
    counts = {name: getattr(answer.recorded.usage, ours, None) for name, ours in names.items()}
    return {name: count for name, count in counts.items() if count is not None}


def _chat_tokens(answer: Answer) -> dict[str, Any] | None:
    usage = _tokens(answer, "prompt_tokens", "completion_tokens", total_tokens="total_tokens")
    if usage is None:
        return None
    given = _details(answer, cached_tokens="cache_read_tokens", cache_write_tokens="cache_write_tokens")
    returned = _details(answer, reasoning_tokens="reasoning_tokens")
    usage |= {"prompt_tokens_details": given} if given else {}
    return {**usage, **({"completion_tokens_details": returned} if returned else {})}


def _id(answer: Answer, prefix: str) -> str:
    return str(answer.recorded.metadata.get("response_id") or f"{prefix}{answer.recorded.id}")


def _reason(answer: Answer, default: str) -> str:
    return (answer.recorded.finish_reasons or [default])[0]


def _chat(answer: Answer) -> dict[str, Any]:
    output = answer.recorded.output
    if isinstance(output, list):  # several choices are recorded as the provider spells them
        choices = output
    else:
        message = {"role": "assistant", "content": _message(answer).get("content")}
        calls = [
            {"id": call_id, "type": "function", "function": {"name": name, "arguments": _as_text(arguments)}}
            for call_id, name, arguments in _calls(_message(answer))
        ]
        if calls:
            message |= {"tool_calls": calls, "content": message["content"] or None}
        choices = [{"index": 0, "message": message, "finish_reason": _reason(answer, "stop")}]
    return {
        "id": _id(answer, "chatcmpl-"),
        "object": "chat.completion",
        "created": 0,
        "model": answer.recorded.model or "",
        "choices": choices,
        "usage": _chat_tokens(answer),
    }


def _chat_stream(body: Any) -> list[Any]:
    about = {**body, "object": "chat.completion.chunk"}
    usage = about.pop("usage", None)
    chunks = []
    for choice in body["choices"]:
        message = dict(choice["message"])
        calls = [{**call, "index": index} for index, call in enumerate(message.pop("tool_calls", None) or ())]
        delta = {**message, **({"tool_calls": calls} if calls else {})}
        chunks.append({**about, "choices": [{"index": choice["index"], "delta": delta, "finish_reason": None}]})
        end = {"index": choice["index"], "delta": {}, "finish_reason": choice["finish_reason"]}
        chunks.append({**about, "choices": [end]})
    return [*chunks, {**about, "choices": [], "usage": usage}] if usage else chunks


def _completion(answer: Answer) -> dict[str, Any]:
    choice = {"index": 0, "text": _message(answer)["content"], "finish_reason": _reason(answer, "stop")}
    usage = _tokens(answer, "prompt_tokens", "completion_tokens", total_tokens="total_tokens")
    about = {
        "id": _id(answer, "cmpl-"),
        "object": "text_completion",
        "created": 0,
        "model": answer.recorded.model or "",
    }
    return {**about, "choices": [choice], "usage": usage}


def _response(answer: Answer) -> dict[str, Any]:
    output = answer.recorded.output
    if not isinstance(output, list):
        message = _message(answer)
        text = message.get("content")
        part: dict[str, Any] = {"type": "output_text", "text": text, "annotations": []}
        output = [
            {
                "type": "function_call",
                "id": f"fc_{call_id}",
                "call_id": call_id,
                "name": name,
                "arguments": _as_text(given),
            }
            for call_id, name, given in _calls(message)
        ]
        if reasoning := message.get("reasoning"):
            summary = [{"type": "summary_text", "text": reasoning}]
            output.insert(0, {"type": "reasoning", "id": f"rs_{answer.recorded.id}", "summary": summary})
        if text:
            own_id = f"msg_{answer.recorded.id}"
            shown = {"type": "message", "id": own_id, "role": "assistant", "status": "completed", "content": [part]}
            output.insert(1 if reasoning else 0, shown)
    usage = _tokens(answer, "input_tokens", "output_tokens", total_tokens="total_tokens")
    if usage:
        given = _details(answer, cached_tokens="cache_read_tokens", cache_write_tokens="cache_write_tokens")
        returned = _details(answer, reasoning_tokens="reasoning_tokens")
        usage["input_tokens_details"] = {"cached_tokens": 0, **given}
        usage["output_tokens_details"] = {"reasoning_tokens": 0, **returned}
    return {
        "id": _id(answer, "resp_"),
        "object": "response",
        "created_at": 0,
        "model": answer.recorded.model or "",
        "status": "completed",
        "output": output,
        "tools": [],
        "tool_choice": "auto",
        "parallel_tool_calls": True,
        "usage": usage,
    }


def _response_stream(body: Any) -> list[Any]:
    opened = {**body, "output": [], "status": "in_progress", "usage": None}
    events: list[dict[str, Any]] = [{"type": "response.created", "response": opened}]
    for index, item in enumerate(body["output"]):
        where = {"output_index": index}
        blank: dict[str, Any] = {"content": []} if item.get("type") == "message" else {}
        events.append({"type": "response.output_item.added", "item": {**item, **blank}, **where})
        for position, part in enumerate(item.get("content") or ()):
            at = {**where, "item_id": item.get("id"), "content_index": position}
            text = part.get("text", "")
            events.append({"type": "response.content_part.added", "part": {**part, "text": ""}, **at})
            events.append({"type": "response.output_text.delta", "delta": text, "logprobs": [], **at})
            events.append({"type": "response.output_text.done", "text": text, "logprobs": [], **at})
            events.append({"type": "response.content_part.done", "part": part, **at})
        events.append({"type": "response.output_item.done", "item": item, **where})
    events.append({"type": "response.completed", "response": body})
    return [{**event, "sequence_number": number} for number, event in enumerate(events)]


def _anthropic(answer: Answer) -> dict[str, Any]:
    output = answer.recorded.output
    if isinstance(output, list):
        content = output
    else:
        message = _message(answer)
        text = message.get("content")
        content = [{"type": "text", "text": text}] if isinstance(text, str) and text else list(text or [])
        if reasoning := message.get("reasoning"):
            content.insert(0, {"type": "thinking", "thinking": reasoning, "signature": ""})
        content += [
            {"type": "tool_use", "id": call_id, "name": name, "input": _as_data(arguments)}
            for call_id, name, arguments in _calls(message)
        ]
    return {
        "id": _id(answer, "msg_"),
        "type": "message",
        "role": "assistant",
        "model": answer.recorded.model or "",
        "content": content,
        "stop_reason": _reason(answer, "end_turn"),
        "stop_sequence": None,
        "usage": _anthropic_tokens(answer),
    }


def _anthropic_tokens(answer: Answer) -> dict[str, Any]:
    """Return the token counts; Anthropic does not count cached tokens as input."""
    usage = _tokens(answer, "input_tokens", "output_tokens") or {"input_tokens": 0, "output_tokens": 0}
    cached = _details(
        answer, cache_read_input_tokens="cache_read_tokens", cache_creation_input_tokens="cache_write_tokens"
    )
    thought = _details(answer, thinking_tokens="reasoning_tokens")
    usage["input_tokens"] = max(0, usage["input_tokens"] - sum(cached.values()))
    return {**usage, **cached, **({"output_tokens_details": thought} if thought else {})}


def _anthropic_stream(body: Any) -> list[Any]:
    events: list[Any] = [{"type": "message_start", "message": {**body, "content": [], "stop_reason": None}}]
    for index, block in enumerate(body["content"]):
        blank, delta = _anthropic_delta(block)
        events.append({"type": "content_block_start", "index": index, "content_block": blank})
        if delta is not None:
            events.append({"type": "content_block_delta", "index": index, "delta": delta})
        events.append({"type": "content_block_stop", "index": index})
    end = {"stop_reason": body["stop_reason"], "stop_sequence": None}
    usage = {"output_tokens": body["usage"]["output_tokens"]}
    return [*events, {"type": "message_delta", "delta": end, "usage": usage}, {"type": "message_stop"}]


def _anthropic_delta(block: Any) -> tuple[Any, Any]:
    """Return *block* as it is streamed: without its content, and the content; None for a block that comes whole."""
    kind = block.get("type")
    if kind == "text":
        return {**block, "text": ""}, {"type": "text_delta", "text": block.get("text")}
    if kind == "thinking":
        return {**block, "thinking": ""}, {"type": "thinking_delta", "thinking": block.get("thinking")}
    if "input" not in block:
        return block, None
    return {**block, "input": {}}, {"type": "input_json_delta", "partial_json": json.dumps(block["input"])}


def _google(answer: Answer) -> dict[str, Any]:
    output = answer.recorded.output
    if isinstance(output, list) and output and "content" in output[0]:
        candidates = output
    else:
        message = _message(answer)
        text = message.get("content")
        parts: list[Any] = [{"text": text}] if isinstance(text, str) and text else list(text or [])
        parts += [{"functionCall": {"name": name, "args": _as_data(given)}} for _, name, given in _calls(message)]
        reason = _reason(answer, "STOP").upper()
        candidates = [{"content": {"role": "model", "parts": parts}, "finishReason": reason, "index": 0}]
    usage = _tokens(answer, "promptTokenCount", "candidatesTokenCount", totalTokenCount="total_tokens")
    if usage:
        usage |= _details(answer, cachedContentTokenCount="cache_read_tokens", thoughtsTokenCount="reasoning_tokens")
        usage["candidatesTokenCount"] -= usage.get("thoughtsTokenCount", 0)
    about = {"modelVersion": answer.recorded.model, "responseId": answer.recorded.metadata.get("response_id")}
    return {"candidates": candidates, **({"usageMetadata": usage} if usage else {}), **about}


def _vectors(answer: Answer) -> dict[str, Any]:
    from fluxloop.errors import ReplayError

    raise ReplayError(
        f"the vectors of {answer.recorded.name!r} were recorded in short form. "
        "Record the run again with fluxloop.configure(replayable=True)"
    )


_BODIES: dict[str, Callable[[Answer], Any]] = {
    "openai.chat.completions": _chat,
    "openai.completions": _completion,
    "openai.responses": _response,
    "openai.embeddings": _vectors,
    "anthropic.messages": _anthropic,
    "anthropic.completions": lambda answer: {"type": "completion", "completion": _message(answer)["content"]},
    "google_genai.generate_content": _google,
    "google_genai.embed_content": _vectors,
}
_STREAMS: dict[str, Callable[[Any], list[Any]]] = {
    "openai.chat.completions": _chat_stream,
    "openai.responses": _response_stream,
    "anthropic.messages": _anthropic_stream,
}
"""Make the body of a response, and the items of a stream, by the name of the operation."""
