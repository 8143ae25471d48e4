"""
Read record files back as traces.

`read_traces` accepts a folder or a file in any state: torn and foreign lines, a record glued to a torn one, the
spellings of the published FluxLoop packages, programs that still run or were killed. What cannot be read is skipped,
counted and logged once. Memory holds the index of one day and the lines of a single trace.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from ..client import default
from ..enums import SCHEMA_VERSION
from ..models import Trace
from ..report import log
from ..storage import FileStorage
from ..storage.contract import Readable, Storage
from ..storage.decoding import Json
from ..storage.fanout import FanOut
from .assembly import Assembly, traces_of
from .day_index import MAX_SKIPPED, DayIndex, Entry, Skipped
from .filters import TraceFilter
from .scores import ScoreFiles
from .small_file import assemblies_in
from .source import OpenObservations, Source, open_records, start_of, url_of


def read_traces(
    path: str | Path | None = None,
    *,
    trace_id: str | None = None,
    where: TraceFilter | Callable[[Trace], object] | None = None,
    **filters: Any,
) -> Iterator[Trace]:
    """
    Yield the traces under *path*, one at a time, in the order they began.

    Observations that were open in a process that died have the status ``crashed``; those open in a running process
    have the status None.

    Args:
        path: A folder of records (``./traces``, an ``artifacts`` folder or its parent), or one ``.jsonl`` file, with
            which its counterpart of the same day is read; or the URL of a collector. None reads what this program is
            configured to write: its folder, or without file storage what its storage can read back, as `MemoryStorage`
            can, or the collector that `HTTPStorage` sends to.
        trace_id: Yield this trace only.
        where: A `TraceFilter`, or a function that decides for each trace.
        filters: Fields of a `TraceFilter` (for a collector, of a `CollectorFilter`), as in ``status="error",
            since="yesterday"``. An index beside the files finds the traces that match; others are not built.

    Raises:
        FilterError: If a filter is unknown or not accepted.
        ReadError: If *path* does not exist or cannot be opened, or the collector does not answer. A folder without
            records yields nothing.
    """
    url, api_key = _configured_collector() if path is None else (url_of(path), None)
    if url is not None:
        return _of_server(url, api_key, trace_id, where, filters)
    wanted = where if isinstance(where, TraceFilter) else TraceFilter()
    if filters:
        wanted = wanted.also(TraceFilter.of(**filters))
    records = _records_in_memory() if path is None else None
    if records is None:
        source = Source.at(default.configuration.settings().base_path if path is None else path)
        matches_id = None if trace_id is None else trace_id.__eq__
        traces = iter(TraceReader(source, matches_id=matches_id, only=_matching(source, wanted)))
    else:
        by_day = _matching(records, wanted)
        only = None if by_day is None else by_day.get("", ())
        traces = (
            trace
            for trace in traces_of(records)
            if (only is None or trace.trace_id in only) and (trace_id is None or trace.trace_id == trace_id)
        )
    return filter(where, traces) if where is not None and not isinstance(where, TraceFilter) else traces


def _of_server(
    url: str,
    api_key: str | None,
    trace_id: str | None,
    where: TraceFilter | Callable[[Trace], object] | None,
    filters: dict[str, Any],
) -> Iterator[Trace]:
    """Yield the traces of the collector at *url*."""
    from .remote import Server, filter_of

    wanted = filter_of(**filters)
    if isinstance(where, TraceFilter):
        wanted = wanted.also(where)
    traces = Server(url, api_key).traces(wanted, trace_id=trace_id)
    return filter(where, traces) if where is not None and not isinstance(where, TraceFilter) else traces


def _matching(source: Source | list[Json], wanted: TraceFilter) -> Mapping[str, Container[str]] | None:
    """Return the ids of the traces in files or records that *wanted* accepts, by day; None for all."""
    if not wanted:
        return None
    from .catalog import Catalog  # with SQLite, for filters only

    with Catalog.of(source) if isinstance(source, Source) else Catalog.of_records(source) as catalog:
        if catalog.notice:
            log.warning("%s", catalog.notice)
        return catalog.ids(wanted)


def _storages() -> tuple[Storage, ...]:
    """Return the storages of the configuration."""
    storage = default.recorder.storage
    return storage.storages if isinstance(storage, FanOut) else (storage,)


def _configured_collector() -> tuple[str | None, str | None]:
    """Return the URL of the collector that records are sent to, and the key; None if this process can read them."""
    storages = _storages()
    if any(isinstance(one, FileStorage | Readable) for one in storages):
        return None, None
    from ..storage import HTTPStorage  # loaded here for programs without HTTP storage

    return next(((one.collector_url, one.api_key) for one in storages if isinstance(one, HTTPStorage)), (None, None))


def _records_in_memory() -> list[Json] | None:
    """Return the records of the configured storage; None if it does not keep them in memory."""
    storages = _storages()
    if any(isinstance(one, FileStorage) for one in storages):
        return None
    readable = next((one for one in storages if isinstance(one, Readable)), None)
    return None if readable is None else list(readable.read())


class TraceReader:
    """
    The traces under a path, with an account of what was skipped.

    Iterate over it for the oldest trace first, or over `newest` for the newest first; each pass reads the files again.
    ``skipped`` and ``skipped_count`` describe the last pass.

    Args:
        path: As for `read_traces`.
        matches_id: Decides by its id whether a trace is read; the records of others are not decoded.
        only: The ids of the traces to read, by day; None reads all.

    Raises:
        ReadError: As for `read_traces`.
    """

    def __init__(
        self,
        path: str | Path | Source = "./traces",
        *,
        matches_id: Callable[[str], object] | None = None,
        only: Mapping[str, Container[str]] | None = None,
    ) -> None:
        self.source = path if isinstance(path, Source) else Source.at(path)
        self.skipped: list[Skipped] = []
        """The first `MAX_SKIPPED` places that are not records, file by file."""
        self.skipped_count = 0
        self._matches_id = matches_id
        self._only = only
        self._schema = SCHEMA_VERSION
        self._scores: ScoreFiles | None = None

    def __iter__(self) -> Iterator[Trace]:
        """Yield the traces in the order they began."""
        return map(Assembly.trace, self.assemblies())  # a generator would hold the lines of the trace it has yielded

    def newest(self) -> Iterator[Trace]:
        """Yield the traces in the reverse order; files of older days are not opened before they are needed."""
        return map(Assembly.trace, self.assemblies(newest_first=True))

    def assemblies(self, *, newest_first: bool = False) -> Iterator[Assembly]:
        """Yield each trace before it is assembled, for callers that add more records to it."""
        self.skipped = [Skipped(path, 0, reason) for path, reason in self.source.irregular()]
        self.skipped_count, self._schema = len(self.skipped), SCHEMA_VERSION
        self._scores = None if self.source.folder is None else ScoreFiles(self.source.folder)
        # Journals before files: what ends in between is then found in both, and never missed.
        open_observations = self.source.open_observations()
        files = self.source.days()
        days: dict[str, dict[str, OpenObservations]] = {day: {} for day in files}
        for trace_id, observations in open_observations.items():
            day = "" if [*files] == [""] else start_of(observations)[:10].replace("-", "")
            if self.source.day in (None, day):
                days.setdefault(day, {})[trace_id] = observations
        for day in sorted(days, reverse=newest_first):
            if self._only is None or day in self._only:
                ids = None if self._only is None else self._only[day]
                yield from self._day(files.get(day, []), days[day], newest_first, ids)
        self._log_summary()

    def _day(
        self,
        paths: list[Path],
        open_observations: dict[str, OpenObservations],
        newest_first: bool,
        ids: Container[str] | None,
    ) -> Iterator[Assembly]:
        if self.source.folder is None and not open_observations and len(paths) == 1:
            small = assemblies_in(
                paths[0],
                lambda trace_id: self._is_wanted(trace_id, ids),
                self._note_schema,
                newest_first=newest_first,
            )
            if small is not None:
                while small:
                    yield small.pop()
                return
        with ExitStack() as stack:
            index = DayIndex([stack.enter_context(file) for path in paths if (file := open_records(path))])
            for trace_id, observations in open_observations.items():
                index.entry(trace_id, start_of(observations))
            # No variable holds an assembly while its trace is in use, so that the lines are in memory once.
            yield from filter(
                None,
                (
                    self._assembly(trace_id, index, entry, open_observations)
                    for trace_id, entry in index.in_order(newest_first=newest_first)
                    if self._is_wanted(trace_id, ids)
                ),
            )
            self.skipped_count += index.skipped_count
            self.skipped += index.skipped()[: MAX_SKIPPED - len(self.skipped)]

    def _assembly(
        self, trace_id: str, index: DayIndex, entry: Entry, open_observations: dict[str, OpenObservations]
    ) -> Assembly:
        assembly = Assembly(trace_id)
        for record, line in index.records(entry):
            if "schema" in record:
                self._note_schema(record)
            assembly.add_line(line, record)
        assembly.set_open(open_observations.get(trace_id, ()))
        if self._scores is not None:
            assembly.find_scores_in(self._scores)
        return assembly

    def _is_wanted(self, trace_id: str, ids: Container[str] | None) -> bool:
        return (ids is None or trace_id in ids) and bool(self._matches_id is None or self._matches_id(trace_id))

    def _note_schema(self, record: Json) -> None:
        schema = record.get("schema")
        if isinstance(schema, int) and schema > self._schema:
            self._schema = schema

    def _log_summary(self) -> None:
        if self.skipped_count:
            places = [f"{place.path.name} line {place.line} ({place.reason})" for place in self.skipped[:3]]
            places += ["..."] * (self.skipped_count > 3)
            count = self.skipped_count
            what = "1 place that is not a record" if count == 1 else f"{count} places that are not records"
            log.warning("%s: skipped %s: %s", self.source, what, ", ".join(places))
        if self._schema > SCHEMA_VERSION:
            log.warning(
                "%s: written by a newer FluxLoop (schema %d, this version reads %d); fields it added are not shown. "
                "Next step: pip install --upgrade fluxloop",
                self.source,
                self._schema,
                SCHEMA_VERSION,
            )
