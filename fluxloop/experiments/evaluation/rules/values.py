"""
Find values in a run by a path such as ``output.items.0.name``, and show them in reasons.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ....reading.json_text import escaped
from ....reading.values import first_words, in_json
from ....storage.decoding import decode
from ...run_data import Run

MEMBERS: Mapping[str, Callable[[Run], Any]] = {
    "output": lambda run: run.output,
    "error": lambda run: run.error,
    "persona": lambda run: run.persona,
    "tokens": lambda run: run.tokens,
    "cost": lambda run: run.cost,
    "tools": lambda run: list(run.tool_names),
}
"""Values that are computed; every other path begins at a member of the row, such as ``input`` or ``metadata``."""

REASON_LENGTH = 120
"""Characters of a value that a reason shows."""


def value_at(run: Run, path: str) -> Any:
    """Return the value at *path*, None if there is none. A text with JSON in it is decoded on the way."""
    if path == "output":
        return run.output
    first, *rest = path.split(".")
    value = MEMBERS[first](run) if first in MEMBERS else run.data.get(first)
    for key in rest:
        value = _inner(_decoded(value), key)
    return value


def text_at(run: Run, path: str) -> str:
    """Return the value at *path* as text: a text as it is, None as empty text, everything else as JSON."""
    value = value_at(run, path)
    return value if isinstance(value, str) else "" if value is None else in_json(value)


def short(value: Any) -> str:
    """Return *value* on one line for a reason."""
    return first_words(value, REASON_LENGTH)


def label(value: Any) -> str:
    """Return *value* on one line as the name of an input: a text without quotes."""
    if not isinstance(value, str):
        return short(value)
    if len(value) <= REASON_LENGTH and value.isprintable() and "  " not in value and value == value.strip():
        return value  # most are like that; the result would be the same
    text = escaped(" ".join(value[: 2 * REASON_LENGTH].split()))
    return text if len(text) <= REASON_LENGTH else f"{text[: REASON_LENGTH - 1]}…"


def _inner(value: Any, key: str) -> Any:
    if isinstance(value, Mapping):
        return value.get(key)
    if isinstance(value, list) and key.lstrip("-").isdecimal() and -len(value) <= int(key) < len(value):
        return value[int(key)]
    return None


def _decoded(value: Any) -> Any:
    if isinstance(value, str) and value.lstrip()[:1] in ("{", "["):
        try:
            return decode(value.encode())
        except ValueError:
            return value
    return value
