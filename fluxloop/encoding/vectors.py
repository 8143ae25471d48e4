"""
Shorten embedding vectors to length, type of the numbers, norm and first values.

A vector of 1,536 numbers takes 30 kB of JSON, and readers look for the texts around it.
"""

from __future__ import annotations

from math import hypot
from typing import Any

from ..interruptions import was_raised_from_outside

MIN_LENGTH = 32
"""A list of at least as many numbers is a vector."""
FIRST = 5
"""Values that are kept."""
MAX_DEPTH = 6
"""Nested containers that are searched for vectors."""
MAX_ITEMS = 10_000
"""Items of a container that are searched, and numbers of a vector."""

_FIELDS = ("embedding", "embeddings", "data", "values", "vector", "vectors", "predictions")
"""Attributes of SDKs' responses that contain vectors."""


def shortened(value: Any) -> Any:
    """Return *value* with each vector in it replaced by its short form; the same object if there is none."""
    try:
        return _shortened(value, MAX_DEPTH)
    except Exception as exc:  # of code in the object's class
        if was_raised_from_outside(exc):
            raise
        return value


def _shortened(value: Any, depth: int) -> Any:
    if depth == 0:
        return value
    if isinstance(value, list | tuple):
        return _items(value, depth)
    if isinstance(value, dict):
        return _fields(value, depth)
    if (shape := getattr(value, "shape", None)) is not None and hasattr(value, "tolist"):
        return _array(value, shape, depth)
    held = getattr(value, "__dict__", None)
    if isinstance(held, dict) and not held.keys().isdisjoint(_FIELDS):
        short = _fields(held, depth)
        return value if short is held else short
    return value


def _items(value: Any, depth: int) -> Any:
    if len(value) > MAX_ITEMS:
        return value
    if len(value) >= MIN_LENGTH and all(type(item) is int or type(item) is float for item in value):
        return _short(value, type(value[0]).__name__)
    items = [_shortened(item, depth - 1) for item in value]
    return value if all(new is old for new, old in zip(items, value, strict=True)) else items


def _fields(value: dict[Any, Any], depth: int) -> dict[Any, Any]:
    if len(value) > MAX_ITEMS:
        return value
    fields = {name: _shortened(item, depth - 1) for name, item in value.items()}
    return value if all(fields[name] is item for name, item in value.items()) else fields


def _array(value: Any, shape: Any, depth: int) -> Any:
    if len(shape) == 1 and MIN_LENGTH <= shape[0] <= MAX_ITEMS:
        return _short(value.tolist(), str(getattr(value, "dtype", "number")))
    return [_shortened(row, depth - 1) for row in value] if len(shape) == 2 and shape[0] <= MAX_ITEMS else value


def _short(vector: Any, dtype: str) -> dict[str, Any]:
    return {"length": len(vector), "dtype": dtype, "norm": round(hypot(*vector), 6), "first": list(vector[:FIRST])}
