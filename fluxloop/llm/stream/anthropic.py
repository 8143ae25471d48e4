"""
Parse Anthropic's streams: raw message events, and the SDK's own events.
"""

from __future__ import annotations

from ..fields import Fields, fields, get
from ..response_facts import read_facts
from .answers import Answer
from .content import Reader, blocks


def _message_start(answer: Answer, held: Fields, item: object) -> str:
    message = fields(get(held, "message"))
    answer.begin_response(get(message, "id"), new=True)
    answer.set_model(item, model=get(message, "model"))
    answer.update_usage(get(message, "usage"))
    return answer.add_text(None)


def _message_delta(answer: Answer, held: Fields, item: object) -> str:
    """The counts are cumulative: they replace those of ``message_start``."""
    answer.set_finish_reason(get(fields(get(held, "delta")), "stop_reason"))
    answer.update_usage(get(held, "usage"))
    return answer.add_text(None)


def _block_start(answer: Answer, held: Fields, item: object) -> str:
    answer.has_pieces = True
    block = fields(get(held, "content_block"))
    if str(get(block, "type")).endswith("tool_use"):
        answer.add_call(get(held, "index"), call_id=get(block, "id"), name=get(block, "name"))
    return answer.add_text(get(block, "text"))


def _block_delta(answer: Answer, held: Fields, item: object) -> str:
    answer.has_pieces = True
    delta = fields(get(held, "delta"))
    if (arguments := get(delta, "partial_json")) is not None:
        return answer.add_call(get(held, "index"), arguments=arguments)
    if (thought := get(delta, "thinking")) is not None:
        return answer.add_reasoning(thought)
    return answer.add_text(get(delta, "text"))


def _message(answer: Answer, held: Fields, item: object) -> str | None:
    """A complete Message, alone or after its chunks."""
    if type(get(held, "content")) is not list or not (facts := read_facts(item)):
        return None
    repeats = answer.repeats(facts.response_id)
    answer.set_facts(facts)
    return answer.add_text(None) if repeats else blocks(answer, get(held, "content"))


def _sdk_text(answer: Answer, held: Fields, item: object) -> str | None:
    """``messages.stream()`` yields each text twice: in the raw event, and in this one. A text block looks the same."""
    text = get(held, "text")
    return answer.add_text(None if answer.has_pieces else text) if isinstance(text, str) else None


BY_TYPE: dict[str, Reader] = {
    "message_start": _message_start,
    "message_delta": _message_delta,
    "content_block_start": _block_start,
    "content_block_delta": _block_delta,
    "message": _message,
    "text": _sdk_text,
}

SILENT = ("message_stop", "content_block_stop", "input_json", "thinking", "signature", "citation")
