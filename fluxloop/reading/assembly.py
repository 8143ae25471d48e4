"""
Turn decoded records into a `Trace`, whoever wrote them.

Every observation given comes out again: what this version does not understand (a type, a status, a
time) gets a stand-in, and stays readable under ``metadata["as_recorded"]``. What an older writer left
out, such as a status or a duration, is worked out from the rest.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from ..enums import ObservationLevel, Status
from ..models import ObservationData, Trace, TraceData
from ..storage.decoding import Json, kind_of

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
"""The start of an observation that recorded no time at all."""


NO_TIME = "~"
"""Stands for a time that was not recorded; sorts after every time."""


def start_text(record: Json) -> str:
    """Return when *record* began, as written, which for our times sorts by time."""
    return str(record.get("start_time") or NO_TIME)


def trace_id_of(record: Json) -> str:
    """Return the id of the trace that *record*, a trace's line or an observation, belongs to."""
    return str(record.get("trace_id") or record["id"])


def traces_of(records: Iterable[Json]) -> Iterator[Trace]:
    """Yield the traces of *records* held in memory, in order of first appearance; other JSON is left out."""
    assemblies: dict[str, Assembly] = {}
    for record in records:
        if kind_of(record):
            trace_id = trace_id_of(record)
            assemblies.setdefault(trace_id, Assembly(trace_id)).add(record)
    for assembly in assemblies.values():
        yield assembly.trace()


class Assembly:
    """
    One trace being put together from its records, which may come in any order and more than once.

    The last record of an id wins, and a finished one wins over the beginning found in a journal.
    """

    def __init__(self, trace_id: str) -> None:
        self.trace_id = trace_id
        self.ended = False
        """Whether the trace's own line was seen."""
        self._line: Json = {}
        self._begun: Json = {}
        self._finished: dict[str, ObservationData] = {}
        self._open: dict[str, ObservationData] = {}

    @property
    def name(self) -> str:
        """The trace's name, as far as it is known."""
        return str(self._line.get("name") or self._begun.get("name") or "")

    def __bool__(self) -> bool:
        return bool(self.ended or self._finished or self._open)

    def add(self, record: Json) -> ObservationData | None:
        """Take in a finished record, and return the observation if it is one."""
        if kind_of(record) == "trace":
            self._line, self.ended = record, True
            return None
        observation = read_observation(record)
        observation.status = observation.status or _ending(observation)
        self._finished[observation.id] = observation
        return observation

    def set_open(self, heads: Iterable[tuple[bool, Json]]) -> None:
        """Replace what the journals hold: the beginnings of observations, each with whether its process lives."""
        self._open = {}
        for alive, head in heads:
            observation = read_observation(head)
            observation.status = None if alive else Status.CRASHED
            self._open[observation.id] = observation
            if isinstance(begun := head.get("trace"), dict):
                self._begun = {"name": observation.name, **begun}

    def trace(self) -> Trace:
        """Return the trace as far as it is known."""
        fields = {**self._begun, **self._line, "trace_id": self.trace_id}
        fields.pop("observations", None)
        trace = _lenient(Trace, fields, {})
        trace.observations = _in_order([*{**self._open, **self._finished}.values()])
        _complete(trace, ended=self.ended)
        return trace


def read_observation(record: Mapping[str, Any]) -> ObservationData:
    """Return *record* as an observation with aware UTC times; its status is None where none was recorded."""
    observation = _lenient(ObservationData, record, {"type": "span", "name": ""})
    noted = observation.metadata.get("as_recorded")
    if isinstance(noted, dict) and "error" in noted:
        # json, since what was read back may hold integers that orjson refuses to write.
        observation.error = json.dumps(noted["error"], ensure_ascii=False, separators=(",", ":"), default=str)
    _set_times(observation, unknown="start_time" not in observation.model_fields_set)
    return observation


Model = TypeVar("Model", bound=BaseModel)

_AS_RECORDED = {"as_recorded": True}
"""Tells the models that what they refuse is handled here."""


