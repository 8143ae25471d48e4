"""
Read the messages of long histories once.

An agent passes its whole history to every step, so each message would be read at every step again. What was read is
kept for each message, together with a copy of the message's fields. As long as the fields are equal to the copy, the
message did not change, and what was read is used again. The copy has containers of its own, so a change in place is
found; messages whose fields are anything but plain data are read every time. Nothing here keeps a message alive.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import takewhile
from typing import Any, NamedTuple
from weakref import ref

from ..interruptions import was_raised_from_outside
from .foreign import read_fields, read_message

MAX_KNOWN = 50_000
"""The limit of known messages in all histories; each takes about 1 kB beside its texts."""

MIN_MESSAGES = 10
"""A shorter list is not taken for a history."""

MAX_INSTRUCTIONS = 8
"""The instructions at the start of a history that are kept where it is too long."""

MAX_DEPTH = 20
"""The limit of nested containers in a field of a known message."""


class _Known(NamedTuple):
    message: ref[Any]
    fields: dict[str, Any] | None
    """A copy of the fields of the message; None if they are not plain data."""
    read: object


_known: dict[int, _Known] = {}
"""What was read, by the id of the message."""


def read_history(messages: list[Any], reader_of: Callable[[type], Callable[[Any], object] | None]) -> list[object]:
    """
    Return *messages* as plain data, as `read_message` returns each.

    Args:
        messages: The messages, and perhaps other items. It must not be changed meanwhile.
        reader_of: Returns how to read objects of a class, or None if they stay as they are.
    """
    found: list[object] = []
    for message in messages:
        known = _known.get(id(message))
        if known is not None and known.message() is message and known.fields is not None:
            try:
                if message.__dict__ == known.fields:
                    found.append(known.read)
                    continue
            except Exception as exc:  # of an object that replaced a field: the comparison runs its code
                if was_raised_from_outside(exc):
                    raise
        read = reader_of(type(message))
        if read is read_message:
            read = _read_and_know
        found.append(message if read is None else read(message))
    return found


def is_history(value: list[Any] | tuple[Any, ...]) -> bool:
    """Return whether *value* is a list of messages as plain data, as its first and its last item show."""
    if len(value) < MIN_MESSAGES:
        return False
    ends = [*value[:1], *value[-1:]]  # another thread may empty the list meanwhile
    if len(ends) < 2:
        return False
    first, last = ends
    if type(first) is not dict or type(last) is not dict or type(first.get("role")) is not str:
        return False
    return not _CONTENT.isdisjoint(first) and ("role" in last or "type" in last)


_CONTENT = frozenset({"content", "parts", "tool_calls"})


def instructions(messages: list[Any] | tuple[Any, ...]) -> list[Any]:
    """Return the instructions with which a history begins: messages of the system or of a developer."""
    return list(takewhile(_is_instruction, messages[:MAX_INSTRUCTIONS]))


def _is_instruction(message: Any) -> bool:
    return type(message) is dict and message.get("role") in ("system", "developer")


def _read_and_know(message: Any) -> object:
    """Return *message* as plain data, and keep that while the message exists."""
    key = id(message)
    known = _known.get(key)
    is_known = known is not None and known.message() is message
    if (is_known and known.fields is None) or len(_known) >= MAX_KNOWN:  # type: ignore[union-attr]
        return read_message(message)
    try:
        # What is read refers to the copy, so it stays as it is when the message changes.
        fields = _copy(message.__dict__, MAX_DEPTH)
        read = read_fields(fields) if fields and "content" in fields else message
    except (TypeError, AttributeError):
        fields = None
        read = read_message(message)
    try:
        weak = known.message if is_known else ref(message, partial(_forget, key))  # type: ignore[union-attr]
    except TypeError:  # a class without weak references
        return read
    _known[key] = _Known(weak, fields if read is not message else None, None if fields is None else read)
    return read


def _forget(key: int, ended: ref[Any]) -> None:
    known = _known.get(key)
    if known is not None and known.message is ended:  # a new message may have the id already
        _known.pop(key, None)


def _copy(value: Any, depth: int) -> Any:
    """Return a copy of plain data; raise TypeError for anything else."""
    kind = type(value)
    if kind in _IMMUTABLE:
        return value
    if depth == 0 or kind not in (dict, list):
        raise TypeError("not plain data")
    if kind is list:
        return [_copy(item, depth - 1) for item in value.copy()]
    return {_key(name): _copy(item, depth - 1) for name, item in value.copy().items()}


def _key(name: Any) -> str:
    if type(name) is not str:
        raise TypeError("not plain data")
    return name


_IMMUTABLE = frozenset({str, int, float, bool, type(None)})
