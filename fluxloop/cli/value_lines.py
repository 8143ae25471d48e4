"""
Recorded values and texts as lines of a tree, behind the guide lines of their observation.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from rich.console import Console
from rich.text import Text

from ..reading.json_text import escaped
from ..reading.values import brief
from . import formatting
from .formatting import Pieces, line_of, lines_behind, shortened, width_of, wrapped
from .messages import full_lines
from .waterfall import bar_width

TYPE_WIDTH = 12
"""Columns of ``GENERATION``, the longest type, and two spaces."""

PLAIN = Console(color_system=None)
"""Resolves the names of styles."""

MAX_ERROR_LINES = 100
"""Lines of an error outside of the full view."""


@dataclass(frozen=True, slots=True)
class Look:
    """How a tree is drawn."""

    width: int = 100
    """Columns; no line is wider."""
    full: bool = False
    """Whether values are shown whole, with metadata and tracebacks."""
    signs: formatting.Signs = formatting.UNICODE
    now: datetime | None = None
    """The time up to which durations of running observations count."""
    utc: bool = True
    """Whether times are UTC instead of local time."""
    encoding: str = "utf-8"
    """Of the output; characters that it cannot hold are escaped before lines are measured."""

    @property
    def bar_width(self) -> int:
        """Columns of the bars; 0 if the tree has none."""
        return bar_width(self.width)

    def printable(self, text: str) -> str:
        """Return *text* as the output can hold it."""
        return formatting.printable(text, self.encoding)

    def fitted(self, line: Text) -> Text:
        """Return *line* as the output can hold it, shortened where that makes it wider."""
        if formatting.holds_all(self.encoding) or self.printable(line.plain) == line.plain:
            return line
        characters = line.divide(range(1, len(line)))
        parts = (Text(self.printable(one.plain), style=one.get_style_at_offset(PLAIN, 0)) for one in characters)
        return shortened(Text().join(parts), self.width, self.signs)

    def start(self, guide: str, label: str = "") -> Pieces:
        """Return the beginning of a line that is not the row of an observation."""
        return ((" " * TYPE_WIDTH, ""), (guide, "dim"), (label, "dim italic"))

    def value(self, start: Pieces, label: str, value: Any, style: str = "") -> Iterator[Text]:
        """Yield a labelled value: one line cut to the width, or the whole value in the full view."""
        if not self.full:
            text = brief(value)[: 4 * self.width]
            yield shortened(line_of(*start, (label, "dim"), (text, style)), self.width, self.signs)
            return
        room = max(4, self.width - width_of(start) - len(label))
        made, made_later = lines_behind(*start, (label, "dim")), lines_behind(*start, (" " * len(label), "dim"))
        for line in full_lines(value, room):
            for piece in wrapped(self.printable(line.text), room, line.indent):
                yield made(piece, line.style or style)
                made = made_later

    def wrapped(self, start: Pieces, text: str, style: str) -> Iterator[Text]:
        """Yield a text wrapped to the width; only the full view has all lines of an enormous one."""
        room = max(4, self.width - width_of(start))
        made = lines_behind(*start)
        pieces = (
            piece for line in text.expandtabs(4).splitlines() for piece in wrapped(self.printable(escaped(line)), room)
        )
        for number, piece in enumerate(pieces):
            if number == MAX_ERROR_LINES and not self.full:
                more = (f"({len(text):,} characters, --full shows all)", "dim")
                yield shortened(line_of(*start, more), self.width, self.signs)
                return
            yield made(piece, style)
