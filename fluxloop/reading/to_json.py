"""
Write a trace as one JSON object, the observations nested in one another.

The fields are those of the record format; each observation has ``children``, and the trace has its
roots as ``observations``. It is always JSON, and always one line, however deep or odd the trace.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import orjson
from pydantic import BaseModel

from ..enums import ObservationLevel, ObservationType
from ..models import ObservationData, Trace


def trace_line(trace: Trace) -> str:
    """Return *trace* as one line of JSON, without a line end."""
    head = _object(trace, always=("status",))
    return f'{head[:-1]},"observations":[{"".join(_nested(trace))}]}}'


def observation_line(observation: ObservationData) -> str:
    """Return *observation* as one line of JSON in the record format, without a line end."""
    return _object(observation, always=("parent_id", "status"))


def _nested(trace: Trace) -> Iterator[str]:
    # Spliced from encoded pieces: an encoder given the nested whole would run out of depth.
    open_depth = -1
    for depth, observation in trace.walk():
        if depth <= open_depth:
            yield "]}" * (open_depth - depth + 1) + ","
        yield f'{observation_line(observation)[:-1]},"children":['
        open_depth = depth
    yield "]}" * (open_depth + 1)


def _object(item: ObservationData | Trace, *, always: tuple[str, ...]) -> str:
    said = {name: value for name, value in item if name in always or not _says_nothing(name, value)}
    return encode({"schema" if name == "schema_version" else name: _plain(value) for name, value in said.items()})


def _says_nothing(name: str, value: Any) -> bool:
    return value is None or name == "observations" or (name in _LEFT_OUT_EMPTY and not value)


_LEFT_OUT_EMPTY = {"metadata", "tags", "redacted", "truncated"}
"""Fields that may be missing from a record, which then means the same as empty or 0."""


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return f"{value.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%fZ}"
    if isinstance(value, ObservationType | ObservationLevel):
        return value.name
    if isinstance(value, BaseModel):
        return {name: count for name, count in value if count is not None}
    return value


def encode(value: Any) -> str:
    """Return *value* as strict JSON in one line; what JSON has no word for becomes null or text."""
    try:
        return orjson.dumps(value, default=str).decode()
    except TypeError:  # a number beyond 64 bits, or nesting that foreign records may have
        return json.dumps(_finite(value), default=str)


def _finite(value: Any) -> Any:
    """Replace NaN and the infinities by null, as orjson does."""
    if isinstance(value, float):
        return value if value - value == 0 else None
    if isinstance(value, list):
        return [_finite(item) for item in value]
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    return value
