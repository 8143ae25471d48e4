"""
The streams of Google, Amazon Bedrock, Ollama and Cohere, and ChatKit's thread events.
"""

from __future__ import annotations

from ..fields import Fields, fields, get, listed
from ..response_facts import read_facts
from .answers import Answer
from .content import Reader, function_call


def _google(answer: Answer, held: Fields, item: object) -> str | None:
    """GenerateContentResponse: each chunk has the counts so far; thoughts are parts marked as such."""
    if type(get(held, "candidates")) is not list and not (get(held, "usage_metadata") or get(held, "usageMetadata")):
        return None
    said = answer.say(None)
    answer.turn_to(get(held, "response_id") or get(held, "responseId"))
    answer.learn(item, model=get(held, "model_version") or get(held, "modelVersion"))
    for candidate in map(fields, listed(get(held, "candidates"))[:1]):
        for part in map(fields, listed(get(fields(get(candidate, "content")), "parts"))):
            said += _google_part(answer, part)
        answer.stop(get(candidate, "finish_reason") or get(candidate, "finishReason"))
    answer.count(get(held, "usage_metadata") or get(held, "usageMetadata"))
    return said


def _google_part(answer: Answer, part: Fields) -> str:
    if call := fields(get(part, "function_call") or get(part, "functionCall")):
        return answer.call(None, call_id=get(call, "id"), name=get(call, "name"), arguments=get(call, "args"))
    return answer.think(get(part, "text")) if get(part, "thought") else answer.say(get(part, "text"))


def _bedrock_start(answer: Answer, held: Fields, item: object) -> str:
    event = fields(get(held, "contentBlockStart"))
    if tool := fields(get(fields(get(event, "start")), "toolUse")):
        answer.call(get(event, "contentBlockIndex"), call_id=get(tool, "toolUseId"), name=get(tool, "name"))
    return answer.say(None)


def _bedrock_delta(answer: Answer, held: Fields, item: object) -> str:
    event = fields(get(held, "contentBlockDelta"))
    delta = fields(get(event, "delta"))
    if tool := fields(get(delta, "toolUse")):
        return answer.call(get(event, "contentBlockIndex"), arguments=get(tool, "input"))
    if thought := fields(get(delta, "reasoningContent")):
        return answer.think(get(thought, "text"))
    return answer.say(get(delta, "text"))


def _bedrock_silent(answer: Answer, held: Fields, item: object) -> str:
    return answer.say(None)


def _bedrock_stop(answer: Answer, held: Fields, item: object) -> str:
    answer.stop(get(fields(get(held, "messageStop")), "stopReason"))
    return answer.say(None)


def _bedrock_metadata(answer: Answer, held: Fields, item: object) -> str | None:
    """The counts come last, in an event of their own."""
    usage = get(fields(get(held, "metadata")), "usage")
    if "inputTokens" not in fields(usage):
        return None
    answer.count(usage)
    return answer.say(None)


def _ollama(answer: Answer, held: Fields, item: object) -> str | None:
    """ChatResponse and GenerateResponse; the counts are on the last, which is ``done``."""
    message = fields(get(held, "message"))
    text = get(message, "content") if message else get(held, "response")
    if not isinstance(text, str):
        return None
    if get(held, "done") and (facts := read_facts(item)):
        answer.settle(facts)
    answer.learn(item, model=get(held, "model"))
    answer.think(get(message, "thinking") or get(held, "thinking"))
    for call in listed(get(message, "tool_calls")):
        function_call(answer, None, call)
    return answer.say(text)


def _cohere(answer: Answer, held: Fields, item: object) -> str:
    delta = fields(get(held, "delta"))
    message = fields(get(delta, "message"))
    if call := get(message, "tool_calls"):
        return function_call(answer, get(held, "index"), call)
    answer.learn(item)
    if facts := read_facts(delta):
        answer.settle(facts)
    piece = fields(get(message, "content"))
    answer.think(get(piece, "thinking"))
    return answer.say(get(piece, "text"))


def _chatkit(answer: Answer, held: Fields, item: object) -> str:
    """The text comes again, whole, when its item is done."""
    update = fields(get(held, "update"))
    is_text = get(update, "type") == "assistant_message.content_part.text_delta"
    return answer.say(get(update, "delta") if is_text else None)


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
