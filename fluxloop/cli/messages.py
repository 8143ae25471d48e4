"""
A value in full, as lines: messages as a conversation, texts with their own line breaks, everything else as JSON.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from ..reading.json_text import escaped
from ..reading.messages import Message, Part
from ..reading.responses import Conversation, conversation_of
from ..reading.values import brief, call_text, whole


class Line(NamedTuple):
    """A line of a value, without line breaks and control characters."""

    text: str
    style: str = ""

    @property
    def indent(self) -> int:
        """The spaces at its beginning."""
        return len(self.text) - len(self.text.lstrip(" "))


def full_lines(value: Any, width: int = 80) -> Iterator[Line]:
    """
    Yield the lines of *value*.

    Args:
        value: Any JSON.
        width: Columns beyond which JSON is indented; lines may be longer.
    """
    return _lines(value, max(width, NARROWEST), 0)


NARROWEST = 20
"""Columns that a nested value is indented for, at least."""

MAX_DEPTH = 8
"""Levels at which texts and messages are looked for; what is deeper is JSON."""


def _lines(value: Any, width: int, depth: int) -> Iterator[Line]:
    if isinstance(value, str) and (depth == 0 or "\n" in value):
        yield from _text_lines(value)
    elif depth < MAX_DEPTH and (conversation := conversation_of(value)):
        yield from _conversation_lines(conversation, width, depth)
    elif isinstance(value, dict | list) and _has_member_lines(value, depth):
        yield from _member_lines(value, width, depth)
    else:
        yield from map(Line, [brief(value)] if isinstance(value, str) else whole(value, width))


def _text_lines(text: str, style: str = "") -> Iterator[Line]:
    for line in text.expandtabs(4).splitlines() or ['""']:
        yield Line(escaped(line), style)


def _has_text_lines(value: Any, depth: int) -> bool:
    """Whether JSON would hide the line breaks of a text, or a message."""
    if isinstance(value, str):
        return "\n" in value
    if depth >= MAX_DEPTH or not isinstance(value, dict | list):
        return False
    return (isinstance(value, dict) and bool(conversation_of(value))) or _has_member_lines(value, depth)


def _has_member_lines(value: dict[str, Any] | list[Any], depth: int) -> bool:
    """Whether JSON would hide the line breaks of a text, or a message, inside *value*; it is not a message itself."""
    if depth >= MAX_DEPTH:
        return False
    for item in value.values() if isinstance(value, dict) else value:
        if isinstance(item, dict | list | str) and _has_text_lines(item, depth + 1):
            return True
    return False


def _member_lines(value: dict[str, Any] | list[Any], width: int, depth: int) -> Iterator[Line]:
    """The members of a container: those that fit behind their name, the others below it."""
    for key, item in value.items() if isinstance(value, dict) else (("-", item) for item in value):
        label = "- " if isinstance(value, list) else f"{escaped(str(key))}: "
        lines = [*_lines(item, max(width - 2, NARROWEST), depth + 1)]
        is_short = len(lines) == 1 and not lines[0].style
        if is_short or isinstance(value, list):
            yield Line(label + lines[0].text, lines[0].style)
            yield from _indented(lines[1:])
        else:
            yield Line(label.rstrip())
            yield from _indented(lines)


def _indented(lines: Iterable[Line]) -> Iterator[Line]:
    return (Line(f"  {line.text}", line.style) for line in lines)


def _conversation_lines(conversation: Conversation, width: int, depth: int) -> Iterator[Line]:
    total = len(conversation.messages)
    for number, message in enumerate(conversation.messages, 1):
        choice = f" ({number} of {total})" if conversation.is_choice else ""
        yield Line(f"{escaped(_speaker(message))}{choice}", "bold")
        for part in message.parts:
            yield from _indented(_part_lines(part, max(width - 2, NARROWEST), depth + 1))
    if conversation.other_fields:
        yield Line(f"also recorded, see --json: {escaped(', '.join(conversation.other_fields))}", "dim")


def _speaker(message: Message) -> str:
    return f"{message.role} {message.name}" if message.name else message.role


def _part_lines(part: Part, width: int, depth: int) -> Iterator[Line]:
    if part.kind == "call":
        yield from _call_lines(part, width, depth)
    elif part.kind == "note":
        yield Line(escaped(f"<{part.name}{f': {part.value}' if part.value else ''}>"), "dim")
    elif part.kind == "data":
        yield from _lines(part.value, width, depth)
    elif part.kind == "reasoning":
        yield from _text_lines(f"(reasoning) {part.value}" if part.value else "(reasoning, not shown)", "dim")
    else:
        yield from _text_lines(part.value)


def _call_lines(part: Part, width: int, depth: int) -> Iterator[Line]:
    """A call on one line where it fits, else with its arguments below it."""
    on_one_line = "" if _has_text_lines(part.value, depth) else call_text(part)
    if on_one_line and len(on_one_line) <= width:
        yield Line(escaped(on_one_line), "cyan")
        return
    yield Line(escaped(f"{part.name}("), "cyan")
    yield from _indented(
        _member_lines(part.value, width - 2, depth) if isinstance(part.value, dict) else _lines(part.value, width, 0)
    )
    yield Line(")", "cyan")
