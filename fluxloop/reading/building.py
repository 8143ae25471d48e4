"""
Build `ObservationData` and `Trace` from decoded records, whichever program wrote them.

Every record becomes a model. A value that this version does not understand (a type, a status, a time) is replaced by a
default and kept under ``metadata["as_recorded"]``. What an older writer left out, such as a status or a duration, is
derived from the other fields.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from ..enums import ObservationLevel, ObservationType, Status
from ..models import ObservationData, Trace, TraceData
from ..storage.decoding import Json

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
"""The start of an observation that recorded no time."""


def finished_observation(record: Json) -> ObservationData:
    """Return the record of an observation that has ended; its status is never None."""
    observation = observation_of(record)
    if observation.status is None:
        observation.status = derived_status(observation)
    return observation


def observation_of(record: Json) -> ObservationData:
    """Return *record* as an observation with aware UTC times; its status is None where none was recorded."""
    observation = _validated(ObservationData, record, {"type": "span", "name": ""})
    refused = observation.metadata.get("as_recorded")
    if isinstance(refused, dict) and "error" in refused:
        # json, since a decoded record may hold integers that orjson does not encode.
        observation.error = json.dumps(refused["error"], ensure_ascii=False, separators=(",", ":"), default=str)
    set_times(observation, is_start_known="start_time" in observation.model_fields_set)
    return observation


def trace_of(record: Json) -> Trace:
    """Return the line of a trace, or as much as is known of it, as a trace without observations."""
    return _validated(Trace, {name: value for name, value in record.items() if name != "observations"}, {})


Model = TypeVar("Model", bound=BaseModel)


def _validated(model: type[Model], record: Mapping[str, Any], defaults: Json) -> Model:
    """Validate *record*, with the values that *model* refuses moved to ``metadata["as_recorded"]``."""
    fields = defaults | {name: value for name, value in record.items() if value is not None}
    for name, convert in _CONVERSIONS.items():
        if name in fields:
            fields[name] = convert(fields[name])
    try:
        return model.model_validate(fields, context=_CONTEXT)
    except ValidationError as refusal:
        refused: Json = {}
        for error in refusal.errors(include_url=False, include_context=False, include_input=False):
            field = str(error["loc"][0])
            spellings = fields.keys() & {field, *_ALIASES.get(field, ())}
            refused |= {spelling: fields.pop(spelling) for spelling in spellings}
    metadata = fields.get("metadata", {})
    fields["metadata"] = {**metadata, "as_recorded": refused}
    return model.model_validate({**defaults, **fields}, context=_CONTEXT)


def _time(value: Any) -> Any:
    """Parse a time of our own format, with `UTC` itself as its time zone."""
    if type(value) is str and len(value) == 27 and value[10] == "T" and value[26] == "Z":
        with suppress(ValueError):
            return datetime.fromisoformat(value)
    return value


def _enum_of(members: Mapping[str, Any]) -> Callable[[Any], Any]:
    return lambda value: members.get(value, value) if type(value) is str else value


def _id(value: Any) -> Any:
    """
    Return an id that is not a text as its text.

    The model would replace it by a new id, so that a record that is read twice would be two observations.
    """
    if type(value) is str or not value:
        return value
    try:
        return str(value)
    except RecursionError:
        return value


_CONVERSIONS: dict[str, Callable[[Any], Any]] = {
    "id": _id,
    "parent_id": _id,
    "parent_observation_id": _id,
    "start_time": _time,
    "end_time": _time,
    "type": _enum_of(ObservationType.__members__),
    "level": _enum_of(ObservationLevel.__members__),
}
"""
Ids become texts. Times, types and levels that these functions convert take pydantic a fraction of the time. What they
do not know stays as it is.
"""

_CONTEXT = {"as_recorded": True}
"""Makes the models raise for a refused value, instead of setting it aside with a warning."""


_ALIASES = {
    "parent_id": ("parent_observation_id",),
    "model_parameters": ("llm_parameters",),
    "usage": ("prompt_tokens", "completion_tokens", "total_tokens"),
    "schema": ("schema_version",),
}
"""Other names under which a field may be recorded; a refused field is removed under all of its names."""


def set_times(item: ObservationData | TraceData, *, is_start_known: bool = True) -> None:
    """Convert the times of *item* to UTC, and derive the one that is missing of start, end and duration."""
    for field in ("start_time", "end_time"):
        time = getattr(item, field)
        if time is not None and time.tzinfo is not UTC:
            setattr(item, field, in_utc(time))
    with suppress(OverflowError, ValueError):  # a duration that is NaN or longer than the calendar
        if not is_start_known:
            item.start_time = EPOCH
            if item.end_time:
                item.start_time = item.end_time - timedelta(milliseconds=item.duration_ms or 0)
        if item.start_time and item.end_time is None and item.duration_ms is not None:
            item.end_time = item.start_time + timedelta(milliseconds=item.duration_ms)
        elif item.start_time and item.end_time and item.duration_ms is None:
            item.duration_ms = (item.end_time - item.start_time) / timedelta(milliseconds=1)


def in_utc(time: datetime) -> datetime:
    """Return *time* in UTC; one without a time zone counts as UTC."""
    if not time.utcoffset():
        return time.replace(tzinfo=UTC)
    try:
        return time.astimezone(UTC)
    except OverflowError:  # the first or the last day of the calendar
        return time.replace(tzinfo=UTC)


def derived_status(item: ObservationData | TraceData) -> Status:
    """Return the status of something that has ended and recorded no known status."""
    if item.error is not None or (isinstance(item, ObservationData) and item.level is ObservationLevel.ERROR):
        return Status.ERROR
    return Status.SUCCESS if item.end_time else Status.ABANDONED
