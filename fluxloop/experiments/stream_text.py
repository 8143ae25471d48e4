"""
Collect the text of a stream: strings, chunks of model providers, events of ChatKit, or mappings with a known path.

The text of a delta counts once. Once an item of the stream has sent deltas, its final full text is ignored.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

DELTA_PATHS = ("update.delta", "message.delta", "delta.text", "delta.content", "delta", "choices.0.delta.content")
"""Where a delta is looked for, in this order, if the configuration names no path."""

FINAL_PATHS = ("update.content.text", "item.content.0.text", "content.0.text", "text", "content", "output_text")
"""Where the full text of an item is looked for, if no deltas were seen for it."""

ID_PATHS = ("item_id", "item.id", "id")

MAX_ITEMS = 1_000
"""Items without any text that are kept as the output."""


class StreamText:
    """
    Collects the output of one stream.

    Args:
        path: The dotted path of the text in each item; None looks in the usual places.
    """

    def __init__(self, path: str | None = None) -> None:
        self._path = path
        self._parts: list[str] = []
        self._with_deltas: set[object] = set()
        self._others: list[Any] = []

    def add(self, item: Any) -> None:
        """Take the next *item* of the stream."""
        if isinstance(item, str):
            self._parts.append(item)
        elif isinstance(item, tuple) and item and _text_at(item[0], "content") is not None:  # LangGraph's messages mode
            self.add(item[0])
        elif self._path is not None and (text := _text_at(item, self._path)) is not None:
            self._parts.append(text)
        elif self._path is None and (text := _first(item, DELTA_PATHS)) is not None:
            self._parts.append(text)
            self._with_deltas.add(_identity(item))
        elif (text := _first(item, FINAL_PATHS)) is not None:
            self._add_final(item, text)
        elif len(self._others) < MAX_ITEMS:
            self._others.append(item)

    def _add_final(self, item: Any, text: str) -> None:
        """Take the full text of an item, unless its deltas were taken; chunks of LangChain are always parts."""
        if self._path is not None:
            return
        if type(item).__name__.endswith("Chunk"):
            self._parts.append(text)
            return
        identity = _identity(item)
        seen = (
            bool(self._with_deltas) if identity is None else identity in self._with_deltas or None in self._with_deltas
        )
        if not seen:
            self._parts.append(text)

    @property
    def output(self) -> Any:
        """The joined text; the items if none had a text; None for an empty stream."""
        if self._parts or not self._others:
            return "".join(self._parts) if self._parts else None
        return self._others


def _identity(item: Any) -> object:
    return next((found for path in ID_PATHS if isinstance(found := value_at(item, path), str)), None)


def _first(item: Any, paths: tuple[str, ...]) -> str | None:
    return next((text for path in paths if (text := _text_at(item, path)) is not None), None)


def _text_at(item: Any, path: str) -> str | None:
    found = value_at(item, path)
    return found if isinstance(found, str) else None


def value_at(item: Any, path: str) -> Any:
    """Return the value at the dotted *path*, through keys, attributes and indexes; None if there is none."""
    for part in path.split("."):
        if isinstance(item, Mapping):
            item = item.get(part)
        elif part.isdecimal() and isinstance(item, list | tuple):
            item = item[int(part)] if int(part) < len(item) else None
        else:
            item = getattr(item, part, None)
        if item is None:
            return None
    return item
