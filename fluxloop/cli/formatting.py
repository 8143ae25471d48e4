"""
Text for the terminal: durations, token counts, times, statuses, colors, line breaks, and the console.

A status is a sign and a word, so nothing depends on color. Every sign has an ASCII form for outputs that cannot show
others.
"""

from __future__ import annotations

import os
import re
import sys
import textwrap
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from functools import lru_cache
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TextIO

from rich.cells import cell_len, chop_cells
from rich.console import Console
from rich.text import Span, Text

from ..enums import ObservationType, Status
from ..reading.json_text import in_ascii

if TYPE_CHECKING:
    from ..llm.prices import Cost
    from ..models import ObservationData, TraceData, Usage

PIPE_WIDTH = 120
"""Columns where the output is not a terminal and ``COLUMNS`` is not set."""


class Signs(NamedTuple):
    """The characters a tree is drawn with."""

    branch: str
    last: str
    line: str
    ellipsis: str
    arrow: str
    dot: str
    rule: str
    times: str
    warning: str
    bar: str
    bar_ends: tuple[str, str]
    """A bar that fills the right half of its first column, and the left half of its last."""
    point: str
    statuses: dict[Status | None, str]


UNICODE = Signs(
    branch="├─ ",
    last="╰─ ",
    line="│  ",
    ellipsis="…",
    arrow="→",
    dot="·",
    rule="─",
    times="×",  # noqa: RUF001
    warning="▲",
    bar="━",
    bar_ends=("╺", "╸"),
    point="◆",
    statuses={
        Status.SUCCESS: "✓",
        Status.ERROR: "✗",
        Status.CANCELLED: "⊘",
        Status.INTERRUPTED: "⏸",
        Status.ABANDONED: "○",
        Status.CRASHED: "☠",
        None: "●",
    },
)

ASCII = Signs(
    branch="|- ",
    last="`- ",
    line="|  ",
    ellipsis="..",
    arrow=">",
    dot="-",
    rule="-",
    times="x",
    warning="^",
    bar="=",
    bar_ends=("=", "="),
    point="*",
    statuses={
        Status.SUCCESS: "+",
        Status.ERROR: "x",
        Status.CANCELLED: "-",
        Status.INTERRUPTED: "=",
        Status.ABANDONED: "o",
        Status.CRASHED: "!",
        None: "*",
    },
)

TYPE_STYLES = {
    ObservationType.AGENT: "bold magenta",
    ObservationType.CHAIN: "blue",
    ObservationType.SPAN: "bright_black",
    ObservationType.TOOL: "yellow",
    ObservationType.GENERATION: "green",
    ObservationType.RETRIEVAL: "cyan",
    ObservationType.EMBEDDING: "cyan",
    ObservationType.EVENT: "bright_black",
    ObservationType.EVALUATION: "bright_blue",
}

STATUS_STYLES: dict[Status | None, str] = {
    Status.SUCCESS: "green",
    Status.ERROR: "bold red",
    Status.CANCELLED: "yellow",
    Status.INTERRUPTED: "bold cyan",
    Status.ABANDONED: "yellow",
    Status.CRASHED: "bold red",
    None: "bold blue",
}


def status_word(status: Status | None, signs: Signs) -> str:
    """Return the sign and the word of *status*, which is None for something that still runs."""
    return f"{signs.statuses[status]} {status or 'running'}"


def duration(milliseconds: float | None) -> str:
    """Return a duration with about three significant digits: ``0.21 ms``, ``1.33 s``, ``2m 05s``."""
    if milliseconds is None or not 0 <= milliseconds < inf:  # the record of another program may hold NaN
        return ""
    if milliseconds < 9.995:
        return f"{milliseconds:.2f} ms"
    if milliseconds < 999.5:
        return f"{milliseconds:.0f} ms"
    seconds = milliseconds / 1000
    if seconds < 59.95:
        return f"{seconds:.2f} s" if seconds < 9.995 else f"{seconds:.1f} s"
    if seconds < 86_400:
        minutes = round(seconds) // 60
        return f"{minutes}m {round(seconds) % 60:02d}s" if minutes < 60 else f"{minutes // 60}h {minutes % 60:02d}m"
    days = seconds / 86_400
    return f"{days:,.1f} d" if days < 1e5 else f"{days:.0e} d"


