"""
What the readers of all providers share: content blocks, tool calls, and the shape of a reader.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from ..fields import Fields, fields, get, listed
from .answers import Answer

Reader: TypeAlias = Callable[[Answer, Fields, object], str | None]
"""
Adds to the answer what an item brings: given what the item holds, and the item.

Returns the text it added, "" for none, or None if the item is not what its name promised.
"""


def content(answer: Answer, value: object) -> str:
    """Add a message's content, text or a list of blocks; return the text of it."""
    return blocks(answer, value) if type(value) is list else answer.say(value)


def blocks(answer: Answer, value: object) -> str:
    """Add content blocks as Anthropic, LangChain, Mistral and OpenAI spell them; return their text."""
    said = answer.say(None)
    for block in listed(value):
        held = fields(block)
        kind = get(held, "type")
        if type(block) is str:
            said += answer.say(block)
        elif kind in ("text", "output_text"):
            said += answer.say(get(held, "text"))
        elif kind in ("reasoning", "thinking"):
            answer.think(get(held, "reasoning") or get(held, "thinking"))
        elif kind == "refusal":
            answer.refuse(get(held, "refusal"))
        elif type(kind) is str and kind.endswith("tool_use") and (arguments := get(held, "input")):
            answer.call(None, call_id=get(held, "id"), name=get(held, "name"), arguments=arguments)
    return said


def function_call(answer: Answer, index: object, value: object) -> str:
    """Add a tool call as OpenAI spells it, and those who speak like it: Mistral, Ollama, Cohere."""
    held = fields(value)
    function = fields(get(held, "function"))
    arguments = get(function, "arguments")
    return answer.call(index, call_id=get(held, "id"), name=get(function, "name"), arguments=arguments)
