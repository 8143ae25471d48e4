"""
Traces of a collector, for the commands that print traces.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice

from ..errors import FilterError
from ..models import Trace
from ..reading.catalog import SHORT_ID, TraceRow
from ..reading.filters import TraceFilter
from ..reading.remote import Server
from .usage_errors import NothingFound


def rows_of(
    server: Server, where: TraceFilter, *, sort: str, reverse: bool, limit: int
) -> tuple[list[TraceRow], dict[str, str]]:
    """
    Return the rows of a list, and the short id of each.

    Raises:
        FilterError: If *sort* is not an order of a collector.
        NothingFound: If there are none.
    """
    if sort != "start":
        raise FilterError(f"a collector lists traces by their start; leave out --sort {sort}")
    rows = [*server.rows(where, limit=limit or None, oldest_first=reverse)]
    if not rows:
        raise NothingFound(f"{server}: no trace matches. Next step: leave out a filter, or check its spelling")
    return rows, short_ids(rows)


def short_ids(rows: Sequence[TraceRow]) -> dict[str, str]:
    """Return the end of each id that no other row has."""
    ids = {row.trace_id for row in rows}
    length = SHORT_ID
    while len({trace_id[-length:] for trace_id in ids}) < len(ids):
        length += 1
    return {trace_id: trace_id[-length:] for trace_id in ids}


def newest(server: Server, where: TraceFilter, count: int) -> list[Trace]:
    """Return the newest traces that *where* accepts, the newest first."""
    return [*islice(server.traces(where, newest_first=True), count)]


def with_id(server: Server, trace_id: str) -> list[Trace]:
    """Return the trace with exactly this id, or none."""
    return [*server.traces(trace_id=trace_id)]