def elapsed(item: ObservationData | TraceData, now: datetime | None) -> float | None:
    """Return the duration of *item* in milliseconds; up to *now* if it still runs."""
    if item.duration_ms is None and item.status is None and item.start_time and now:
        return max(0.0, (now - item.start_time).total_seconds() * 1000)
    return item.duration_ms


def tokens_in_out(usage: Usage | None, signs: Signs) -> str:
    """Return token counts for a column: ``1,204→87``, or the one count that is known."""
    if usage is None or not usage.reported:
        return ""
    if usage.input_tokens is not None and usage.output_tokens is not None:
        return f"{usage.input_tokens:,}{signs.arrow}{usage.output_tokens:,}"
    counts = ((usage.input_tokens, " in"), (usage.output_tokens, " out"), (usage.total_tokens, ""))
    return next((f"{count:,}{word}" for count, word in counts if count is not None), "")


def tokens_in_words(usage: Usage | None) -> str:
    """Return token counts in full: ``1,652 tokens (1,523 in, 1,024 of them cached, 129 out)``."""
    if usage is None or not usage.reported:
        return ""
    parts = []
    if usage.input_tokens is not None:
        parts.append(f"{usage.input_tokens:,} in")
    if usage.cache_read_tokens:
        parts.append(f"{usage.cache_read_tokens:,} of them cached")
    if usage.output_tokens is not None:
        parts.append(f"{usage.output_tokens:,} out")
    total = usage.total_tokens
    if total is None:
        total = (usage.input_tokens or 0) + (usage.output_tokens or 0)
    return counted(total, "token") + (f" ({', '.join(parts)})" if parts else "")


def cost(cost: Cost | None) -> str:
    """Return an amount in dollars: ``$0.0123``, ``$1.20``; ``>$1.20`` if calls are missing, ``unknown`` if all are."""
    if cost is None or (not cost.calls and cost.is_known):
        return ""
    if not cost.calls:
        return "unknown"
    amount = f"{cost.dollars:,.2f}" if cost.dollars >= 0.995 else f"{cost.dollars:.4f}"
    return f"{'' if cost.is_known else '>'}${amount}"


def counted(number: int, noun: str) -> str:
    """Return *number* with *noun*, in the plural unless it is 1: ``1 match``, ``2 matches``."""
    ending = "es" if noun.endswith(("ch", "s", "sh", "x")) else "s"
    return f"{number:,} {noun}{'' if number == 1 else ending}"


