"""
The shape of a trace: for each observation what a tree shows before its values, in about 60 bytes.

A trace may have a million observations. The outline reads each record once, builds no `ObservationData`, and counts
what is below each observation, so that a tree can be folded before it is drawn.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from ..enums import ObservationLevel, ObservationType, Status
from ..models import ObservationData, Trace
from ..storage.decoding import Json

UNKNOWN = -1
"""The end of an observation that has none."""


class Outline:
    """
    The observations of *trace* in the order of its tree, by their position in it: parents before children.

    Args:
        trace: Any trace.
        now: The end of observations that are running.
    """

    def __init__(self, trace: Trace, now: datetime | None = None) -> None:
        self.trace = trace
        self.indexes = array("q")
        """Positions in ``trace.observations``."""
        self.depths = array("q")
        self.kinds: list[tuple[ObservationType, str]] = []
        """Type and name."""
        self.statuses: list[Status | None] = []
        self.flags = bytearray()
        """`FAILED`, `WARNED` and `TRIPPED`, added up."""
        self.starts = array("q")
        """Microseconds since 1970."""
        self.ends = array("q")
        self._now = _microseconds(now) if now else UNKNOWN
        self._read()
        self.sizes = self.below([1] * len(self))
        """Observations from this one down."""
        self.failures = self.below([flags & FAILED for flags in self.flags])
        """Failed observations from this one down."""

    def __len__(self) -> int:
        return len(self.indexes)

    @property
    def begin(self) -> int:
        """When the trace began, in microseconds since 1970."""
        start = self.trace.start_time
        return _microseconds(start) if start is not None else min(self.starts, default=0)

    @property
    def end(self) -> int:
        """When the last observation ended, or began."""
        return max(max(self.ends, default=UNKNOWN), max(self.starts, default=UNKNOWN))

    def observation(self, position: int) -> ObservationData:
        """Return an observation, which is built for it."""
        peek = getattr(self.trace.observations, "peek", None)
        index = self.indexes[position]
        item = peek(index) if peek else self.trace.observations[index]
        return item if isinstance(item, ObservationData) else _built(item)

    def roots(self) -> Iterator[int]:
        """Yield the positions of the roots."""
        return self._siblings(0, len(self))

    def children(self, position: int) -> Iterator[int]:
        """Yield the positions of the children of an observation."""
        return self._siblings(position + 1, position + self.sizes[position])

    def _siblings(self, first: int, end: int) -> Iterator[int]:
        while first < end:
            yield first
            first += self.sizes[first]

    def below(self, counts: Any) -> array[int]:
        """Return, for each observation, the sum of *counts* from it down."""
        sums = array("q", counts)
        open_sums = [0] * (max(self.depths, default=0) + 2)
        for position in range(len(self) - 1, -1, -1):
            depth = self.depths[position]
            sums[position] += open_sums[depth + 1]
            open_sums[depth + 1] = 0
            open_sums[depth] += sums[position]
        return sums

    def _read(self) -> None:
        """Walk the tree as `Trace.walk` does, without building observations."""
        observations = self.trace.observations
        peek = getattr(observations, "peek", observations.__getitem__)
        by_parent = dict(self.trace._by_parent())
        kinds: dict[tuple[ObservationType, str], tuple[ObservationType, str]] = {}
        seconds: dict[str, int] = {}
        pending = [(0, index) for index in reversed(by_parent.pop(None, ()))]
        while pending:
            depth, index = pending.pop()
            item = peek(index)
            fact = _plain_fact(item, seconds) if type(item) is dict else None
            if fact is None:
                fact = _fact_of(item if isinstance(item, ObservationData) else _built(item))
            self.indexes.append(index)
            self.depths.append(depth)
            kind = fact.type, fact.name
            self.kinds.append(kinds.setdefault(kind, kind))
            self.statuses.append(fact.status)
            self.flags.append(_flags(fact))
            self.starts.append(fact.start)
            self.ends.append(self._end(fact))
            if children := by_parent.pop(fact.id, None):
                pending += [(depth + 1, child) for child in reversed(children)]

    def _end(self, fact: _Fact) -> int:
        if fact.duration_ms is not None and 0 <= fact.duration_ms < _LONGEST_MS:  # false for NaN
            return fact.start + int(fact.duration_ms * 1000)
        return max(fact.start, self._now) if fact.status is None and self._now != UNKNOWN else UNKNOWN


class _Fact(NamedTuple):
    """What the outline reads of one observation."""

    id: str
    type: ObservationType
    name: str
    status: Status | None
    level: ObservationLevel
    start: int
    duration_ms: float | None
    output: Any


def _plain_fact(record: Json, seconds: dict[str, int]) -> _Fact | None:
    """
    Return what the outline needs from *record*; None if a field is not as FluxLoop writes it.

    Args:
        record: A record whose start `can_wait` has accepted.
        seconds: A cache of times without their fractions.
    """
    try:
        name, duration, time = record["name"], record.get("duration_ms"), record["start_time"]
        if type(name) is not str or not (duration is None or type(duration) in (float, int)):
            return None
        second = seconds.get(time[:19])
        if second is None:
            second = seconds[time[:19]] = _microseconds(datetime.fromisoformat(f"{time[:19]}Z"))
        return _Fact(
            record["id"],
            _TYPES[record["type"]],
            name,
            _STATUSES[record["status"]],
            _LEVELS[record.get("level", "INFO")],
            second + int(time[20:26]),
            duration,
            record.get("output"),
        )
    except (KeyError, TypeError, ValueError):
        return None


def _fact_of(one: ObservationData) -> _Fact:
    start = _microseconds(one.start_time)
    return _Fact(one.id, one.type, one.name, one.status, one.level, start, one.duration_ms, one.output)


def _flags(fact: _Fact) -> int:
    flags = FAILED if fact.status in FAILURES or fact.level is ObservationLevel.ERROR else 0
    if fact.level is ObservationLevel.WARNING:
        flags |= WARNED
    if (
        fact.type is ObservationType.EVALUATION
        and isinstance(fact.output, dict)
        and fact.output.get("triggered") is True
    ):
        flags |= TRIPPED
    return flags


FAILED, WARNED, TRIPPED = 1, 2, 4

FAILURES = frozenset({Status.ERROR, Status.CRASHED})
"""Statuses of observations that failed."""

_TYPES: dict[str, ObservationType] = dict(ObservationType.__members__)
_STATUSES: dict[str, Status] = {status.value: status for status in Status}
_LEVELS: dict[str, ObservationLevel] = dict(ObservationLevel.__members__)
_LONGEST_MS = 1e15
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def _built(record: Json) -> ObservationData:
    from .building import finished_observation

    return finished_observation(record)


def _microseconds(time: datetime) -> int:
    return (time - _EPOCH) // timedelta(microseconds=1)
