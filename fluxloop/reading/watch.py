"""
Watch the files of running programs: what ended since the last look, and what is open now.

`Watch.look` reads only what was appended since it was called last, and the journals. It keeps the
traces that are open and forgets each as it ends.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from ..enums import Status
from ..errors import ReadError
from ..models import ObservationData, Trace
from ..storage.decoding import Json, records_in
from . import Assembly, Source, TraceReader
from .assembly import trace_id_of
from .source import Heads, open_records

MOST_REMEMBERED = 10_000
"""Traces that ended and are remembered, so that a late observation does not open them anew; and traces held open."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What one look found."""

    observations: list[tuple[str, ObservationData]] = field(default_factory=list)
    """Those that ended since the last look, each with the name of its trace as far as that is known."""
    ended: list[Trace] = field(default_factory=list)
    """Traces that ended, or whose process died, since the last look."""
    running: list[Trace] = field(default_factory=list)
    """Traces that are open now, in the order they were met."""


class Watch:
    """
    What happens under a path, from now on.

    Args:
        path: As for `fluxloop.read_traces`; it may come into being later.
        wanted: Tells by its id whether a trace is of interest.
    """

    def __init__(self, path: str | Path, wanted: Callable[[str], object] = bool) -> None:
        self._path = Path(path)
        self._wanted = wanted
        self._offsets: dict[Path, int] = {}
        self._open: dict[str, Assembly] = {}
        self._ended: dict[str, None] = {}
        self._source = self._find()
        if self._source is not None:
            self._pass_over(self._source)

    @property
    def is_waiting(self) -> bool:
        """Whether the path is still to come into being."""
        return self._source is None

    def look(self) -> Seen:
        """Return what happened since the last look; nothing while the path does not exist."""
        source = self._source = self._source or self._find()
        if source is None:
            return Seen()
        # Journals before files, as in `TraceReader`: what ends in between is met twice, and never missed.
        heads = self._heads(source)
        ended_now = [(trace_id_of(record), self._add(record)) for record in self._appended(source)]
        for trace_id in heads:
            if trace_id not in self._ended:
                self._open.setdefault(trace_id, Assembly(trace_id))
        seen, names = Seen(), dict[str, str]()
        for trace_id, assembly in list(self._open.items()):
            self._sort(assembly, heads.get(trace_id, []), seen)
            names[trace_id] = assembly.name
        for remembered in (self._ended, self._open):
            for trace_id in [*remembered][:-MOST_REMEMBERED]:
                del remembered[trace_id]
        ended_now += [(t.trace_id, o) for t in seen.ended for o in t.observations if _died(o)]
        seen.observations.extend((names.get(trace_id, ""), o) for trace_id, o in ended_now if o is not None)
        return seen

    def _find(self) -> Source | None:
        with suppress(ReadError):
            return Source.at(self._path)
        return None

    def _pass_over(self, source: Source) -> None:
        """Leave out what is there already, but for the traces that are open now."""
        self._offsets = {path: path.stat().st_size for paths in source.days().values() for path in paths}
        heads = self._heads(source)
        self._ended = {trace_id: None for trace_id, of_trace in heads.items() if not _is_alive(of_trace)}
        if alive := heads.keys() - self._ended.keys():
            reader = TraceReader(self._path, wanted=alive.__contains__)
            found = {assembly.trace_id: assembly for assembly in reader.assemblies()}
            self._open = {trace_id: assembly for trace_id, assembly in found.items() if not assembly.ended}
            self._ended |= dict.fromkeys(found.keys() - self._open.keys())

    def _heads(self, source: Source) -> dict[str, Heads]:
        return {trace_id: heads for trace_id, heads in source.heads().items() if self._wanted(trace_id)}

    def _appended(self, source: Source) -> Iterator[Json]:
        """Yield the wanted records on lines that were finished since the last look."""
        paths = [path for paths in source.days().values() for path in paths]
        self._offsets = {path: self._offsets.get(path, 0) for path in paths}  # one that was removed begins anew
        for path in paths:
            if (file := open_records(path)) is None:
                continue
            with file:
                start = self._offsets[path]
                if start > file.seek(0, os.SEEK_END):
                    start = 0
                file.seek(start)
                added = file.read()
                whole = added[: added.rfind(b"\n") + 1]
            self._offsets[path] = start + len(whole)
            for line in whole.split(b"\n"):
                for _, record in records_in(line):
                    if not isinstance(record, str) and self._wanted(trace_id_of(record)):
                        yield record

    def _add(self, record: Json) -> ObservationData | None:
        trace_id = trace_id_of(record)
        if trace_id in self._ended:
            return Assembly(trace_id).add(record)
        return self._open.setdefault(trace_id, Assembly(trace_id)).add(record)

    def _sort(self, assembly: Assembly, heads: Heads, seen: Seen) -> None:
        """Put a trace among the running or the ended ones, and forget it in the latter case."""
        assembly.set_open(heads)
        trace = assembly.trace()
        if assembly.ended or (heads and not _is_alive(heads)):
            seen.ended.append(trace)
            del self._open[assembly.trace_id]
            self._ended[assembly.trace_id] = None
        else:
            seen.running.append(trace)


def _is_alive(heads: Heads) -> bool:
    return any(alive for alive, _ in heads)


def _died(observation: ObservationData) -> bool:
    return observation.status is Status.CRASHED and observation.end_time is None
