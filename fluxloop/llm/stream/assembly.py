"""
Parse the stream of a model into text, reasoning, tool calls and token counts.

`delta_text` reads one item, and `StreamFacts` a stream, item by item. Items may be objects or dicts of any provider.
Neither function raises or keeps a reference to an item. Content that a stream repeats, in an SDK's own events or in a
complete response at the end, is added once.
"""

from __future__ import annotations

from ...interruptions import was_raised_from_outside
from ..fields import ATOMS, Fields, fields, get, name_of, text_of
from ..response_facts import read_facts
from . import anthropic, langchain, openai, others
from .answers import Answer
from .content import Reader, blocks


class StreamFacts(Answer):
    """
    Parser of one stream: `on_item` reads an item; `text`, `message` and `facts` return the answer so far.

    ::

        stream = StreamFacts()
        for chunk in client.chat.completions.create(..., stream=True):
            stream.on_item(chunk)
        stream.text(), stream.facts().usage
    """

    __slots__ = ()

    def on_item(self, item: object) -> str | None:
        """Read *item* and return the text it adds: "" if it adds none, None if it does not belong to an answer."""
        if type(item) is str:
            return self.add_text(item)
        try:
            return _read(self, item, _DEPTH)
        except Exception as exc:  # of code in the item, or of an unknown shape
            if was_raised_from_outside(exc):
                raise
            return None


def delta_text(item: object) -> str | None:
    """
    Return the text that *item*, taken alone, adds to a streamed answer.

    Args:
        item: Text, or a chunk or event of any provider or framework, as object or dict.

    Returns:
        The text; "" for a known shape that adds none (a tool call, an ending); None for anything else.
        To join the text of a stream use `StreamFacts`, which recognises items that repeat others.
    """
    return item if type(item) is str else StreamFacts().on_item(item)


_DEPTH = 4
"""Wrappers around an item that are removed at most, such as LangGraph's ``(namespace, mode, (chunk, metadata))``."""

_BY_TYPE: dict[str, Reader] = {**openai.BY_TYPE, **anthropic.BY_TYPE, **langchain.BY_TYPE, **others.BY_TYPE}
"""Readers by the ``type`` or ``event`` of an item."""

_BY_NAME: dict[str, Reader] = {**openai.BY_NAME, **others.BY_NAME}
"""Readers of items without a type, by a field they have; the first that recognises the item reads it."""

_SILENT = openai.SILENT + anthropic.SILENT + langchain.SILENT + others.SILENT
"""Prefixes of the types of items that add nothing; most of them repeat other items."""

_WRAPPERS = {
    "raw_response_event": ("data",),  # OpenAI Agents SDK
    "chunk": ("chunk",),  # OpenAI's chat.completions.stream()
    "ChatGenerationChunk": ("message",),
    "ChatGeneration": ("message",),
    "on_chat_model_stream": ("data", "chunk"),  # LangChain's astream_events
    "on_llm_stream": ("data", "chunk"),
}
"""Events that contain the provider's item, and the path to it."""


def _read(answer: Answer, item: object, depth: int) -> str | None:
    held = fields(item)
    if not held or not depth:
        return _read_unnamed(answer, item, depth)
    kind = _kind(held)
    if kind is not None:
        if (reader := _BY_TYPE.get(kind)) and (text := reader(answer, held, item)) is not None:
            return text
        if (path := _WRAPPERS.get(kind)) and (text := _read(answer, _at(held, path), depth - 1)) is not None:
            answer.has_pieces = True
            return text
    for name, reader in _BY_NAME.items():
        if name in held and (text := reader(answer, held, item)) is not None:
            return text
    if kind is not None and kind.startswith(_SILENT):
        return answer.add_text(None)
    if facts := read_facts(item):
        answer.set_facts(facts)
    return None


def _read_unnamed(answer: Answer, item: object, depth: int) -> str | None:
    """Read a text of any class, a list of content blocks, or the tuple in which LangGraph wraps a chunk."""
    if type(item) is list:
        return blocks(answer, item) if item and name_of(get(fields(item[0]), "type")) else None
    if type(item) is tuple and depth and len(item) in (2, 3):
        inner = item[-1] if type(item[0]) in (str, tuple) else item[0]
        return _read(answer, inner, depth - 1) if type(inner) not in ATOMS else None
    text = text_of(item)
    return None if text is None else answer.add_text(text)


def _kind(held: Fields) -> str | None:
    """Return the ``type`` of an item, or LangChain's ``event``."""
    kind = get(held, "type")
    if kind is None:
        kind = get(held, "event")
    return kind if type(kind) is str else None


def _at(held: Fields, path: tuple[str, ...]) -> object:
    for name in path[:-1]:
        held = fields(get(held, name))
    return get(held, path[-1])
