"""
Watch a collector: what has ended since the last look, and what is running now.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from ..models import ObservationData, Trace
from .catalog.row import TraceRow
from .filters import TraceFilter
from .remote import Server
from .watch import Changes

MAX_WATCHED = 100
"""The newest traces, which are watched."""


class RemoteWatch:
    """
    The changes in a collector from now on, as `Watch` for files; of the newest `MAX_WATCHED` traces.

    Args:
        server: The collector.
        matches_id: Decides by its id whether a trace is watched.

    Raises:
        ReadError: From `poll`, too, if the collector does not answer.
    """

    is_waiting: ClassVar[bool] = False
    pause_s: ClassVar[float] = 1.0
    """The shortest time between two polls, in seconds."""

    def __init__(self, server: Server, matches_id: Callable[[str], object] = bool) -> None:
        self._server, self._matches_id = server, matches_id
        self._known: dict[str, tuple[object, ...]] | None = None
        """What the list says of each trace; a running one is read again when that changes."""
        self._returned: dict[str, set[str]] = {}
        """The observations of running traces that have been returned."""
        self._running: dict[str, Trace] = {}
        self._read(Changes())

    def poll(self) -> Changes:
        """Return what has happened since the last poll."""
        changes = Changes()
        self._read(changes)
        changes.running.extend(self._running.values())
        return changes

    def _read(self, changes: Changes) -> None:
        rows = [row for row in self._server.rows(TraceFilter(), limit=MAX_WATCHED) if self._matches_id(row.trace_id)]
        known = {row.trace_id: _state(row) for row in rows}
        for row in reversed(rows):
            if self._is_news(row):
                for trace in self._server.traces(trace_id=row.trace_id):
                    self._sort(trace, changes)
        self._known = known
        for trace_id in self._returned.keys() - known.keys():
            del self._returned[trace_id]
            self._running.pop(trace_id, None)

    def _is_news(self, row: TraceRow) -> bool:
        """Whether a trace is new, or was running and has changed; at the beginning, whether it is running."""
        if self._known is None:
            return row.status is None
        before = self._known.get(row.trace_id)
        return before is None or (before[0] is None and before != _state(row))

    def _sort(self, trace: Trace, changes: Changes) -> None:
        returned = self._returned.setdefault(trace.trace_id, set())
        ended = [o for o in trace.observations if o.status is not None and o.id not in returned]
        changes.observations.extend((trace.name, o) for o in sorted(ended, key=_end))
        returned.update(o.id for o in ended)
        if trace.status is None:
            self._running[trace.trace_id] = trace
        else:
            self._running.pop(trace.trace_id, None)
            changes.ended.append(trace)


def _state(row: TraceRow) -> tuple[object, ...]:
    return row.status, row.observations, row.errors, row.duration_ms


def _end(observation: ObservationData) -> str:
    return str(observation.end_time or observation.start_time)
