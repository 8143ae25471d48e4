"""
The short words of the terminal: durations, tokens, times, marks and colours.

Every mark comes with its word, so nothing depends on colour, and has a twin for terminals and pipes
that know ASCII only.
"""

from __future__ import annotations

from datetime import UTC, datetime
from math import inf
from typing import NamedTuple

from ..enums import ObservationType, Status
from ..models import ObservationData, TraceData, Usage


class Signs(NamedTuple):
    """The characters a tree is drawn with."""

    branch: str
    last: str
    line: str
    cut: str
    arrow: str
    dot: str
    rule: str
    marks: dict[Status | None, str]


UNICODE = Signs(
    branch="├─ ",
    last="╰─ ",
    line="│  ",
    cut="…",
    arrow="→",
    dot="·",
    rule="─",
    marks={
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
    cut="..",
    arrow=">",
    dot="-",
    rule="-",
    marks={
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
    """Return mark and word of *status*, which is None while something runs."""
    return f"{signs.marks[status]} {status or 'running'}"


def duration(milliseconds: float | None) -> str:
    """Return a length of time in three significant digits or so: ``212 µs``, ``1.33 s``, ``2m 05s``."""
    if milliseconds is None or not 0 <= milliseconds < inf:  # a foreign line may hold NaN
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
    """Return the milliseconds *item* took, or has taken until *now* if it still runs."""
    if item.duration_ms is None and item.status is None and item.start_time and now:
        return max(0.0, (now - item.start_time).total_seconds() * 1000)
    return item.duration_ms


def tokens_in_out(usage: Usage | None, signs: Signs) -> str:
    """Return token counts for a column: ``1,204→87``, or the one number that is known."""
    if usage is None or not usage.reported:
        return ""
    given, made = usage.input_tokens, usage.output_tokens
    if given is not None and made is not None:
        return f"{given:,}{signs.arrow}{made:,}"
    known = ((given, " in"), (made, " out"), (usage.total_tokens, ""))
    return next((f"{count:,}{word}" for count, word in known if count is not None), "")


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


def counted(number: int, noun: str) -> str:
    """Return *number* with *noun*, in the plural unless it is 1."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def moment(time: datetime | None) -> str:
    """Return a point in time as ``2026-01-17 14:30:22 UTC``, the clock of the files."""
    return f"{time.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC" if time else ""
