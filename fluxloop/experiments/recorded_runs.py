"""
The runs of an experiment with what was recorded of each: the row of the folder, and the records of its trace.

Runs are read one at a time.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Sequence
from contextlib import ExitStack
from functools import cached_property
from operator import itemgetter
from pathlib import Path

import orjson

from ..models import Trace
from ..reading.assembly import Assembly
from ..reading.day_index import DayIndex, Entry
from ..reading.lazy import SEQ_END, can_wait
from ..reading.source import OpenObservations, Source, open_records
from ..reading.to_json import observation_line
from ..storage.decoding import Json, decode, kind_of
from ..storage.record_input import RecordInput
from .folder import ExperimentFolder, Row
from .record_stream import Lines, OutOfOrder, RecordStream, stream_of
from .run_data import Run


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

    def _files(self, paths: list[Path]) -> list[RecordInput]:
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
        ids, types, numbers, times, _ = zip(*[*map(_MEMBERS, records)], strict=True)
        at = "".join(times)
        is_known = _TYPES.issuperset(types)
    except (KeyError, TypeError):
        return False
    count = len(records)
    return (
        is_known
        and len({*ids}) == len({*numbers}) == count
        and all(map(_has_plain_values, records))
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
        if can_wait(record) and _is_complete(record) and _has_plain_values(record):
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


def _is_complete(record: Json) -> bool:
    return "status" in record and isinstance(kind := record.get("type"), str) and kind in _TYPES


def _has_plain_values(record: Json) -> bool:
    """Whether values that are used as they were decoded have the types of the record format, in an edited file too."""
    return type(record.get("duration_ms")) in _NUMBERS and type(record.get("usage")) in _MAPPINGS


_NUMBERS = frozenset({float, int, type(None)})
_MAPPINGS = frozenset({dict, type(None)})

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
