"""
Parse what the streams of several providers share: content blocks and tool calls.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from ..fields import Fields, fields, get, listed
from .answers import Answer

Reader: TypeAlias = Callable[[Answer, Fields, object], str | None]
"""
Adds an item to the answer; its arguments are the answer, the item's fields and the item.

Returns the added text, "" for none, or None if the item is not of the kind that its name suggests.
"""


def content(answer: Answer, value: object) -> str:
    """Add a message's content, text or a list of blocks; return the text of it."""
    return blocks(answer, value) if type(value) is list else answer.add_text(value)


def blocks(answer: Answer, value: object) -> str:
    """Add content blocks of Anthropic, LangChain, Mistral and OpenAI; return their text."""
    text = answer.add_text(None)
    for block in listed(value):
        held = fields(block)
        kind = get(held, "type")
        if type(block) is str:
            text += answer.add_text(block)
        elif kind in ("text", "output_text"):
            text += answer.add_text(get(held, "text"))
        elif kind in ("reasoning", "thinking"):
            answer.add_reasoning(get(held, "reasoning") or get(held, "thinking"))
        elif kind == "refusal":
            answer.add_refusal(get(held, "refusal"))
        elif type(kind) is str and kind.endswith("tool_use") and (arguments := get(held, "input")):
            answer.add_call(None, call_id=get(held, "id"), name=get(held, "name"), arguments=arguments)
    return text


def function_call(answer: Answer, index: object, value: object) -> str:
    """Add a tool call in the form of OpenAI, which Mistral, Ollama and Cohere use as well."""
    held = fields(value)
    function = fields(get(held, "function"))
    arguments = get(function, "arguments")
    return answer.add_call(index, call_id=get(held, "id"), name=get(function, "name"), arguments=arguments)
