"""
What a node changed: a few words for each key of the state, whatever the size of the state.

    {"count": {"from": 1, "to": 2}, "messages": {"add_messages": "list of 1"}}

A key with a reducer says what the reducer was given, any other what was there before and after. Values a person
reads at a glance stand as they are, others as what they are and how many.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
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


def changes(
    before: Mapping[str, Any] | None,
    output: object,
    reducers: Mapping[str, str],
    keys: Collection[str] | None = None,
) -> dict[str, Any]:
    """
    Return what *output* changes.

    Args:
        before: The state the node was given, where it was one; see `held`.
        output: What the node returned: an update, a state, a ``Command``, or several of these.
        reducers: The name of the reducer of each key of the state that has one.
        keys: The keys of the state, where they are known; LangGraph leaves out any other.
    """
    told: dict[str, Any] = {}
    left_out = 0
    state: Mapping[str, Any] = before or {}
    for key, value in output.items() if type(output) is dict else _updates(output):
        if keys is not None and key not in keys:
            continue
        reducer = reducers.get(key)
        if reducer is not None:  # which may change it even with the value that it has
            change = {reducer: short(value)}
        else:
            old = state.get(key, _MISSING)
            # Only plain values are compared, as comparing others would run code of the user's.
            if old is value or (type(old) is type(value) and type(old) in SCALARS and old == value):
                continue
            new = value if type(value) in NUMBERS else short(value)
            change = {"to": new}
            if old is not _MISSING:
                change = {"from": old if type(old) in NUMBERS else short(old), "to": new}
        if len(told) < MAX_KEYS:
            told[key] = change
        else:
            left_out += 1
    if left_out:
        told["…"] = f"{left_out} more"
    return told


def held(state: object) -> dict[str, Any] | None:
    """Return a copy of what *state* holds by key: a dict, a model or a dataclass; None for anything else."""
    items = state if type(state) is dict else getattr(state, "__dict__", None)
    return items.copy() if type(items) is dict else None


def _updates(output: object) -> Iterator[tuple[str, Any]]:
    if _is_command(output):
        update = getattr(output, "update", None)
        yield from update if isinstance(update, list | tuple) else _updates(update)
    elif not isinstance(output, list | tuple):
        yield from (held(output) or {}).items()
    elif any(map(_is_command, output)):
        for one in output:
            yield from _updates(one)


def _is_command(output: object) -> bool:
    return type(output).__name__ == "Command"


def short(value: Any) -> Any:
    """Return *value* where it is small, else its type and size."""
    kind = type(value)
    if kind in SCALARS:
        return value if kind is not str or len(value) <= MAX_CHARS else f"str of {len(value):,} characters"
    if kind in CONTAINERS:
        if len(value) <= MAX_ITEMS:
            inner = value.values() if kind is dict else value
            kinds = set(map(type, inner))
            if kinds <= SCALARS and not (str in kinds and any(map(_is_long, inner))):
                return value
        return f"{kind.__name__} of {len(value):,}"
    return kind.__name__


def _is_long(value: object) -> bool:
    return type(value) is str and len(value) > MAX_CHARS
