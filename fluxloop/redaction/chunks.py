"""
Mask secrets that are split over the items of a stream.

Texts under the same path of consecutive items, such as ``{"text": "sk-"}, {"text": "proj-…"}``, are parts of one text.
They are joined, masked and split again at the same positions.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Protocol, cast

import orjson

if TYPE_CHECKING:
    from .rules import JSON

Path = tuple[object, ...]
Place = tuple[Any, Any, str]
"""A container, the key or index in it, and the text there."""

_BYTES = re.compile(r"(<(?:bytes|bytearray|memoryview) [\d,]+(?:: )?)(.*)(>)", re.DOTALL)
"""Bytes that contain text, as written by `fluxloop.encoding`."""
_DEEPEST = 20
_EVENT = re.compile(r"^(?:data:)?[ ]?(\{.*\})[ \r]*$", re.MULTILINE)
"""A server-sent event, or a line of JSON lines."""


class Masker(Protocol):
    """Masks a value, or a text in pieces; implemented by `Redactor`."""

    def redact(self, value: JSON) -> tuple[JSON, int]: ...
    def text(self, text: str) -> tuple[str, int]: ...
    def split(self, pieces: Sequence[str]) -> tuple[list[str], int]: ...


def mask_items(redactor: Masker, items: list[JSON]) -> tuple[list[JSON], int]:
    """
    Mask *items*; containers among them are changed in place.

    Returns:
        The items, and the number of masked places. The list is empty if a secret is split over several events inside
        the texts, because its parts cannot be located.
    """
    if _are_texts(items):
        pieces = cast("list[str]", items)
        masked, places = redactor.split(pieces)
        return ([], places + 1) if _is_split_over_events(redactor, pieces) else ([*masked], places)
    places = 0
    for texts in _by_path(items).values():
        if len(texts) < 2:
            continue
        inner = [_BYTES.fullmatch(text) for *_, text in texts]
        pieces = [found[2] if found else text for found, (*_, text) in zip(inner, texts, strict=True)]
        masked, count = redactor.split(pieces)
        if _is_split_over_events(redactor, pieces):
            return [], places + 1
        places += count
        if count:
            for found, piece, (container, key, _) in zip(inner, masked, texts, strict=True):
                container[key] = f"{found[1]}{piece}{found[3]}" if found else piece
    return items, places


def _are_texts(items: list[JSON]) -> bool:
    """Return whether all items are texts, and none of them is the text of bytes; runs no code per item."""
    # A text that has a zero byte before ``<`` is taken for the text of bytes, which gives the same result.
    return set(map(type, items)) == {str} and "\0<" not in "\0" + "\0".join(cast("list[str]", items))


def _by_path(items: list[JSON]) -> dict[Path, list[Place]]:
    found: dict[Path, list[Place]] = defaultdict(list)
    for index, item in enumerate(items):
        for path, place in _texts((), items, index, item):
            found[path].append(place)
    return found


def _texts(path: Path, container: Any, key: Any, value: JSON) -> Iterator[tuple[Path, Place]]:
    if isinstance(value, str):
        yield path, (container, key, value)
    elif isinstance(value, dict | list) and len(path) < _DEEPEST:
        inner: Iterable[tuple[object, JSON]] = value.items() if isinstance(value, dict) else enumerate(value)
        for name, item in list(inner):
            yield from _texts((*path, name), value, name, item)


def _is_split_over_events(redactor: Masker, pieces: list[str]) -> bool:
    """Return whether *pieces* are server-sent events or JSON lines with a secret that is split over several."""
    joined = "".join(pieces)
    if "{" not in joined:
        return False
    events: list[JSON] = []
    for event in _EVENT.finditer(joined):
        try:
            events.append(orjson.loads(event[1]))
        except orjson.JSONDecodeError:
            continue
    for places in _by_path(events).values():
        texts = [text for *_, text in places]
        masked, count = redactor.split(texts)
        if count and masked != [redactor.text(text)[0] for text in texts]:
            return True
    return False
