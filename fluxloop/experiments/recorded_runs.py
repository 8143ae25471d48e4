"""
The runs of an experiment with what was recorded of each: the row of the folder, and the records of its trace.

Runs are read one at a time. Records stay plain dicts in the record format: an experiment may have a million of them,
and building models takes ten times as long as decoding. `Run.trace` builds the models for callers that need them.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

from ..models import Trace, positions_by_parent
from ..reading.assembly import Assembly
from ..reading.day_index import DayIndex, Entry
from ..reading.lazy import can_wait
from ..reading.source import OpenObservations, Source, open_records
from ..reading.to_json import observation_line
from ..storage.decoding import Json, decode, kind_of
from .folder import ExperimentFolder, Row


class ToolCall(NamedTuple):
    """A call of a tool in a run."""

    name: str
    arguments: Any
    """By name, as a dict, where the tool recorded them so."""
    output: Any
    error: str | None


@dataclass(eq=False)
class Run:
    """A run of an experiment."""

    row: Row
    records: list[Json] = field(default_factory=list)
    """Its observations in the record format, in start order."""
    trace_record: Json | None = None
    """The record of the trace itself."""

    @property
    def data(self) -> Mapping[str, Any]:
        """The members of the row."""
        return self.row.data

    @property
    def output(self) -> Any:
        """What the target returned."""
        return self.row.data.get("output")

    @property
    def input_key(self) -> str:
        """The identity of the input: its id, or the input itself where it has none. Repeats of an input share it."""
        own = self.row.data.get("input_id")
        return str(own) if own is not None else str(self.row.data.get("input"))

    @property
    def persona(self) -> str | None:
        """The name of the persona."""
        persona = self.row.data.get("persona")
        return None if persona is None else str(persona)

    @property
    def error(self) -> str | None:
        """The error as text, ``Type: message``."""
        error = self.row.data.get("error")
        if isinstance(error, Mapping):
            parts = [str(error[name]) for name in ("type", "message") if error.get(name)]
            return ": ".join(parts) or "failed"
        return None if error is None else str(error)

    @property
    def duration_ms(self) -> float | None:
        """How long the run took, in milliseconds."""
        return _number(self.row.data.get("duration_ms"))

    @cached_property
    def tools(self) -> list[ToolCall]:
        """The calls of tools, in start order."""
        return [
            ToolCall(str(record.get("name", "")), _arguments(record.get("input")), record.get("output"), _error(record))
            for record in self.records
            if record["type"] == "TOOL"
        ]

    @cached_property
    def model_calls(self) -> int:
        """The number of calls of models."""
        return sum(record["type"] == "GENERATION" for record in self.records)

    @cached_property
    def tokens(self) -> dict[str, int]:
        """``input_tokens``, ``output_tokens`` and ``total_tokens``, as far as they are known."""
        usage = self.row.data.get("token_usage")
        if isinstance(usage, Mapping):
            counts = {ours: _number(usage.get(theirs, usage.get(ours))) for theirs, ours in _TOKENS.items()}
        elif any(record.get("usage") for record in self.records) and self.trace and self.trace.usage:
            counts = {ours: getattr(self.trace.usage, ours) for ours in _TOKENS.values()}
        else:
            return {}
        known = {name: int(count) for name, count in counts.items() if count is not None}
        if known and "total_tokens" not in known:
            known["total_tokens"] = known.get("input_tokens", 0) + known.get("output_tokens", 0)
        return known

    @cached_property
    def cost(self) -> float | None:
        """The price of the model calls in US dollars; None where it is not known."""
        recorded = _number(self.row.data.get("cost"))
        if recorded is not None or not any(record.get("usage") for record in self.records):
            return recorded
        cost = self.trace.cost if self.trace else None
        return cost.amount if cost else None

    @cached_property
    def trace(self) -> Trace | None:
        """The trace with its observations as models; None if nothing was recorded."""
        if not self.records and self.trace_record is None:
            return None
        assembly = Assembly(self.row.trace_id)
        for record in (*self.records, *([self.trace_record] if self.trace_record else [])):
            assembly.add(record)
        return assembly.trace()

    @cached_property
    def tree(self) -> list[tuple[int, Json]]:
        """Each record with its depth, parents before children; the depth of a root is 0."""
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


_TOKENS = {"prompt_tokens": "input_tokens", "completion_tokens": "output_tokens", "total_tokens": "total_tokens"}
"""The names in the row, and those of `fluxloop.Usage`."""


def recorded_runs(folder: ExperimentFolder, only: Container[str] | None = None) -> Iterator[Run]:
    """
    Yield the runs of *folder* in the order of its rows, each with its records.

    Memory holds the places of the records (about 400 bytes per run) and the records of one run.

    Args:
        folder: The experiment.
        only: The ids of the traces to read; None reads all.

    Raises:
        ReadError: If the records cannot be opened.
    """
    with ExitStack() as stack:
        source = Source.at(folder.artifacts)
        open_observations = source.open_observations()
        indexes = []
        for paths in source.days().values():
            index = DayIndex([stack.enter_context(file) for path in paths if (file := open_records(path))])
            indexes.append((index, dict(index.in_order(newest_first=False))))
        for row in folder.rows():
            if only is None or row.trace_id in only:
                yield _run(row, indexes, open_observations)


Indexes = list[tuple[DayIndex, dict[str, Entry]]]


def _run(row: Row, indexes: Indexes, open_observations: Mapping[str, OpenObservations]) -> Run:
    trace_id = row.trace_id
    found = [(index, entries[trace_id]) for index, entries in indexes if trace_id in entries]
    unfinished = open_observations.get(trace_id, [])
    if not found and not unfinished:
        return Run(row)

    run = None if unfinished else _plain_run(row, found)
    return run or _converted_run(row, found, unfinished)


def _plain_run(row: Row, found: list[tuple[DayIndex, Entry]]) -> Run | None:
    """Return the run with its records as they were decoded; None if one needs conversion."""
    by_id: dict[str, Json] = {}
    trace_record: Json | None = None
    for index, entry in found:
        for record, _ in index.records(entry):
            if can_wait(record) and record.get("type") in _TYPES and "status" in record:
                by_id[record["id"]] = record
            elif kind_of(record) == "observation":
                return None
            else:
                trace_record = record
    records = [*by_id.values()]
    if len({record["seq"] for record in records}) == len(records):
        records.sort(key=lambda record: record["seq"])
    else:
        records.sort(key=lambda record: (record["start_time"], record["seq"]))
    return Run(row, records, trace_record)


def _converted_run(row: Row, found: list[tuple[DayIndex, Entry]], unfinished: OpenObservations) -> Run:
    """Return the run with records of other spellings and unfinished ones in the record format."""
    assembly = Assembly(row.trace_id)
    for index, entry in found:
        for record, line in index.records(entry):
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


def _error(record: Json) -> str | None:
    if record.get("error") is not None:
        return str(record["error"])
    return None if record.get("status") == "success" else str(record.get("status") or "not ended")


def _number(value: Any) -> float | None:
    return value if isinstance(value, int | float) and not isinstance(value, bool) and value == value else None
