"""
Encode a trace as one JSON object with its observations nested.

The fields are those of the record format; each observation has ``children``, and the trace has its roots as
``observations``. The result is always strict JSON on one line, at any depth, and safe to print: characters that act on
a terminal or reorder text are written as ``\\uXXXX``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import orjson
from pydantic import BaseModel

from ..enums import ObservationLevel, ObservationType
from ..models import ObservationData, Trace


def trace_line(trace: Trace) -> str:
    """Return *trace* as one line of JSON, without a line end."""
    fields = _object(trace, always=("status",))
    return f'{fields[:-1]},"observations":[{"".join(_nested(trace))}]}}'


def observation_line(observation: ObservationData) -> str:
    """Return *observation* as one line of JSON in the record format, without a line end."""
    return _object(observation, always=("parent_id", "status"))


def _nested(trace: Trace) -> Iterator[str]:
    # Joined from encoded pieces: a tree may be deeper than any encoder goes.
    open_depth = -1
    for depth, observation in trace.walk():
        if depth <= open_depth:
            yield "]}" * (open_depth - depth + 1) + ","
        yield f'{observation_line(observation)[:-1]},"children":['
        open_depth = depth
    yield "]}" * (open_depth + 1)


def _object(item: ObservationData | Trace, *, always: tuple[str, ...]) -> str:
    fields = {name: value for name, value in item if name in always or not _is_omitted(name, value)}
    return encode({"schema" if name == "schema_version" else name: _field(value) for name, value in fields.items()})


def _is_omitted(name: str, value: Any) -> bool:
    return value is None or name == "observations" or (name in _OMITTED_IF_EMPTY and not value)


_OMITTED_IF_EMPTY = {"metadata", "tags", "redacted", "truncated"}
"""Fields of a record that mean the same when they are missing as when they are empty or 0."""


def _field(value: Any) -> Any:
    if isinstance(value, datetime):
        return f"{value.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%fZ}"
    if isinstance(value, ObservationType | ObservationLevel):
        return value.name
    if isinstance(value, BaseModel):
        return {name: count for name, count in value if count is not None}
    return value


def encode(value: Any) -> str:
    """Return *value* as strict JSON on one line; a value that JSON cannot represent becomes null or text."""
    try:
        text = orjson.dumps(value, default=str).decode()
    except TypeError:  # a number beyond 64 bits, or deeper than orjson goes
        text = "".join(pieces(value))
    return escaped(text)


def pieces(value: Any, *, comma: str = ",", colon: str = ":") -> Iterator[str]:
    """Yield the JSON text of *value* in pieces, without recursion, so that its depth does not matter."""
    pending: list[tuple[Iterator[tuple[str, Any]], str, int]] = []
    open_ids: set[int] = set()
    entries: Iterator[tuple[str, Any]] = iter([("", value)])
    end, own_id = "", 0
    while True:
        for label, item in entries:
            yield label
            if not isinstance(item, dict | list | tuple):
                yield _scalar(item)
            elif id(item) in open_ids:
                yield '"<circular>"'
            else:
                pending.append((entries, end, own_id))
                own_id = id(item)
                open_ids.add(own_id)
                entries, end = _entries(item, comma, colon), "}" if isinstance(item, dict) else "]"
                yield "{" if isinstance(item, dict) else "["
                break
        else:
            yield end
            if not pending:
                return
            open_ids.discard(own_id)
            entries, end, own_id = pending.pop()


def _entries(container: Any, comma: str, colon: str) -> Iterator[tuple[str, Any]]:
    """Yield the items of *container*, each with the text before it."""
    before = ""
    for item in container:
        if isinstance(container, dict):
            yield f"{before}{_scalar(str(item))}{colon}", container[item]
        else:
            yield before, item
        before = comma


def _scalar(value: Any) -> str:
    if isinstance(value, float) and value - value != 0:  # NaN and the infinities become null, as orjson does
        return "null"
    return json.dumps(value, ensure_ascii=False, default=str)


def escaped(text: str) -> str:
    """Return *text* with every character that acts on a terminal or reorders text written as ``\\uXXXX``."""
    return _ACTIVE.sub(lambda sign: f"\\u{ord(sign[0]):04x}", text)


_ACTIVE = re.compile(
    r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff]"
)
"""Control characters, line separators, marks that set the direction of text, and lone surrogates."""


def in_ascii(text: str) -> str:
    """Return JSON *text* with every other character written as ``\\uXXXX``, for an output that cannot hold it."""
    return _NOT_ASCII.sub(lambda match: json.dumps(match[0])[1:-1], text)


_NOT_ASCII = re.compile(r"[^\x00-\x7f]+")
