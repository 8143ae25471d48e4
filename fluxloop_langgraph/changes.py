"""
Summarize what a node changed in the state: a few words per key, whatever the size of the values.

    {"count": {"from": 1, "to": 2}, "messages": {"add_messages": "list of 1"}}

A key with a reducer shows what the reducer was given, any other key its value before and after. Large values are shown
by type and size.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from langgraph.types import Command

from fluxloop.bridge import was_raised_from_outside

from .internals import ROOT

MAX_CHANGES = 40
"""Changes listed one by one; of the rest, only the number is recorded."""
MAX_CHARS, MAX_ITEMS = 80, 3
"""The longest text, and the longest collection of small scalars, that are shown as they are."""

NUMBERS = frozenset({int, float, bool, type(None)})
SCALARS = NUMBERS | {str}
COLLECTIONS = frozenset({list, tuple, set, frozenset, dict})
_ABSENT: Any = object()
"""The previous value of a key that was not in the state, as None may be a value."""


def changes(
    before: Mapping[str, Any] | None,
    output: object,
    reducers: Mapping[str, str],
    keys: Collection[str] = (),
    shows_before: bool = True,
) -> dict[str, Any]:
    """
    Return the changes that *output* makes to the state: one per key, or a list if it has several for a key.

    Args:
        before: The state that the node was given, see `values_of`.
        output: What the node returned: an update, a state, a ``Command``, or a list of these.
        reducers: The names of the reducers, by key.
        keys: The keys of the state, as LangGraph ignores all others; empty if they are unknown.
        shows_before: Whether values from *before* may appear.
    """
    found: dict[str, Any] = {}
    count, is_single = 0, ROOT in keys
    for key, value in output.items() if type(output) is dict and not is_single else _updates(output, is_single):
        if key not in keys if keys else key == ROOT:
            continue
        if key in reducers:  # the state may change even if the value equals the old one
            change = {reducers[key]: summary(value)}
        else:
            old = before.get(key, _ABSENT) if before else _ABSENT
            # Only plain values are compared, as comparing others would run the user's code.
            kind = type(value)
            if old is value or (type(old) is kind and kind in SCALARS and old == value):
                continue
            new = value if kind in NUMBERS else summary(value)
            change = {"to": new} if old is _ABSENT or not shows_before else {"from": summary(old), "to": new}
        count += 1
        if count > MAX_CHANGES:
            found["…"] = f"{count - MAX_CHANGES} more"
        elif key not in found:
            found[key] = change
        else:
            earlier = found[key]
            found[key] = [*(earlier if type(earlier) is list else [earlier]), change]
    return found


def values_of(state: object) -> dict[str, Any] | None:
    """Return a copy of the values of *state* by key: a dict, a model or a dataclass; None for anything else."""
    if type(state) is dict or isinstance(state, dict):
        return dict.copy(state)
    try:
        values = state.__dict__
    except Exception as exc:  # no attributes, or a property of the user's class that raises
        if was_raised_from_outside(exc):
            raise
        names = getattr(type(state), "__dataclass_fields__", None)
        return {name: getattr(state, name, None) for name in names} if names else None
    return dict.copy(values) if type(values) is dict else None


def _updates(output: object, is_single: bool) -> Iterator[tuple[str, Any]]:
    """Yield the keys and values that LangGraph writes; *is_single* is true for a state that is a single value."""
    if isinstance(output, Command):
        yield from _command_updates(output.update)
    elif isinstance(output, list | tuple) and any(isinstance(item, Command) for item in output):
        for item in output:
            yield from _updates(item, is_single)
    elif is_single:
        yield ROOT, output
    else:
        yield from (values_of(output) or {}).items()


def _command_updates(update: object) -> Iterator[tuple[str, Any]]:
    if not isinstance(update, list | tuple):
        yield from {ROOT: update}.items() if (values := values_of(update)) is None else values.items()
    elif all(isinstance(item, tuple) and len(item) == 2 and isinstance(item[0], str) for item in update):
        yield from update
    else:
        yield ROOT, update


def summary(value: Any) -> Any:
    """Return *value* if it is small, else its type and size."""
    kind = type(value)
    if kind in NUMBERS:
        return value
    if kind is str:
        return value if len(value) <= MAX_CHARS else f"str of {len(value):,} characters"
    if kind not in COLLECTIONS:
        return kind.__name__
    is_shown = len(value) <= MAX_ITEMS
    if is_shown:
        for item in value.values() if kind is dict else value:
            if type(item) not in NUMBERS and (type(item) is not str or len(item) > MAX_CHARS):
                is_shown = False
    return value if is_shown else f"{kind.__name__} of {len(value):,}"
