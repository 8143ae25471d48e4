"""
Read the files back as traces.

`read_traces` takes a folder or a file as it is after years of use: torn and foreign lines, a record
glued to a torn one, upstream's spellings, programs that still run or were killed. What cannot be
read is left out, counted and said once. Memory holds the index of one day and a single trace.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

from ..enums import SCHEMA_VERSION
from ..models import Trace
from ..report import log
from ..storage.decoding import Json
from .assembly import Assembly, traces_of
from .index import MOST_SKIPPED, DayIndex, Skipped
from .source import Heads, Source, open_records, start_of

__all__ = ["Assembly", "Skipped", "Source", "TraceReader", "read_traces", "traces_of"]


def read_traces(path: str | Path = "./traces", *, trace_id: str | None = None) -> Iterator[Trace]:
    """
    Yield the traces under *path*, one at a time, in the order they began.

    Observations that a killed process had open come back as ``crashed``, those of a running one with
    the status None.

    Args:
        path: A folder of records (``./traces``, an ``artifacts`` folder or the one around it), or one
            ``.jsonl`` file; the file that belongs to it is found beside it.
        trace_id: Yield this trace only.

    Raises:
        ReadError: If *path* does not exist or cannot be opened. A folder without records yields nothing.
    """
    return iter(TraceReader(path, wanted=None if trace_id is None else trace_id.__eq__))


class TraceReader:
    """
    The traces under a path, with an account of what could not be read.

    Iterate over it for the oldest first, or over `newest` for the newest first; each time the files
    are read anew. ``skipped`` and ``skipped_count`` tell about the pass made last.

    Args:
        path: As for `read_traces`.
        wanted: Tells by its id whether a trace is of interest; the others are not decoded.

    Raises:
        ReadError: As for `read_traces`.
    """

    def __init__(self, path: str | Path = "./traces", *, wanted: Callable[[str], object] | None = None) -> None:
        self.source = Source.at(path)
        self.skipped: list[Skipped] = []
        """The first `MOST_SKIPPED` places, file by file."""
        self.skipped_count = 0
        self._wanted = wanted
        self._schema = SCHEMA_VERSION

    def __iter__(self) -> Iterator[Trace]:
        """Yield the traces, those that began first first."""
        return (assembly.trace() for assembly in self.assemblies())

    def newest(self) -> Iterator[Trace]:
        """Yield the traces, those that began last first. Older days are not opened before they are asked for."""
        return (assembly.trace() for assembly in self.assemblies(newest_first=True))

    def assemblies(self, *, newest_first: bool = False) -> Iterator[Assembly]:
        """Yield each trace before it is put together, for those who go on adding records to it."""
        self.skipped, self.skipped_count, self._schema = [], 0, SCHEMA_VERSION
        # Journals before files: what ends in between is then met twice, and never missed.
        heads = self.source.heads()
        days = self.source.days()
        opened: dict[str, dict[str, Heads]] = {day: {} for day in days}
        for trace_id, of_trace in heads.items():
            day = "" if [*days] == [""] else start_of(of_trace)[:10].replace("-", "")
            if self.source.day in (None, day):
                opened.setdefault(day, {})[trace_id] = of_trace
        for day in sorted(opened, reverse=newest_first):
            yield from self._day(days.get(day, []), opened[day], newest_first)
        self._say()

    def _day(self, paths: list[Path], opened: dict[str, Heads], newest_first: bool) -> Iterator[Assembly]:
        with ExitStack() as stack:
            index = DayIndex([stack.enter_context(file) for path in paths if (file := open_records(path))])
            for trace_id, heads in opened.items():
                index.entry(trace_id, start_of(heads))
            for trace_id, entry in index.in_order(newest_first=newest_first):
                if self._wanted is None or self._wanted(trace_id):
                    assembly = Assembly(trace_id)
                    for record in index.records(entry):
                        self._note_schema(record)
                        assembly.add(record)
                    assembly.set_open(opened.get(trace_id, ()))
                    if assembly:
                        yield assembly
            self.skipped_count += index.lost
            self.skipped += index.skipped()[: MOST_SKIPPED - len(self.skipped)]

    def _note_schema(self, record: Json) -> None:
        schema = record.get("schema")
        if isinstance(schema, int) and schema > self._schema:
            self._schema = schema

    def _say(self) -> None:
        if self.skipped_count:
            places = [f"{place.path.name} line {place.line} ({place.reason})" for place in self.skipped[:3]]
            places += ["…"] * (self.skipped_count > 3)
            log.warning("%s: left out what is no record: %s", self.source, ", ".join(places))
        if self._schema > SCHEMA_VERSION:
            log.warning(
                "%s: written by a newer FluxLoop (schema %d, this one knows %d); what it added is not shown. "
                "Next step: pip install --upgrade fluxloop",
                self.source,
                self._schema,
                SCHEMA_VERSION,
            )
