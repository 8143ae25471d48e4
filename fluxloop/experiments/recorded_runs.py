"""
The runs of an experiment with what was recorded of each: the row of the folder, and the records of its trace.

Runs are read one at a time. Records stay plain dicts in the record format: an experiment may have a million of them,
and building models takes ten times as long as decoding. `Run.trace` builds the models for callers that need them.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from functools import cached_property
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

import orjson

from ..models import Trace
from ..models.tree import positions_by_parent
from ..reading.assembly import Assembly
from ..reading.day_index import DayIndex, Entry
from ..reading.lazy import SEQ_END, can_wait
from ..reading.source import OpenObservations, Source, open_records
from ..reading.to_json import observation_line
from ..storage.decoding import Json, decode, kind_of
from .folder import ExperimentFolder, Row
from .record_stream import Lines, OutOfOrder, RecordStream, stream_of


if TYPE_CHECKING:
    computed = cached_property
else:

    class computed:  # noqa: N801
        """A property that is computed once. `cached_property` takes a lock up to Python 3.11, as long as the rest."""

        def __init__(self, function):
            self.function, self.name = function, function.__name__

        def __get__(self, instance, owner=None):
            value = instance.__dict__[self.name] = self.function(instance)
            return value


class ToolCall(NamedTuple):
    """A call of a tool in a run."""

    name: str
    arguments: Any
    """By name, as a dict, where the tool recorded them so."""
    output: Any
    error: str | None


class Run:
    """
    A run of an experiment.

    Args:
        row: What the folder says of it.
        records: Its observations in the record format, in start order.
        trace_record: The record of the trace itself.
    """

    def __init__(self, row: Row, records: list[Json] | None = None, trace_record: Json | None = None) -> None:
        self.row = row
        self.records: list[Json] = [] if records is None else records
        self.trace_record = trace_record
        self.data: Mapping[str, Any] = row.data
        """The members of the row."""
        get = row.data.get
        self.trace_id = row.trace_id
        self.status = row.status
        self.succeeded = self.status == "success"
        self.output = get("output")
        """What the target returned."""
        persona = get("persona")
        self.persona = None if persona is None else str(persona)
        """The name of the persona."""
        self.duration_ms = _number(get("duration_ms"))
        """How long the run took, in milliseconds."""
        error = get("error")
        self.error = None if error is None else _error_text(error)
        """The error as text, ``Type: message``."""

    @property
    def input_key(self) -> str:
        """The identity of the input: its id, or the input itself where it has none. Repeats of an input share it."""
        own = self.data.get("input_id")
        return str(self.data.get("input") if own is None else own)

    @computed
    def tool_records(self) -> list[Json]:
        """The observations of tools, in start order."""
        return [record for record in self.records if record["type"] == "TOOL"]

    @computed
    def tool_names(self) -> list[str]:
        """The name of each call of a tool, in start order."""
        return [str(record.get("name", "")) for record in self.tool_records]

    @computed
    def tools(self) -> list[ToolCall]:
        """The calls of tools, in start order."""
        return [
            ToolCall(name, _arguments(record.get("input")), record.get("output"), _error(record))
            for name, record in zip(self.tool_names, self.tool_records, strict=True)
        ]

    @computed
    def model_calls(self) -> int:
        """The number of calls of models."""
        return [record["type"] for record in self.records].count("GENERATION")

    @computed
    def tokens(self) -> dict[str, int]:
        """``input_tokens``, ``output_tokens`` and ``total_tokens``, as far as they are known."""
        usage = self.data.get("token_usage")
        if isinstance(usage, dict):
            counts = {ours: _number(usage.get(theirs, usage.get(ours))) for theirs, ours in _TOKENS}
        elif any(record.get("usage") for record in self.records) and self.trace and self.trace.usage:
            counts = {ours: getattr(self.trace.usage, ours) for _, ours in _TOKENS}
        else:
            return {}
        known = {name: int(count) for name, count in counts.items() if count is not None}
        if known and "total_tokens" not in known:
            known["total_tokens"] = known.get("input_tokens", 0) + known.get("output_tokens", 0)
        return known

    @computed
    def cost(self) -> float | None:
        """The price of the model calls in US dollars; None where it is not known."""
        recorded = _number(self.data.get("cost"))
        if recorded is not None or not any(record.get("usage") for record in self.records):
            return recorded
        cost = self.trace.cost if self.trace else None
        return cost.amount if cost else None

    @computed
    def trace(self) -> Trace | None:
        """The trace with its observations as models; None if nothing was recorded."""
        if not self.records and self.trace_record is None:
            return None
        assembly = Assembly(self.row.trace_id)
        for record in (*self.records, *([self.trace_record] if self.trace_record else [])):
            assembly.add(record)
        return assembly.trace()

    @computed
    def tree(self) -> list[tuple[int, Json]]:
        """Each record with its depth, parents before children; the depth of a root is 0."""
        return _nested(self.records) or self._tree()

    def _tree(self) -> list[tuple[int, Json]]:
        tree: list[tuple[int, Json]] = []
        by_parent = positions_by_parent([(record["id"], record.get("parent_id")) for record in self.records])
        pending = [(0, position) for position in reversed(by_parent.pop(None, ()))]
        while pending:
            depth, position = pending.pop()
            record = self.records[position]
            tree.append((depth, record))
            if children := by_parent.pop(record["id"], None):
                pending += [(depth + 1, child) for child in reversed(children)]
        return tree


_TOKENS = (
    ("prompt_tokens", "input_tokens"),
    ("completion_tokens", "output_tokens"),
    ("total_tokens", "total_tokens"),
)
"""The names in the row, and those of `fluxloop.Usage`."""


def _nested(records: list[Json]) -> list[tuple[int, Json]] | None:
    """Return the tree of *records* if they are in its order already, as those of a run without parallel steps are."""
    tree: list[tuple[int, Json]] = []
    path: list[str | None] = [None]
    for record in records:
        parent = record.get("parent_id")
        while path[-1] != parent:
            path.pop()
            if not path:
                return None
        tree.append((len(path) - 1, record))
        path.append(record["id"])
    return tree


def recorded_runs(folder: ExperimentFolder, only: Container[str] | None = None) -> Iterator[Run]:
    """
    Yield the runs of *folder* in the order of its rows, each with its records.

    Memory holds the records of the runs that were under way at the same time. Where records are not in the order of the
    rows, or something else than the runner wrote them, it holds their places: about 400 bytes per run.

    Args:
        folder: The experiment.
        only: The ids of the traces to read; None reads all.

    Raises:
        ReadError: If the records cannot be opened.
    """
    with ExitStack() as stack:
        records = _Records(Source.at(folder.artifacts), stack)
        for row in folder.rows():
            is_wanted = only is None or row.trace_id in only
            run = records.run(row, is_wanted=is_wanted)
            if run is not None:
                yield run


class _Records:
    """The records of an experiment: a stream of them, and an index for the traces that the stream leaves out."""

    def __init__(self, source: Source, stack: ExitStack) -> None:
        self._source, self._stack = source, stack
        self._open_observations = source.open_observations()
        self._stream = self._opened_stream()

    def _opened_stream(self) -> RecordStream | None:
        days = self._source.days()
        paths = days.get("", [])
        return stream_of(paths, self._files(paths)) if [*days] == [""] else None

    def _files(self, paths: list[Path]) -> list[BinaryIO]:
        return [self._stack.enter_context(file) for path in paths if (file := open_records(path))]

    @cached_property
    def _indexes(self) -> list[tuple[DayIndex, dict[str, Entry]]]:
        indexes = [DayIndex(self._files(paths)) for paths in self._source.days().values()]
        return [(index, dict(index.in_order(newest_first=False))) for index in indexes]

    def run(self, row: Row, *, is_wanted: bool) -> Run | None:
        """Return the run of *row* with its records; None if it is not wanted."""
        key = row.trace_id.encode("utf-8", "replace")
        if self._stream is not None and row.trace_id not in self._open_observations and key not in self._stream.late:
            try:
                lines = self._stream.take(key)
            except OutOfOrder:
                self._stream = None
            else:
                if lines.observations or not is_wanted:
                    return _streamed_run(row, lines) if is_wanted else None
                # nothing was recorded, or an earlier row has the same trace
        return self._indexed_run(row) if is_wanted else None

    def _indexed_run(self, row: Row) -> Run:
        trace_id = row.trace_id
        found = [(index, entries[trace_id]) for index, entries in self._indexes if trace_id in entries]
        unfinished = self._open_observations.get(trace_id, [])
        if not found and not unfinished:
            return Run(row)
        run = None
        if not unfinished:
            run = _plain_run(row, (record for index, entry in found for record, _ in index.records(entry)))
        lines = (line for index, entry in found for line in index.records(entry))
        return run or _converted_run(row, lines, unfinished)


def _streamed_run(row: Row, lines: Lines) -> Run:
    every = lines.observations if lines.trace is None else [*lines.observations, lines.trace]
    try:
        found = orjson.loads(b"[%b]" % b",".join(every))
    except orjson.JSONDecodeError:
        return _converted_run(row, _decoded(every), [])
    trace_record = None if lines.trace is None else found.pop()
    if _are_plain(found) and kind_of(trace_record) != "observation":
        found.sort(key=_SEQ)
        return Run(row, found, trace_record)
    if trace_record is not None:
        found.append(trace_record)
    return _plain_run(row, found) or _converted_run(row, _decoded(every), [])


def _are_plain(records: Sequence[Json]) -> bool:
    """Whether `_plain_run` keeps all of *records*, which begin as the stream expects, and needs no times to sort."""
    try:
        ids, types, numbers, times, _ = zip(*map(_MEMBERS, records), strict=True)
        at = "".join(times)
    except (KeyError, TypeError):
        return False
    count = len(records)
    return (
        len({*ids}) == len({*numbers}) == count
        and _TYPES.issuperset(types)
        and {*map(type, numbers)} == {int}
        and min(numbers) >= 0
        and max(numbers) < SEQ_END
        and len(at) == 27 * count
        and at[10::27] == "T" * count
        and at[26::27] == "Z" * count
    )


_MEMBERS = itemgetter("id", "type", "seq", "start_time", "status")


def _decoded(lines: Iterable[bytes]) -> Iterator[tuple[Json, bytes]]:
    for line in lines:
        try:
            record = decode(line)
        except ValueError:
            continue
        if kind_of(record):
            yield record, line


def _plain_run(row: Row, found: Iterable[Json]) -> Run | None:
    """Return the run with its records as they were decoded; None if one needs conversion."""
    by_id: dict[str, Json] = {}
    trace_record: Json | None = None
    for record in found:
        if can_wait(record) and record.get("type") in _TYPES and "status" in record:
            by_id[record["id"]] = record
        elif kind_of(record) == "observation":
            return None
        else:
            trace_record = record
    records = [*by_id.values()]
    if len({record["seq"] for record in records}) == len(records):
        records.sort(key=_SEQ)
    else:
        records.sort(key=lambda record: (record["start_time"], record["seq"]))
    return Run(row, records, trace_record)


_SEQ = itemgetter("seq")


def _converted_run(row: Row, found: Iterable[tuple[Json, bytes]], unfinished: OpenObservations) -> Run:
    """Return the run with records of other spellings and unfinished ones in the record format."""
    assembly = Assembly(row.trace_id)
    for record, line in found:
        assembly.add_line(line, record)
    assembly.set_open(unfinished)
    return run_of(assembly.trace(), row)


def run_of(trace: Trace, row: Row) -> Run:
    """Return the run of *row*, whose records are those of *trace*."""
    run = Run(row, [decode(observation_line(observation).encode()) for observation in trace.observations])
    run.__dict__["trace"] = trace  # the cached property
    return run


_TYPES = frozenset({"AGENT", "SPAN", "TOOL", "GENERATION", "RETRIEVAL", "EMBEDDING", "EVENT", "CHAIN", "EVALUATION"})


def _arguments(value: Any) -> Any:
    """Return the arguments of a tool: JSON text is decoded, everything else stays as it was recorded."""
    if isinstance(value, str) and value.lstrip().startswith("{"):
        try:
            return decode(value.encode())
        except ValueError:
            return value
    return value


def _error_text(error: Any) -> str:
    if isinstance(error, Mapping):
        parts = [str(error[name]) for name in ("type", "message") if error.get(name)]
        return ": ".join(parts) or "failed"
    return str(error)


def _error(record: Json) -> str | None:
    if record.get("error") is not None:
        return str(record["error"])
    return None if record.get("status") == "success" else str(record.get("status") or "not ended")


def _number(value: Any) -> float | None:
    kind = type(value)
    return value if (kind is float or kind is int) and value == value else None
