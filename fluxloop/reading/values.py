"""
A recorded value as one line of text, or in full.

On one line a mapping reads like the arguments of a call, and a conversation like its last message. Nothing that was
recorded can move the cursor or reorder the line: such characters are shown as escapes.
"""

from __future__ import annotations

import json
from itertools import islice
from json.encoder import encode_basestring
from typing import Any

from .json_text import escaped, pieces
from .messages import Message, Part, last_message
from .responses import conversation_of


def brief(value: Any) -> str:
    """Return *value* on one line of any length, with the most informative parts first."""
    try:
        text = _spoken(value)
        if text is None and isinstance(value, dict) and value:
            text = _arguments(value)
    except RecursionError:  # tool calls within tool calls, deeper than any program makes them
        text = None
    return escaped(in_json(value) if text is None else text)


def first_words(value: Any, limit: int) -> str:
    """Return the beginning of `brief`, without encoding a large value whole."""
    text = brief(
        value if isinstance(value, str | int | float | None) and not _is_long(value) else _clipped(value, limit)
    )
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def error_words(error: Any, limit: int) -> str:
    """Return the beginning of an error: of a text without quotation marks, of anything else as `first_words` has it."""
    if type(error) is not str:
        return first_words(error, limit)
    return error if len(error) <= limit else f"{error[: limit - 1]}…"


def _is_long(value: Any) -> bool:
    return isinstance(value, str) and len(value) > MAX_CLIPPED


MAX_CLIPPED = 1_000
"""Items of a value that `first_words` looks at, and characters of a text."""


def _clipped(value: Any, limit: int) -> Any:
    """Return *value* with each text cut to *limit* characters; the JSON text of it where it has too many items."""
    left = MAX_CLIPPED

    def clipped(item: Any) -> Any:
        nonlocal left
        left -= 1
        if left < 0:
            raise OverflowError
        if isinstance(item, str):
            return item[: limit + 1]
        if isinstance(item, list):
            return [clipped(inner) for inner in item]
        return {key: clipped(inner) for key, inner in item.items()} if isinstance(item, dict) else item

    try:
        return clipped(value)
    except (OverflowError, RecursionError):
        return "".join(islice(pieces(value), limit))


def whole(value: Any, width: int = 80) -> list[str]:
    """Return the lines of *value*: text as it is, everything else as JSON, indented where it is wider than *width*."""
    lines = value.expandtabs(4).splitlines() if isinstance(value, str) else _indented(value, width, depth=0)
    return [escaped(line) for line in lines] or ['""']


def _indented(value: Any, width: int, depth: int) -> list[str]:
    """Return JSON in which each container that fits the width stays on one line."""
    line = in_json(value)
    if len(line) <= width or depth == MAX_INDENTED_DEPTH or not (value and isinstance(value, dict | list)):
        return [line]
    keyed = [(f"{in_json(key)}: ", item) for key, item in value.items()] if isinstance(value, dict) else None
    lines = ["{" if keyed else "["]
    for label, item in keyed or [("", item) for item in value]:
        first, *more = _indented(item, width - 2 - len(label), depth + 1)
        lines += [f"  {label}{first}", *(f"  {line}" for line in more)]
        lines[-1] += ","
    lines[-1] = lines[-1][:-1]
    return [*lines, "}" if keyed else "]"]


MAX_INDENTED_DEPTH = 40
"""Levels of nesting that are indented; a deeper container stays on one line."""


def in_json(value: Any) -> str:
    """Return *value* as JSON on one line, of any depth."""
    if (text := _scalar(value)) is not None or (type(value) is dict and (text := _flat(value)) is not None):
        return text
    try:
        return _ENCODER.encode(value)
    except RecursionError:
        return "".join(pieces(value, comma=", ", colon=": "))


def _flat(value: dict[str, Any]) -> str | None:
    """Return a small dict of texts and numbers as the encoder does, which takes 10 us to start; None for others."""
    if len(value) > MAX_FLAT:
        return None
    members = []
    for key, item in value.items():
        text = _scalar(item)
        if text is None or type(key) is not str:
            return None
        members.append(f"{encode_basestring(key)}: {text}")
    return f"{{{', '.join(members)}}}"


MAX_FLAT = 20
"""Members of a dict that are encoded here."""


def _scalar(value: Any) -> str | None:
    """Return the JSON of a text, a number or None; None for other values."""
    kind = type(value)
    if kind is str:
        return encode_basestring(value)
    if kind is int or (kind is float and value - value == 0):  # false for NaN and the infinities
        return repr(value)
    return "null" if value is None else None


_ENCODER = json.JSONEncoder(ensure_ascii=False, default=str)


def call_text(part: Part) -> str:
    """Return a tool call, as in ``get_weather(city="Paris")``."""
    text = _arguments(part.value) if isinstance(part.value, dict) else str(part.value)
    return f"{part.name}({text})"


def _arguments(values: dict[str, Any]) -> str:
    return ", ".join(f"{key}={_spoken(value) or in_json(value)}" for key, value in values.items())


def _spoken(value: Any) -> str | None:
    """Return the last message of a list, of a response, or *value* itself if it is one; None for other values."""
    if isinstance(value, list):
        found = last_message(value)
        return found and f"{_on_one_line(found[0])}{f' (after {found[1]} more)' if found[1] else ''}"
    conversation = conversation_of(value) if isinstance(value, dict) else None
    if conversation is None:
        return None
    first, *others = conversation.messages
    return f"{_on_one_line(first)}{f' (and {len(others)} more)' if others else ''}"


def _on_one_line(message: Message) -> str:
    """Return the role, the texts and the calls of *message*; its reasoning only if there is nothing else."""
    parts = [part for part in message.parts if part.kind != "reasoning"]
    return f"{message.role}: {' '.join(map(_part, parts or message.parts))}"


def _part(part: Part) -> str:
    if part.kind == "call":
        return call_text(part)
    if part.kind == "note" and part.name in _SHOWN_NOTES:
        return f"<{part.name}: {part.value}>" if part.value else f"<{part.name}>"
    if part.kind == "note" or (part.kind == "data" and part.name):
        return f"<{part.name}>"
    if part.kind == "reasoning":
        return f"<reasoning> {in_json(part.value)}" if part.value else "<reasoning>"
    return in_json(part.value)


_SHOWN_NOTES = ("refusal", "no content", "error")
"""Notes whose words are the answer."""
