"""
What every store of the collector does.

A record is identified by its kind, the id of its trace and its own id. It replaces an older version of itself; the end
of an observation replaces its start, and a start never replaces an end. Nor does a record with the status ``crashed``
replace an end, or the line of a trace. So writing a batch twice changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple, Protocol

from ...errors import FluxLoopError
from ...reading.filters import CollectorFilter
from ..record_rows import Row


class StoreError(FluxLoopError, OSError):
    """A store cannot be opened, read or written now; the message has what to do."""


class Written(NamedTuple):
    """What a batch has changed."""

    accepted: int
    """New records, and records that replaced an older version."""
    duplicates: int
    """Records that the store had already."""


@dataclass(slots=True)
class Page:
    """A part of a list of traces."""

    rows: list[dict[str, Any]]
    """One per trace, as `rows.as_object` makes it, or one per session."""
    next: str | None
    """The cursor of the next part; None at the end."""


@dataclass(slots=True)
class Step:
    """Totals of the observations of one group that began within one span of time."""

    time_us: int | None
    """The start of the span; None for the whole time."""
    group: str | None
    """The name, type or model; None for all."""
    count: int = 0
    errors: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    tokens: int = 0
    cost: float = 0.0
    durations: dict[int, int] = field(default_factory=dict)
    """The number of observations by bucket of their duration, see `fluxloop.collector.stores.durations`."""


@dataclass(frozen=True, slots=True)
class Deletion:
    """Which traces to delete; exactly one of the fields is set."""

    trace_id: str | None = None
    session_id: str | None = None
    user_id: str | None = None
    before: datetime | None = None
    """Traces that began before this time."""


class Store(Protocol):
    """Keeps records. Methods may be called from any thread, and raise `StoreError` if the store does not answer."""

    name: str
    """A word for messages and metrics: ``sqlite``, ``postgresql``, ``clickhouse``."""

    def write(self, rows: Sequence[Row]) -> Written:
        """Keep *rows*; they are durable when this returns."""

    def check(self) -> None:
        """Raise `StoreError` unless the store can be read and written now."""

    def traces(
        self, wanted: CollectorFilter, *, limit: int, cursor: str | None = None, oldest_first: bool = False
    ) -> Page:
        """Return traces in the order of their starts."""

    def trace(self, trace_id: str) -> dict[str, Any] | None:
        """Return the row of a trace; None if it is unknown."""

    def matching(self, part: str, *, limit: int) -> list[dict[str, Any]]:
        """Return the traces whose id begins or ends with *part*, newest first."""

    def records(self, trace_id: str) -> Iterator[bytes]:
        """Yield the lines of a trace as they were received: observations, the trace's own line, scores."""

    def piece(self, trace_id: str, *, limit: int, after: str | None = None) -> tuple[list[bytes], str | None]:
        """Return up to *limit* lines of observations in start order, and the cursor of the next piece."""

    def sessions(self, wanted: CollectorFilter, *, limit: int, cursor: str | None = None) -> Page:
        """Return the sessions of the traces that *wanted* selects without its text, the most recent first."""

    def totals(self, wanted: Totals) -> list[Step]:
        """Return the totals that *wanted* describes."""

    def scores(self, trace_id: str) -> list[bytes]:
        """Return the lines of the scores of a trace."""

    def delete(self, which: Deletion) -> int:
        """Delete traces with all their records, and return the number of traces."""

    def counts(self) -> dict[str, int]:
        """Return the numbers of traces and observations, and the size in bytes, about."""

    def backup(self, path: str) -> None:
        """Write a copy of the store to the file *path*, while it is in use."""

    def close(self) -> None:
        """Finish what was begun, and release the store."""


@dataclass(frozen=True, slots=True)
class Totals:
    """A question for totals."""

    since_us: int | None = None
    until_us: int | None = None
    """Whole hours: a store keeps totals by the hour."""
    step_us: int | None = None
    """The length of a span; None for one span over the whole time."""
    by: str | None = None
    """``name``, ``type`` or ``model``; None for all observations together."""
    type: tuple[str, ...] | None = None
    name: tuple[str, ...] | None = None
    model: tuple[str, ...] | None = None
