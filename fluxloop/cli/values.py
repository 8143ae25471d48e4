"""
Say a recorded value in one line, or in full.

In one line a mapping reads like the arguments of a call, and a conversation like its last message.
Nothing a program recorded can move the cursor or reorder the line: control characters are spelled out.
"""

from __future__ import annotations

import json
import re
from typing import Any


def brief(value: Any) -> str:
    """Return *value* in one line of any length, the telling parts first."""
    if (message := _message(value) or _conversation(value)) is not None:
        return plain(message)
    if isinstance(value, dict) and value:
        return plain(_arguments(value))
    return plain(_json(value))


def whole(value: Any, width: int = 80) -> list[str]:
    """Return the lines of *value*: text as it is, everything else as JSON, opened up where it is wider than *width*."""
    lines = value.expandtabs(4).splitlines() if isinstance(value, str) else _opened(value, width, depth=0)
    return [plain(line) for line in lines] or ['""']


def _opened(value: Any, width: int, depth: int) -> list[str]:
    """JSON in which whatever fits stays on one line."""
    line = _json(value)
    if len(line) <= width or depth == DEEPEST or not (value and isinstance(value, dict | list)):
        return [line]
    keyed = [(f"{_json(key)}: ", item) for key, item in value.items()] if isinstance(value, dict) else None
    lines = ["{" if keyed else "["]
    for label, item in keyed or [("", item) for item in value]:
        first, *more = _opened(item, width - 2 - len(label), depth + 1)
        lines += [f"  {label}{first}", *(f"  {line}" for line in more)]
        lines[-1] += ","
    lines[-1] = lines[-1][:-1]
    return [*lines, "}" if keyed else "]"]


DEEPEST = 40
"""Levels of nesting that are opened up; what lies deeper stays on one line."""


def plain(text: str) -> str:
    """Return *text* with everything that would act on a terminal spelled out, as in ``\\u001b``."""
    return _ACTING.sub(lambda sign: f"\\u{ord(sign[0]):04x}", text)


_ACTING = re.compile(r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]")
"""Control characters, line separators, and the marks that turn the direction of writing."""


def _arguments(values: dict[str, Any]) -> str:
    return ", ".join(f"{key}={_conversation(value) or _json(value)}" for key, value in values.items())


def _conversation(value: Any) -> str | None:
    """Say the last of a list of chat messages, and how many came before it."""
    if not (isinstance(value, list) and value):
        return None
    last = _message(value[-1])
    if last is None or any(_message(item) is None for item in value[:-1]):
        return None
    return last if len(value) == 1 else f"{last} (after {len(value) - 1} more)"


def _message(value: Any) -> str | None:
    """Say a chat message, in the shapes of OpenAI, Anthropic and LangChain; None if it is none."""
    if not (isinstance(value, dict) and "content" in value):
        return None
    role = value.get("role") or value.get("type")
    if not isinstance(role, str):
        return None
    calls = value.get("tool_calls")
    said = [_text(value["content"]), *map(_call, calls if isinstance(calls, list) else ())]
    return f"{role}: {' '.join(filter(None, said))}"


def _text(content: Any) -> str:
    """The text of a message; of a list of parts, the texts among them and the types of the others."""
    if isinstance(content, str):
        return _json(content) if content else ""
    if isinstance(content, list) and all(isinstance(part, dict) for part in content):
        texts = (part.get("text") for part in content)
        types = (part.get("type", "part") for part in content)
        return " ".join(_json(text) if text else f"<{kind}>" for text, kind in zip(texts, types, strict=True))
    return _json(content) if content else ""


def _call(call: Any) -> str:
    """Say a tool call a model asked for, as in ``get_weather(city="Paris")``."""
    if not isinstance(call, dict):
        return _json(call)
    inner = call.get("function")
    of = inner if isinstance(inner, dict) else call
    arguments = of.get("args", of.get("arguments", of.get("input")))
    said = _arguments(arguments) if isinstance(arguments, dict) else str(arguments or "")
    return f"{of.get('name', 'tool')}({said})"


def _json(value: Any) -> str:
    try:
        return json.dumps(value, ensure_ascii=False, default=str)
    except RecursionError:
        return "<nested too deeply to show>"
