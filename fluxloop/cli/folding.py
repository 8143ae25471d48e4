"""
Choose the rows of a tree: all of a usual trace, a bounded number of a large one.

A run of siblings with the same type and name becomes one row, and so does the middle of very many siblings. Failed
ones among them keep rows of their own. What is deeper than the rows reach is counted where the tree ends.
"""

from __future__ import annotations

from array import array
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import groupby

from ..enums import ObservationType, Status
from ..reading.json_text import escaped
from ..reading.outline import FAILED, TRIPPED, WARNED, Outline
from .formatting import counted

MAX_RUN = 20
"""Siblings of one type and name that have rows of their own; more of them share one row."""

MAX_SIBLINGS = 60
"""Rows of the children of one observation; where there are more, those in the middle share one row."""

MAX_FAILED = 3
"""Failed observations of a shared row that also have rows of their own."""

MAX_ROWS = 500
"""Rows of one tree."""


class Only(StrEnum):
    """What ``--only`` selects."""

    ERRORS = "errors"
    TOOLS = "tools"
    GENERATIONS = "generations"


@dataclass(slots=True)
class Row:
    """One observation, or several siblings that share a row."""

    positions: Sequence[int]
    depth: int
    is_context: bool = False
    """Whether the row is there for the rows below it only."""
    hidden: int = 0
    """Observations below this row that have none."""
    hidden_failures: int = 0
    children: list[Row] = field(default_factory=list)

    @property
    def is_shared(self) -> bool:
        """Whether the row is for several observations."""
        return len(self.positions) > 1


@dataclass(frozen=True, slots=True)
class Plan:
    """The rows of a tree, parents before children."""

    rows: list[Row]
    folded: int
    """Observations that have no row of their own."""
    matched: int | None
    """Observations that ``--only`` selects; None without it."""


def plan(
    outline: Outline, *, depth: int | None = None, only: Only | None = None, folds: bool = True, limit: int = MAX_ROWS
) -> Plan:
    """
    Return the rows for *outline*.

    Args:
        outline: The observations.
        depth: Levels to show; None for all.
        only: Show these observations, and those that they are in; no runs are folded.
        folds: Whether rows may be shared, and are limited to *limit*.
        limit: The number of rows, unless there are more roots.
    """
    matches = outline.below(_selected(outline, only)) if only else None
    chooser = _Chooser(outline, matches, depth, MAX_RUN if folds and not only else None, limit if folds else None)
    roots = chooser.rows()
    rows = [*_flat(roots)]
    shown = sum(not row.is_shared for row in rows)
    contexts = sum(row.is_context for row in rows)
    matched = None if matches is None else sum(matches[position] for position in outline.roots())
    return Plan(rows, (len(outline) if matched is None else matched) - (shown - contexts), matched)


def _selected(outline: Outline, only: Only) -> Iterator[bool]:
    if only is Only.ERRORS:
        return (bool(flags & FAILED) for flags in outline.flags)
    wanted = ObservationType.TOOL if only is Only.TOOLS else ObservationType.GENERATION
    return (kind is wanted for kind, _ in outline.kinds)


