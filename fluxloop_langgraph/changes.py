"""
What a node changed: a few words for each key of the state, whatever the size of the state.

    {"count": {"from": 1, "to": 2}, "messages": {"add_messages": "list of 1"}}

A key with a reducer says what the reducer was given, any other what was there before and after. Values a person
reads at a glance stand as they are, others as what they are and how many.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

MAX_KEYS = 40
"""Keys that are told of one by one; of the others only the number."""

MAX_CHARS = 80
"""The longest text that stands as it is."""

MAX_ITEMS = 3
"""The longest list or dict that stands as it is, if what it holds does."""

NUMBERS = frozenset({int, float, bool, type(None)})
SCALARS = frozenset({str, int, float, bool, type(None)})
CONTAINERS = frozenset({list, tuple, set, frozenset, dict})
_MISSING: Any = object()
"""Stands where a key was not in the state, since None may be."""


def changes(before: Mapping[str, Any] | None, output: object, reducers: Mapping[str, str]) -> dict[str, Any]:
    """
    Return what *output* changes.

    Args:
        before: The state the node was given, where it was one.
        output: What the node returned: an update, a ``Command``, or several of these.
        reducers: The name of the reducer of each key of the state that has one.
    """
    told: dict[str, Any] = {}
    left_out = 0
    state: Mapping[str, Any] = before or {}
    for key, value in output.items() if type(output) is dict else _updates(output):
        old = state.get(key, _MISSING)
        reducer = reducers.get(key)
        # Only plain values are compared, as comparing others would run code of the user's.
        if reducer is None and (old is value or (type(old) is type(value) and type(old) in SCALARS and old == value)):
            continue
        if len(told) >= MAX_KEYS:
            left_out += 1
        elif reducer is not None:  # which may change it even with the value that it has
            told[key] = {reducer: short(value)}
        else:
            new = value if type(value) in NUMBERS else short(value)
            told[key] = (
                {"to": new} if old is _MISSING else {"from": old if type(old) in NUMBERS else short(old), "to": new}
            )
    if left_out:
        told["…"] = f"{left_out} more"
    return told


def _updates(output: object) -> Iterator[tuple[str, Any]]:
    if type(output) is dict:
        yield from output.items()
    elif type(output) is tuple and len(output) == 2 and type(output[0]) is str:
        yield output
    elif isinstance(output, list | tuple):
        for one in output:
            yield from _updates(one)
    elif type(output).__name__ == "Command":
        yield from _updates(getattr(output, "update", None))


def short(value: Any) -> Any:
    """Return *value* where it is small, else its type and size."""
    kind = type(value)
    if kind in SCALARS:
        return value if kind is not str or len(value) <= MAX_CHARS else f"str of {len(value):,} characters"
    if kind in CONTAINERS:
        inner = value.values() if kind is dict else value
        if len(value) <= MAX_ITEMS and SCALARS.issuperset(map(type, inner)) and not any(map(_is_long, inner)):
            return value
        return f"{kind.__name__} of {len(value):,}"
    return kind.__name__


def _is_long(value: object) -> bool:
    return type(value) is str and len(value) > MAX_CHARS