def relative(path: Path) -> Path:
    """Return *path* as it is named from the working directory, if it is inside it."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def time_text(time: datetime | None, *, utc: bool) -> str:
    """Return *time* with its offset, as ``2026-01-17 15:30:22 +01:00``; without one as ``2026-01-17 14:30:22 UTC``."""
    if time is None:
        return ""
    time = in_zone(time, utc=utc)
    offset = f"{time:%z}"
    zone = f"{offset[:3]}:{offset[3:5]}" if time.utcoffset() else "UTC"
    return f"{time:%Y-%m-%d %H:%M:%S} {zone}"


def in_zone(time: datetime, *, utc: bool) -> datetime:
    """Return *time* in UTC or in local time."""
    try:
        return time.astimezone(UTC if utc else None)
    except (OverflowError, ValueError, OSError):  # the first or the last day of the calendar
        return time


Pieces = tuple[tuple[str, str], ...]
"""Parts of a line, each a text and its style."""


def line_of(*pieces: tuple[str, str]) -> Text:
    """Return a line of these parts. It is made in one step: an enormous trace has a million lines."""
    spans, texts, end = [], [], 0
    for text, style in pieces:
        if text:
            texts.append(text)
            start, end = end, end + len(text)
            if style:
                spans.append(Span(start, end, style))
    whole = "".join(texts)
    if not whole.isprintable() and _CONTROL.search(whole):
        return Text.assemble(*pieces)  # without them
    return _text(whole, spans)


@lru_cache(maxsize=256)  # the same beginnings return for each observation
def lines_behind(*pieces: tuple[str, str]) -> Callable[[str, str], Text]:
    """Return a function that returns a line of these parts and one more, given its text and style."""
    start, spans = "".join(text for text, _ in pieces), line_of(*pieces).spans
    end = len(start)

    def line(text: str, style: str) -> Text:
        if not text.isprintable() and _CONTROL.search(text):
            return line_of(*pieces, (text, style))
        return _text(start + text, [*spans, Span(end, end + len(text), style)] if style and text else [*spans])

    return line


def _text(whole: str, spans: list[Span]) -> Text:
    """Return a text without control characters."""
    # `Text` removes these by `str.translate`, which takes 20 us for a line with a guide line.
    line = Text(spans=spans)
    line._text, line._length = [whole], len(whole)
    return line


_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def width_of(pieces: Pieces) -> int:
    """Return the columns of a line of these parts."""
    return sum([len(text) if text.isascii() else cell_len(text) for text, _ in pieces])


def shortened(text: Text, width: int, signs: Signs) -> Text:
    """Shorten *text* to *width* columns, with an ellipsis at its end."""
    if text.cell_len > width:
        text.truncate(width - cell_len(signs.ellipsis))
        text.append(signs.ellipsis, style="dim")
    return text


def wrapped(line: str, width: int, indent: int = 0) -> list[str]:
    """Wrap *line* to *width*, at spaces where every character is one column wide; *indent* is that of later lines."""
    if len(line) <= width and line.isascii():
        return [line]
    if cell_len(line) <= width:
        return [line]
    if all(cell_len(character) == 1 for character in set(line)):
        indent = min(indent, width // 2)
        return textwrap.wrap(line, width, break_on_hyphens=False, subsequent_indent=" " * indent) or [""]
    return chop_cells(line, width)


def joined(facts: Iterable[str], separator: str, width: int) -> Iterator[str]:
    """Join *facts* into as few lines of *width* as possible."""
    line = ""
    for fact in facts:
        if line and cell_len(line + separator + fact) > width:
            yield line
            line = fact
        else:
            line = f"{line}{separator}{fact}" if line else fact
    if line:
        yield line


def console(*, color: bool = True, stderr: bool = False) -> Console:
    """Return a console on stdout or stderr that can print any recorded text."""
    stream = sys.stderr if stderr else sys.stdout
    if hasattr(stream, "reconfigure"):
        stream.reconfigure(errors="backslashreplace")
    width = None if stream.isatty() or os.environ.get("COLUMNS", "").isdecimal() else PIPE_WIDTH
    return Console(stderr=stderr, color_system="auto" if color else None, highlight=False, width=width)


def note(text: str) -> None:
    """Print a line on stderr that is not part of the output."""
    console(stderr=True).print(f"fluxloop: {text}", markup=False, style="dim", soft_wrap=True)


def holds_all(encoding: str) -> bool:
    """Whether an output with this encoding can hold every character."""
    return encoding in ("utf-8", "UTF-8") or encoding.lower().startswith("utf")


def printable(text: str, encoding: str) -> str:
    """
    Return *text* as an output with this encoding can hold it.

    Texts are made printable before they are measured, since an escape is wider than its character.
    """
    if text.isascii() or holds_all(encoding):
        return text
    return text.encode(encoding, "backslashreplace").decode(encoding)


def signs(output: Console) -> Signs:
    """Return the characters that *output* can show."""
    return UNICODE if output.encoding.lower().startswith("utf") else ASCII


def rule(output: Console) -> Text:
    """Return the line between two traces."""
    return Text(signs(output).rule * output.width, style="dim")


def print_json(text: str, file: TextIO | None = None) -> None:
    """Print one line of JSON, on stdout by default; an encoding other than UTF-8 gets ASCII, so that it stays JSON."""
    file = file or sys.stdout
    encoding = (file.encoding or "utf-8").lower()
    file.write((text if encoding.startswith("utf") else in_ascii(text)) + "\n")
