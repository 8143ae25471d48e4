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


def brief(value: Any) -> str:
    """Return *value* on one line of any length, with the most informative parts first."""
    try:
        text = _message(value) or _conversation(value)
        if text is None and isinstance(value, dict) and value:
            text = _arguments(value)
    except RecursionError:  # tool calls within tool calls, deeper than any program makes them
        text = None
    return escaped(_json(value) if text is None else text)


_ENCODER = json.JSONEncoder(ensure_ascii=False, default=str)


def first_words(value: Any, limit: int) -> str:
    """Return the beginning of `brief`, without encoding a large value whole."""
    text = brief(
        value if isinstance(value, str | int | float | None) and not _is_long(value) else _clipped(value, limit)
    )
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


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
    line = _json(value)
    if len(line) <= width or depth == MAX_INDENTED_DEPTH or not (value and isinstance(value, dict | list)):
        return [line]
    keyed = [(f"{_json(key)}: ", item) for key, item in value.items()] if isinstance(value, dict) else None
    lines = ["{" if keyed else "["]
    for label, item in keyed or [("", item) for item in value]:
        first, *more = _indented(item, width - 2 - len(label), depth + 1)
        lines += [f"  {label}{first}", *(f"  {line}" for line in more)]
        lines[-1] += ","
    lines[-1] = lines[-1][:-1]
    return [*lines, "}" if keyed else "]"]


MAX_INDENTED_DEPTH = 40
"""Levels of nesting that are indented; a deeper container stays on one line."""


def _arguments(values: dict[str, Any]) -> str:
    return ", ".join(f"{key}={_conversation(value) or _json(value)}" for key, value in values.items())


def _conversation(value: Any) -> str | None:
    """Return the last of a list of chat messages, and the number of messages before it; None for other lists."""
    if not (isinstance(value, list) and value):
        return None
    last = _message(value[-1])
    if last is None or any(_message(item) is None for item in value[:-1]):
        return None
    return last if len(value) == 1 else f"{last} (after {len(value) - 1} more)"


def _message(value: Any) -> str | None:
    """Return a chat message of OpenAI, Anthropic or LangChain as text; None for other values."""
    if not (isinstance(value, dict) and "content" in value):
        return None
    role = value.get("role") or value.get("type")
    if not isinstance(role, str):
        return None
    calls = value.get("tool_calls")
    parts = [_text(value["content"]), *map(_call, calls if isinstance(calls, list) else ())]
    return f"{role}: {' '.join(filter(None, parts))}"


def _text(content: Any) -> str:
    """Return the text of a message: of a list of parts, the texts, and the types of the other parts."""
    if isinstance(content, str):
        return _json(content) if content else ""
    if isinstance(content, list) and all(isinstance(part, dict) for part in content):
        texts = (part.get("text") for part in content)
        types = (part.get("type", "part") for part in content)
        return " ".join(_json(text) if text else f"<{kind}>" for text, kind in zip(texts, types, strict=True))
    return _json(content) if content else ""


def _call(call: Any) -> str:
    """Return a tool call that a model requested, as in ``get_weather(city="Paris")``."""
    if not isinstance(call, dict):
        return _json(call)
    inner = call.get("function")
    function = inner if isinstance(inner, dict) else call
    arguments = function.get("args", function.get("arguments", function.get("input")))
    text = _arguments(arguments) if isinstance(arguments, dict) else str(arguments or "")
    return f"{function.get('name', 'tool')}({text})"


def _json(value: Any) -> str:
    if type(value) is str:
        return encode_basestring(value)
    try:
        return _ENCODER.encode(value)
    except RecursionError:
        return "".join(pieces(value, comma=", ", colon=": "))
