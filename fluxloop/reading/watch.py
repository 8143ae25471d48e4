"""
Watch the record files of running programs: what has ended since the last look, and what is open now.

`Watch.poll` reads what was appended to the files since the last poll, and the journals. It holds the open traces and
drops each when it has ended.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from ..enums import Status
from ..errors import ReadError
from ..models import ObservationData, Trace
from ..storage.decoding import Json, trace_id_of
from .assembly import Assembly
from .reader import TraceReader
from .source import OpenObservations, Source, lines_of, open_records

MAX_REMEMBERED = 10_000
"""Ended traces whose ids are remembered, so that a late observation does not open them again; also open traces."""


@dataclass(frozen=True, slots=True)
class Changes:
    """What one poll found."""

    observations: list[tuple[str, ObservationData]] = field(default_factory=list)
    """The observations that have ended since the last poll, each with the name of its trace as far as it is known."""
    ended: list[Trace] = field(default_factory=list)
    """The traces that have ended, or whose process has died, since the last poll."""
    running: list[Trace] = field(default_factory=list)
    """The traces that are open now, in the order they were found."""


class Watch:
    """
    The changes under a path from now on.

    Args:
        path: As for `fluxloop.read_traces`; it may be created later.
        matches_id: Decides by its id whether a trace is watched.
    """

    pause_s: ClassVar[float] = 0.2
    """The shortest time between two polls, in seconds."""

    def __init__(self, path: str | Path, matches_id: Callable[[str], object] = bool) -> None:
        self._path = Path(path)
        self._matches_id = matches_id
        self._offsets: dict[Path, int] = {}
        self._open: dict[str, Assembly] = {}
        self._ended: dict[str, None] = {}
        self._source = self._find()
        if self._source is not None:
            self._skip_existing(self._source)

    @property
    def is_waiting(self) -> bool:
        """Whether the path does not exist yet."""
        return self._source is None

    def poll(self) -> Changes:
        """Return what has happened since the last poll; nothing while the path does not exist."""
        source = self._source = self._source or self._find()
        if source is None:
            return Changes()
        # Journals before files, as in `TraceReader`: what ends in between is found in both, and never missed.
        open_now = self._open_observations(source)
        ended_now = [(trace_id_of(record), self._add(record)) for record in self._appended(source)]
        for trace_id in open_now:
            if trace_id not in self._ended:
                self._open.setdefault(trace_id, Assembly(trace_id))
        changes, names = Changes(), dict[str, str]()
        for trace_id, assembly in list(self._open.items()):
            self._sort(assembly, open_now.get(trace_id, []), changes)
            names[trace_id] = assembly.name
        for remembered in (self._ended, self._open):
            for trace_id in [*remembered][:-MAX_REMEMBERED]:
                del remembered[trace_id]
        ended_now += [(t.trace_id, o) for t in changes.ended for o in t.observations if _has_crashed(o)]
        changes.observations.extend((names.get(trace_id, ""), o) for trace_id, o in ended_now if o is not None)
        return changes

    def _find(self) -> Source | None:
        with suppress(ReadError):
            return Source.at(self._path)
        return None

    def _skip_existing(self, source: Source) -> None:
        """Leave out what the files hold already, except for the traces that are open now."""
        self._offsets = {path: path.stat().st_size for paths in source.days().values() for path in paths}
        observations = self._open_observations(source)
        self._ended = {trace_id: None for trace_id, of_trace in observations.items() if not _is_alive(of_trace)}
        if alive := observations.keys() - self._ended.keys():
            for assembly in TraceReader(self._path, matches_id=alive.__contains__).assemblies():
                if assembly.ended:
                    self._ended[assembly.trace_id] = None
                else:
                    assembly.build()
                    self._open[assembly.trace_id] = assembly

    def _open_observations(self, source: Source) -> dict[str, OpenObservations]:
        found = source.open_observations()
        return {trace_id: of_trace for trace_id, of_trace in found.items() if self._matches_id(trace_id)}

    def _appended(self, source: Source) -> Iterator[Json]:
        """Yield the records of watched traces on lines that have been completed since the last poll."""
        paths = [path for paths in source.days().values() for path in paths]
        self._offsets = {path: self._offsets.get(path, 0) for path in paths}  # a file that was removed starts over
        for path in paths:
            if (file := open_records(path)) is None:
                continue
            with file:
                if self._offsets[path] > file.seek(0, 2):
                    self._offsets[path] = 0
                for offset, line in lines_of(file, self._offsets[path]):
                    if not line.endswith(b"\n"):
                        continue
                    self._offsets[path] = offset + len(line)
                    for found, _ in file.records(line):
                        if not isinstance(found.record, str) and self._matches_id(trace_id_of(found.record)):
                            yield found.record

    def _add(self, record: Json) -> ObservationData | None:
        trace_id = trace_id_of(record)
        if trace_id in self._ended:
            return Assembly(trace_id).add(record)
        return self._open.setdefault(trace_id, Assembly(trace_id)).add(record)

    def _sort(self, assembly: Assembly, observations: OpenObservations, changes: Changes) -> None:
        """Add a trace to the running or the ended ones, and drop it in the latter case."""
        assembly.set_open(observations)
        trace = assembly.trace()
        if assembly.ended or (observations and not _is_alive(observations)):
            changes.ended.append(trace)
            del self._open[assembly.trace_id]
            self._ended[assembly.trace_id] = None
        else:
            changes.running.append(trace)


def _is_alive(observations: OpenObservations) -> bool:
    return any(is_alive for is_alive, _ in observations)


def _has_crashed(observation: ObservationData) -> bool:
    return observation.status is Status.CRASHED and observation.end_time is None