@dataclass(slots=True)
class _Chooser:
    outline: Outline
    matches: array[int] | None
    depth: int | None
    max_run: int | None
    limit: int | None

    def rows(self) -> list[Row]:
        """Return the rows of the roots with those below them, chosen level by level."""
        roots = self._siblings([*self.outline.roots()], 0)
        count = len(roots)
        pending = deque(row for row in roots if not row.is_shared)
        while pending:
            row = pending.popleft()
            (position,) = row.positions
            is_deepest = self.depth is not None and row.depth + 1 >= self.depth
            below = [] if is_deepest else self._siblings([*self.outline.children(position)], row.depth + 1)
            if is_deepest or (self.limit is not None and count + len(below) > self.limit):
                row.hidden = (self.matches or self.outline.sizes)[position] - (not row.is_context)
                row.hidden_failures = self.outline.failures[position] - (self.outline.flags[position] & FAILED)
                continue
            row.children = below
            count += len(below)
            pending.extend(child for child in below if not child.is_shared)
        return roots

    def _siblings(self, positions: list[int], depth: int) -> list[Row]:
        if self.matches is not None:
            positions = [position for position in positions if self.matches[position]]
        runs: list[list[int]] = []
        for _, equal in groupby(positions, key=self.outline.kinds.__getitem__):
            run = [*equal]
            runs += [run] if self.max_run is not None and len(run) > self.max_run else [[one] for one in run]
        if self.limit is not None and len(runs) > (most := MAX_SIBLINGS if self.max_run else self.limit // 2):
            first, last = most - most // 4, len(runs) - most // 4
            runs = [*runs[:first], [one for run in runs[first:last] for one in run], *runs[last:]]
        return [row for run in runs for row in self._rows_of(run, depth)]

    def _rows_of(self, run: list[int], depth: int) -> Iterator[Row]:
        """Yield the row of *run*, and if it is shared, those of its first failed observations."""
        yield Row(run, depth, self._is_context(run))
        if len(run) > 1:
            failed = [position for position in run if self.outline.failures[position]]
            yield from (Row([position], depth, self._is_context([position])) for position in failed[:MAX_FAILED])

    def _is_context(self, run: list[int]) -> bool:
        """Whether an observation is shown only because of others below it."""
        if self.matches is None or len(run) > 1:
            return False
        (position,) = run
        below = sum(self.matches[child] for child in self.outline.children(position))
        return self.matches[position] == below


def _flat(roots: list[Row]) -> Iterator[Row]:
    pending = roots[::-1]
    while pending:
        row = pending.pop()
        yield row
        pending += reversed(row.children)


@dataclass(frozen=True, slots=True)
class Shared:
    """What the row of several observations shows."""

    title: str
    type: ObservationType | None
    """None if they differ."""
    count: int
    failed: int
    status: Status | None
    """Of the first of them."""
    is_mixed: bool
    """Whether another has another status."""
    below: int
    """Observations below them."""
    failed_below: int
    shortest_ms: float | None
    longest_ms: float | None
    start: int
    end: int


def shared(outline: Outline, row: Row, times: str) -> Shared:
    """Return what *row* shows of its observations; *times* is the sign between a name and its count."""
    kinds = Counter(outline.kinds[position] for position in row.positions)
    durations = [
        (end - outline.starts[position]) / 1000
        for position in row.positions
        if (end := outline.ends[position]) >= outline.starts[position]
    ]
    failed = sum(outline.flags[position] & FAILED for position in row.positions)
    if len(kinds) == 1:
        (((_, name), count),) = kinds.items()
        title = f"{name} {times} {count:,}"
    else:
        most = [f"{name} {times} {count:,}" for (_, name), count in kinds.most_common(3)]
        title = f"{len(row.positions):,} more: {', '.join(most)}{', ...' if len(kinds) > 3 else ''}"
    return Shared(
        title,
        next(iter(kinds))[0] if len({type for type, _ in kinds}) == 1 else None,
        len(row.positions),
        failed,
        outline.statuses[row.positions[0]],
        len({outline.statuses[position] for position in row.positions}) > 1,
        sum(outline.sizes[position] for position in row.positions) - len(row.positions),
        sum(outline.failures[position] for position in row.positions) - failed,
        min(durations, default=None),
        max(durations, default=None),
        min(outline.starts[position] for position in row.positions),
        max(max(outline.ends[position], outline.starts[position]) for position in row.positions),
    )


def notices(outline: Outline, has_failed: bool) -> Iterator[str]:
    """
    Yield what a reader of the header should know of the observations: errors inside, tripped guardrails, warnings.

    Args:
        outline: The observations.
        has_failed: Whether the trace failed; the tree then shows where.
    """
    positions = range(len(outline))
    failed = [position for position in positions if outline.flags[position] & FAILED]
    if failed and not has_failed:
        yield f"{counted(len(failed), 'error')} inside{_names(outline, failed)}"
    if tripped := [position for position in positions if outline.flags[position] & TRIPPED]:
        yield f"guardrail tripped{_names(outline, tripped)}"
    if warned := [position for position in positions if outline.flags[position] & (WARNED | TRIPPED) == WARNED]:
        yield f"{counted(len(warned), 'warning')}{_names(outline, warned)}"


def _names(outline: Outline, positions: list[int]) -> str:
    names = dict.fromkeys(outline.kinds[position][1] for position in positions)
    first = [escaped(name) for name in [*names][:3]]
    return f" ({', '.join(first)}{', ...' if len(names) > 3 else ''})" if first else ""
