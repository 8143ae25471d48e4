"""
Encode a trace as one JSON object with its observations nested.

The fields are those of the record format; each observation has ``children``, and the trace has its roots as
``observations``. The result is always strict JSON on one line, at any depth, and safe to print: characters that act on
a terminal or reorder text are written as ``\\uXXXX``.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from pydantic import BaseModel

from ..enums import ObservationLevel, ObservationType
from ..models import ObservationData, Score, Trace
from .json_text import encode
from .moments import iso_utc


def trace_line(trace: Trace) -> str:
    """Return *trace* as one line of JSON, without a line end."""
    fields = _object(trace, always=("status",))
    scores = f',"scores":[{",".join(map(score_line, found))}]' if (found := trace.scores) else ""
    return f'{fields[:-1]}{scores},"observations":[{"".join(_nested(trace))}]}}'


def record_lines(trace: Trace) -> Iterator[str]:
    """Yield what has ended of *trace* as lines of the record format, without line ends."""
    for observation in trace.observations:
        if observation.status is not None:
            yield observation_line(observation)
    if trace.status is not None:
        yield _object(trace, always=("status",))
        yield from map(score_line, trace.scores)


def score_line(score: Score) -> str:
    """Return *score* as one line of JSON in the record format, without a line end."""
    fields = {"id": score.id, "trace_id": score.trace_id, "record": "score"}
    return encode(fields | {name: _field(value) for name, value in score if value is not None})


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
        return iso_utc(value)
    if isinstance(value, ObservationType | ObservationLevel):
        return value.name
    if isinstance(value, BaseModel):
        return {name: count for name, count in value if count is not None}
    return value
