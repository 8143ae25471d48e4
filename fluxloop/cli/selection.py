"""
The traces that ``fluxloop view`` prints, selected by an id or by filters, from files or from a collector.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from ..models import Trace
from ..reading.catalog import Catalog, TraceRow
from ..reading.filters import TraceFilter, as_recorded
from ..reading.reader import TraceReader
from ..reading.remote import Server
from ..reading.source import url_of
from .formatting import note
from .remote import newest, short_ids, with_id
from .usage_errors import FIRST_TRACE, NO_TRACES_IN_FILE, NothingFound

EARLIER_COUNT = 5
"""Traces listed above the newest, one line each, where no option selects traces."""

MOST_LISTED = 20
"""Lines printed where a part of an id matches several traces."""


@dataclass(frozen=True, slots=True)
class Selection:
    """The traces to print, oldest first."""

    traces: list[Trace]
    earlier: list[Trace]
    """The traces just before, to be printed as one line each."""
    candidates: dict[str, TraceRow]
    """The traces that an id matches, by their short ids, newest first, where it matches more than one."""
    count: int = 0
    """The number of such traces."""


def select(path: Path, where: TraceFilter, *, trace_id: str | None, last: int | None) -> Selection:
    """
    Return the trace that *trace_id* matches, or of those that *where* accepts the *last* ones, or the newest.

    Args:
        path: A folder or a file of records, or the address of a collector.
        where: Filters; without effect on *trace_id*.
        trace_id: The beginning or the end of an id.
        last: The number of traces; None for the newest, and the ones before it as lines.

    Raises:
        NothingFound: If there are none; the message names the next step.
    """
    if (url := url_of(path)) is not None:
        return _select_remote(Server(url), where, trace_id=trace_id, last=last)
    return _select_local(path, where, trace_id=trace_id, last=last)


def _select_local(path: Path, where: TraceFilter, *, trace_id: str | None, last: int | None) -> Selection:
    only: dict[str, set[str]] | None = None
    if trace_id is not None or where:
        with Catalog.of(path) as catalog:
            if catalog.notice:
                note(catalog.notice)
            if trace_id is not None:
                found = catalog.with_id(_part(trace_id), limit=MOST_LISTED)
                if len({row.trace_id for row in found}) > 1:
                    short_ids = {catalog.short_id(row.trace_id): row for row in found}
                    return Selection([], [], short_ids, catalog.count_with_id(_part(trace_id)))
                only = {row.day: {row.trace_id} for row in found}
            elif where:
                only = catalog.ids(where)
    newest = TraceReader(path, only=only).newest()
    if trace_id is not None or last is not None:
        traces, earlier = [*islice(newest, last)], []
    else:
        traces, earlier = [*islice(newest, 1)], [*islice(newest, EARLIER_COUNT)]
    if not traces:
        raise NothingFound(_nothing_found(path, trace_id, where))
    return Selection(traces[::-1], earlier[::-1], {})


def _select_remote(server: Server, where: TraceFilter, *, trace_id: str | None, last: int | None) -> Selection:
    if trace_id is not None:
        rows = server.matching(_part(trace_id), limit=MOST_LISTED)
        if len(rows) > 1:
            return Selection(
                [], [], {short: row for row in rows if (short := short_ids(rows)[row.trace_id])}, len(rows)
            )
        traces = [trace for row in rows for trace in with_id(server, row.trace_id)]
        earlier: list[Trace] = []
    else:
        found = newest(server, where, last or 1 + EARLIER_COUNT)
        traces, earlier = (found, []) if last is not None else (found[:1], found[1:])
    if not traces:
        raise NothingFound(_nothing_found(server, trace_id, where))
    return Selection(traces[::-1], earlier[::-1], {})


def _part(trace_id: str) -> str:
    """Return a part of an id without the ellipsis that a line may print before it."""
    return as_recorded(trace_id).strip().removeprefix("…").removeprefix("..")


def id_filter(trace_id: str | None) -> Callable[[str], object]:
    """Return a function that accepts an id if it begins or ends with *trace_id*, which may be copied from a line."""
    if trace_id is None:
        return bool
    part = _part(trace_id)
    return lambda whole: whole.startswith(part) or whole.endswith(part)


def _nothing_found(path: Path | Server, trace_id: str | None, where: TraceFilter | None) -> str:
    if trace_id is not None:
        return f"{path}: no trace id begins or ends with {trace_id!r}. Next step: fluxloop list {path} shows ids"
    if where:
        return f"{path}: no trace matches. Next step: leave out a filter, or check its spelling"
    if isinstance(path, Path) and path.is_file():
        return f"{path}: {NO_TRACES_IN_FILE}"
    return f"{path}: no traces yet. {FIRST_TRACE}"
