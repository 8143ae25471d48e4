"""
Read lines with msgspec, which decodes only the fields that the index keeps.

It validates the whole line, and creates no objects for the other values: that takes half the time of decoding the line.
The caller decodes the other lines: those of other writers, and those of calls whose price depends on more values.
"""

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter
from typing import TYPE_CHECKING, Annotated, Any, Literal

from msgspec import UNSET, Meta, MsgspecError, Raw, Struct, UnsetType
from msgspec.json import Decoder
from orjson import loads

from ...enums import ObservationLevel
from ...storage.decoding import Json
from ..values import error_words
from .facts import NOT_OURS, STATUSES, TYPES, Codes, TraceFacts
from .kept import IN_WORDS, WORDS, kept_value

if TYPE_CHECKING:
    _Type = str
    _Status = str
    _Level = str
else:  # msgspec has one object for each of these texts, whose hash is known
    _Type, _Status, _Level = Literal[tuple(TYPES)], Literal[STATUSES], Literal[tuple(ObservationLevel.__members__)]

_Id = Annotated[str, Meta(min_length=1)]
_Time = Annotated[str, Meta(min_length=27, max_length=27)]
_Count = Annotated[int, Meta(ge=-(2**53), le=2**53)] | None
"""orjson makes floats of integers beyond 64 bits and msgspec does not, but they agree about these."""


class _Usage(Struct, gc=False):
    input_tokens: _Count = None
    output_tokens: _Count = None
    total_tokens: _Count = None
    cache_read_tokens: _Count = None
    cache_write_tokens: _Count = None
    reasoning_tokens: _Count = None


class _Context(Struct, gc=False):
    """An object, with what the price of a call depends on, see `fluxloop.llm.prices.context_of`."""

    service_tier: Raw | None = None
    processing: Raw | None = None
    speed: Raw | None = None


_Value = _Context | list[Raw] | str | float | bool | None
"""Any value; of an object, msgspec decodes what `_Context` names, and nothing of the items of a list."""


class _Observation(Struct, gc=False):
    """In the order of our writer, in which msgspec finds the fields soonest."""

    id: _Id
    trace_id: _Id
    parent_id: str | None
    type: _Type
    name: str
    start_time: _Time
    duration_ms: float | None
    status: _Status
    level: _Level
    output: _Value = None
    metadata: _Value = None
    model: str | None = None
    provider: str | None = None
    usage: _Usage | None = None
    model_parameters: _Value = None
    parent_observation_id: Raw | None = None


class _TraceLine(Struct, gc=False, kw_only=True):
    """The line of a trace. Our writer never writes the last five fields: the caller decodes a line that has one."""

    trace_id: _Id
    name: str | None = None
    session_id: str | None = None
    user_id: str | None = None
    tags: list[str] | None = None
    usage: _Usage | None = None
    start_time: _Time
    end_time: str | None = None
    duration_ms: float | None = None
    status: _Status
    error: str | None = None
    input: Raw = Raw(b"null")
    output: Raw = Raw(b"null")
    id: Raw | UnsetType = UNSET
    type: Raw | UnsetType = UNSET
    parent_id: Raw | UnsetType = UNSET
    parent_observation_id: Raw | UnsetType = UNSET
    record: Raw | UnsetType = UNSET


def add_observations(
    traces: dict[str, TraceFacts], codes: Codes, other: Callable[[bytes], None], lines: list[bytes]
) -> None:
    """
    Add the observations on *lines* to their traces.

    Args:
        traces: By id. A trace that is missing is added.
        codes: The codes of the observations.
        other: Called with each line that has to be decoded as a whole, between the lines before and after it.
        lines: Lines of a file, in its order.
    """
    for line in lines:
        try:
            found = _decode(line)
            parent, model, usage = found.parent_id, found.model, found.usage
            if model is None and usage is None:
                counts, code = None, codes[found.type, found.name, found.status, found.level]
            elif _has_context(found.output) or _has_context(found.metadata) or _has_context(found.model_parameters):
                other(line)
                continue
            else:
                counts = _counts(usage) if usage is not None else None
                code = codes[found.type, found.name, found.status, found.level, model, found.provider, ""]
            facts = traces[found.trace_id]
        except _UNUSUAL:
            other(line)
            continue
        start = found.start_time
        if parent is None:
            if found.parent_observation_id is not None:
                other(line)
                continue
            facts.add_root(found.id, start, line)
        if start < facts.start:
            facts.start = start
        facts.rows.append((found.id, parent, code, found.duration_ms, counts if counts != _NO_COUNTS else None))


def add_trace_lines(
    traces: dict[str, TraceFacts], _codes: Codes, other: Callable[[bytes], None], lines: list[bytes]
) -> None:
    """Add the lines of traces to their traces, as `add_observations` does with those of observations."""
    for line in lines:
        try:
            found = _decode_trace(line)
            if not found.start_time.endswith("Z") or any(each is not UNSET for each in _unexpected(found)):
                raise ValueError  # for the caller, as the line of another writer
            kept = _kept(found)
        except _UNUSUAL:
            other(line)
        else:
            traces[found.trace_id].add_kept_line(kept)


def _kept(found: _TraceLine) -> Json:
    """Return the same as `kept_of` of the whole record."""
    kept = {name: value for name, value in zip(_TEXTS, _texts(found), strict=True) if value is not None}
    if found.error is not None:
        kept["error"] = error_words(found.error, WORDS)
    if found.duration_ms is not None:
        kept["duration_ms"] = found.duration_ms
    if found.tags is not None:
        kept["tags"] = found.tags
    if found.usage is not None and (counts := _counts(found.usage)) != _NO_COUNTS:
        kept["usage"] = counts
    if (value := loads(memoryview(found.input))) is not None:
        kept["input"] = kept_value(value)
    if (value := loads(memoryview(found.output))) is not None:
        kept["output"] = kept_value(value)
    kept[IN_WORDS] = True
    return kept


_TEXTS = ("name", "session_id", "user_id", "start_time", "end_time", "status")
_texts: Callable[[_TraceLine], Any] = attrgetter(*_TEXTS)
_unexpected: Callable[[_TraceLine], Any] = attrgetter("id", "type", "parent_id", "parent_observation_id", "record")
_decode_trace = Decoder(_TraceLine).decode


def _has_context(value: object) -> bool:
    return type(value) is _Context and value != _NO_CONTEXT


_NO_CONTEXT = _Context()
_UNUSUAL = (*NOT_OURS, MsgspecError, RecursionError)
_NO_COUNTS = (None,) * len(_Usage.__struct_fields__)
_counts: Callable[[_Usage], Any] = attrgetter(*_Usage.__struct_fields__)
_decode = Decoder(_Observation).decode
