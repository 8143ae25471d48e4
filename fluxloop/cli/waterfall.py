"""
Draw when each observation ran, as a bar in the row of the tree: work in parallel has bars above each other.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..reading.outline import UNKNOWN, Outline
from . import formatting
from .formatting import Pieces

FROM = 110
"""Columns of a terminal from which a tree has offsets and bars."""

OFFSET_WIDTH = 9
"""Columns of an offset, such as ``+1.33 s``."""


def bar_width(width: int) -> int:
    """Return the columns of the bars in a tree of *width*; 0 where it is too narrow for them."""
    return min(40, width // 8) if width >= FROM else 0


@dataclass(frozen=True, slots=True)
class Timeline:
    """The time of a trace on a number of columns."""

    start: int
    """Microseconds since 1970."""
    span: int
    """Microseconds, at least 1."""
    width: int
    signs: formatting.Signs

    @classmethod
    def of(cls, outline: Outline, width: int, signs: formatting.Signs) -> Timeline | None:
        """Return the timeline of a trace; None if there is nothing to compare, or no room."""
        if len(outline) < 2 or not width:
            return None
        start = outline.begin
        return cls(start, max(1, outline.end - start), width, signs)

    def offset(self, start: int) -> str:
        """Return the time from the start of the trace; empty at the start, and before it, as clocks may differ."""
        return f"+{formatting.duration((start - self.start) / 1000)}" if start > self.start else ""

    def bar(self, start: int, end: int, style: str) -> Pieces:
        """Return the bar from *start* to *end*, in steps of half a column; a point has a sign of its own."""
        halves = 2 * self.width
        first = min(max(0, (start - self.start) * halves // self.span), halves - 1)
        if end == UNKNOWN or end <= start:
            return self._padded(first // 2, self.signs.point, style)
        last = min(max(first + 1, -(-(end - self.start) * halves // self.span)), halves)
        left_half, right_half = self.signs.bar_ends
        full = (last // 2) - (first + 1) // 2
        if full < 0:  # within one column
            return self._padded(first // 2, left_half, style)
        return self._padded(
            first // 2,
            f"{left_half if first % 2 else ''}{self.signs.bar * full}{right_half if last % 2 else ''}",
            style,
        )

    def _padded(self, before: int, drawn: str, style: str) -> Pieces:
        return ((" " * before, ""), (drawn, style))
