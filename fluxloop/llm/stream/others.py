"""
Parse the streams of Google, Amazon Bedrock, Ollama and Cohere, and ChatKit's thread events.
"""

from __future__ import annotations

from ..fields import Fields, fields, get, listed
from ..response_facts import read_facts
from .answers import Answer
from .content import Reader, function_call


def _google(answer: Answer, held: Fields, item: object) -> str | None:
    """GenerateContentResponse: the token counts are cumulative; thoughts are parts with a mark."""
    if type(get(held, "candidates")) is not list and not (get(held, "usage_metadata") or get(held, "usageMetadata")):
        return None
    text = answer.add_text(None)
    answer.begin_response(get(held, "response_id") or get(held, "responseId"))
    answer.set_model(item, model=get(held, "model_version") or get(held, "modelVersion"))
    for candidate in map(fields, listed(get(held, "candidates"))[:1]):
        for part in map(fields, listed(get(fields(get(candidate, "content")), "parts"))):
            text += _google_part(answer, part)
        answer.set_finish_reason(get(candidate, "finish_reason") or get(candidate, "finishReason"))
    answer.update_usage(get(held, "usage_metadata") or get(held, "usageMetadata"))
    return text


def _google_part(answer: Answer, part: Fields) -> str:
    if call := fields(get(part, "function_call") or get(part, "functionCall")):
        return answer.add_call(None, call_id=get(call, "id"), name=get(call, "name"), arguments=get(call, "args"))
    return answer.add_reasoning(get(part, "text")) if get(part, "thought") else answer.add_text(get(part, "text"))


def _bedrock_start(answer: Answer, held: Fields, item: object) -> str:
    event = fields(get(held, "contentBlockStart"))
    if tool := fields(get(fields(get(event, "start")), "toolUse")):
        answer.add_call(get(event, "contentBlockIndex"), call_id=get(tool, "toolUseId"), name=get(tool, "name"))
    return answer.add_text(None)


def _bedrock_delta(answer: Answer, held: Fields, item: object) -> str:
    event = fields(get(held, "contentBlockDelta"))
    delta = fields(get(event, "delta"))
    if tool := fields(get(delta, "toolUse")):
        return answer.add_call(get(event, "contentBlockIndex"), arguments=get(tool, "input"))
    if thought := fields(get(delta, "reasoningContent")):
        return answer.add_reasoning(get(thought, "text"))
    return answer.add_text(get(delta, "text"))


def _bedrock_silent(answer: Answer, held: Fields, item: object) -> str:
    return answer.add_text(None)


def _bedrock_stop(answer: Answer, held: Fields, item: object) -> str:
    answer.set_finish_reason(get(fields(get(held, "messageStop")), "stopReason"))
    return answer.add_text(None)


def _bedrock_metadata(answer: Answer, held: Fields, item: object) -> str | None:
    """The last event, which contains the token counts."""
    usage = get(fields(get(held, "metadata")), "usage")
    if "inputTokens" not in fields(usage):
        return None
    answer.update_usage(usage)
    return answer.add_text(None)


def _ollama(answer: Answer, held: Fields, item: object) -> str | None:
    """ChatResponse and GenerateResponse; the last one is ``done`` and has the token counts."""
    message = fields(get(held, "message"))
    text = get(message, "content") if message else get(held, "response")
    if not isinstance(text, str):
        return None
    if get(held, "done") and (facts := read_facts(item)):
        answer.set_facts(facts)
    answer.set_model(item, model=get(held, "model"))
    answer.add_reasoning(get(message, "thinking") or get(held, "thinking"))
    for call in listed(get(message, "tool_calls")):
        function_call(answer, None, call)
    return answer.add_text(text)


def _cohere(answer: Answer, held: Fields, item: object) -> str:
    delta = fields(get(held, "delta"))
    message = fields(get(delta, "message"))
    if call := get(message, "tool_calls"):
        return function_call(answer, get(held, "index"), call)
    answer.set_model(item)
    if facts := read_facts(delta):
        answer.set_facts(facts)
    piece = fields(get(message, "content"))
    answer.add_reasoning(get(piece, "thinking"))
    return answer.add_text(get(piece, "text"))


def _chatkit(answer: Answer, held: Fields, item: object) -> str:
    """A thread item is updated with each text delta, and repeats the whole text when it is done."""
    update = fields(get(held, "update"))
    is_text = get(update, "type") == "assistant_message.content_part.text_delta"
    return answer.add_text(get(update, "delta") if is_text else None)


BY_TYPE: dict[str, Reader] = {
    "content-delta": _cohere,
    "tool-call-start": _cohere,
    "tool-call-delta": _cohere,
    "message-end": _cohere,
    "thread.item.updated": _chatkit,
}

BY_NAME: dict[str, Reader] = {
    "candidates": _google,
    "contentBlockDelta": _bedrock_delta,
    "contentBlockStart": _bedrock_start,
    "contentBlockStop": _bedrock_silent,
    "messageStart": _bedrock_silent,
    "messageStop": _bedrock_stop,
    "metadata": _bedrock_metadata,
    "done": _ollama,
}

SILENT = ("content-start", "content-end", "tool-plan-delta", "tool-call-end", "citation-", "thread.item.")
