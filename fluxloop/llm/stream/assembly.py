"""
Tell what each item of a model's stream adds: text, reasoning, tool calls, counts.

`delta_text` reads one item, `StreamFacts` a whole stream as it passes, in any provider's shape, as
objects and as dicts. Neither raises, and neither keeps an item. What is said twice - by an SDK's own
events beside the raw ones, by a final whole beside its pieces - counts once.
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
    A reader of one stream: show it each item with `on_item`; ask `text`, `message` and `facts` at any time.

    ::

        stream = StreamFacts()
        for chunk in client.chat.completions.create(..., stream=True):
            stream.saw(chunk)
        stream.text(), stream.facts().usage
    """

    __slots__ = ()

    def on_item(self, item: object) -> str | None:
        """Note *item* and return the text it adds: "" if it adds none, None if it is no piece of an answer."""
        if type(item) is str:
            return self.say(item)
        try:
            return _read(self, item, _DEPTH)
        except Exception as exc:  # shapes are others' and change; what cannot be read is no piece we know
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
        To join the text of a stream use `StreamFacts`, which knows when an item repeats others.
    """
    return item if type(item) is str else StreamFacts().on_item(item)


_DEPTH = 4
"""How many wrappers deep an item is looked for: LangGraph's ``(namespace, mode, (chunk, metadata))``."""

_BY_TYPE: dict[str, Reader] = {**openai.BY_TYPE, **anthropic.BY_TYPE, **langchain.BY_TYPE, **others.BY_TYPE}
"""The reader of an item that names itself, by its ``type`` or ``event``."""

_BY_NAME: dict[str, Reader] = {**openai.BY_NAME, **others.BY_NAME}
"""The reader of an item that does not, by a name it holds; the first that knows the item reads it."""

_SILENT = openai.SILENT + anthropic.SILENT + langchain.SILENT + others.SILENT
"""How items name themselves that belong to a stream and add nothing, most often as they repeat."""

_WRAPPERS = {
    "raw_response_event": ("data",),  # OpenAI Agents SDK
    "chunk": ("chunk",),  # OpenAI's chat.completions.stream()
    "ChatGenerationChunk": ("message",),
    "ChatGeneration": ("message",),
    "on_chat_model_stream": ("data", "chunk"),  # LangChain's astream_events
    "on_llm_stream": ("data", "chunk"),
}
"""Events that carry the provider's item, and where."""


def _read(answer: Answer, item: object, depth: int) -> str | None:
    held = fields(item)
    if not held or not depth:
        return _read_unnamed(answer, item, depth)
    kind = _kind(held)
    if kind is not None:
        if (reader := _BY_TYPE.get(kind)) and (said := reader(answer, held, item)) is not None:
            return said
        if (path := _WRAPPERS.get(kind)) and (said := _read(answer, _at(held, path), depth - 1)) is not None:
            answer.has_pieces = True
            return said
    for name, reader in _BY_NAME.items():
        if name in held and (said := reader(answer, held, item)) is not None:
            return said
    if kind is not None and kind.startswith(_SILENT):
        return answer.say(None)
    if facts := read_facts(item):
        answer.settle(facts)
    return None


def _read_unnamed(answer: Answer, item: object, depth: int) -> str | None:
    """Read text of a library's own type, a list of content blocks, or the tuple LangGraph makes around a chunk."""
    if type(item) is list:
        return blocks(answer, item) if item and name_of(get(fields(item[0]), "type")) else None
    if type(item) is tuple and depth and len(item) in (2, 3):
        inner = item[-1] if type(item[0]) in (str, tuple) else item[0]
        return _read(answer, inner, depth - 1) if type(inner) not in ATOMS else None
    text = text_of(item)
    return None if text is None else answer.say(text)


def _kind(held: Fields) -> str | None:
    """Return the word by which events name themselves: ``type``, or LangChain's ``event``."""
    kind = get(held, "type")
    if kind is None:
        kind = get(held, "event")
    return kind if type(kind) is str else None


def _at(held: Fields, path: tuple[str, ...]) -> object:
    for name in path[:-1]:
        held = fields(get(held, name))
    return get(held, path[-1])