def _lenient(model: type[Model], record: Mapping[str, Any], defaults: Json) -> Model:
    """Validate *record*, with what *model* does not accept moved to ``metadata["as_recorded"]``."""
    fields = defaults | {name: value for name, value in record.items() if value is not None}
    try:
        return model.model_validate(fields, context=_AS_RECORDED)
    except ValidationError as refusal:
        refused: Json = {}
        for error in refusal.errors(include_url=False, include_context=False, include_input=False):
            field = str(error["loc"][0])
            spellings = fields.keys() & {field, *_ALIASES.get(field, ())}
            refused |= {spelling: fields.pop(spelling) for spelling in spellings}
    kept = fields.get("metadata", {})
    return model.model_validate(
        {**defaults, **fields, "metadata": {**kept, "as_recorded": refused}}, context=_AS_RECORDED
    )


_ALIASES = {
    "parent_id": ("parent_observation_id",),
    "model_parameters": ("llm_parameters",),
    "usage": ("prompt_tokens", "completion_tokens", "total_tokens"),
    "schema": ("schema_version",),
}
"""Other names under which a field may have been recorded, so that a refused one is not tried again."""


def _set_times(item: ObservationData | TraceData, *, unknown: bool) -> None:
    """Make the times of *item* aware and UTC, and work out what two of start, end and duration tell of the third."""
    item.start_time, item.end_time = _utc(item.start_time), _utc(item.end_time)
    with suppress(OverflowError, ValueError):  # a length of NaN or of ages, which a foreign line may hold
        if unknown:
            item.start_time = EPOCH
            if item.end_time:
                item.start_time = item.end_time - timedelta(milliseconds=item.duration_ms or 0)
        if item.start_time and item.end_time is None and item.duration_ms is not None:
            item.end_time = item.start_time + timedelta(milliseconds=item.duration_ms)
        elif item.start_time and item.end_time and item.duration_ms is None:
            item.duration_ms = (item.end_time - item.start_time) / timedelta(milliseconds=1)


def _utc(time: datetime | None) -> datetime | None:
    if time is None or not time.utcoffset():
        return time and time.replace(tzinfo=UTC)
    try:
        return time.astimezone(UTC)
    except OverflowError:  # the first or the last day of the calendar
        return time.replace(tzinfo=UTC)


def _ending(item: ObservationData | TraceData) -> Status:
    """The status of something that has ended and did not record one that is known."""
    if item.error is not None or (isinstance(item, ObservationData) and item.level is ObservationLevel.ERROR):
        return Status.ERROR
    return Status.SUCCESS if item.end_time else Status.ABANDONED


def _in_order(observations: list[ObservationData]) -> list[ObservationData]:
    """
    Sort *observations* by their start.

    ``seq`` decides, as clocks tie and jump, where each has its own. Where several processes wrote the
    trace their numbers collide, and the clock is the only thing they share.
    """
    numbers = {o.seq for o in observations}
    if None not in numbers and len(numbers) == len(observations):
        return sorted(observations, key=lambda o: o.seq or 0)
    return sorted(observations, key=lambda o: (o.start_time, o.seq or 0))


def _complete(trace: Trace, *, ended: bool) -> None:
    """Fill in what the trace's line does not say from the observations, above all from the root."""
    root = next((o for o in trace.observations if o.parent_id is None), None)
    if trace.start_time is None:
        trace.start_time = min((o.start_time for o in trace.observations), default=None)
    if root and not trace.name:
        trace.name = root.name
    if trace.end_time is None and root and (root.end_time or root.duration_ms is not None):
        trace.end_time, trace.duration_ms = root.end_time, trace.duration_ms or root.duration_ms
    _set_times(trace, unknown=False)
    if trace.status is None:
        trace.status = _ending_of_trace(trace, root, ended=ended)
    if root:
        for field in ("error", "input", "output"):
            if getattr(trace, field) is None:
                setattr(trace, field, getattr(root, field))
    if trace.usage is None or not trace.usage.reported:
        trace.usage = trace.count_usage()


def _ending_of_trace(trace: Trace, root: ObservationData | None, *, ended: bool) -> Status | None:
    """How a trace whose line is missing, or says nothing that is known, has ended; None while it runs."""
    if ended:
        telling = next((o for o in trace.roots if o.status is Status.ERROR), root)
        if telling and telling.status:
            trace.error = trace.error or telling.error
            return telling.status
        return _ending(trace)
    if any(o.status is None for o in trace.observations):
        return None
    # Without a root nobody ended this trace, and nobody who lives has it open.
    return root.status if root else Status.CRASHED
