"""
One line for each trace of a list, as wide as the terminal.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from functools import partial

from rich.cells import cell_len
from rich.text import Text

from ..enums import Status
from ..reading.catalog import TraceRow
from ..reading.json_text import escaped
from . import formatting
from .formatting import shortened

NARROWEST = 40
"""Columns; a terminal that is narrower breaks the lines itself."""

TOKENS_FROM = 80
"""Columns from which tokens and cost are shown, and the time with its year and seconds."""


def row_lines(
    rows: Sequence[TraceRow],
    ids: Mapping[str, str],
    width: int,
    *,
    signs: formatting.Signs,
    encoding: str = "utf-8",
    utc: bool = False,
) -> Iterator[Text]:
    """
    Yield one line per trace: id, status, time, name, duration, tokens, cost, and what went in, out or wrong.

    Args:
        rows: The traces.
        ids: The short id of each trace id.
        width: Columns; no line is wider, unless *width* is under `NARROWEST`.
        signs: The characters that the output can show.
        encoding: Of the output; characters that it cannot hold are escaped.
        utc: Whether times are UTC instead of local time.
    """
    shown = partial(formatting.printable, encoding=encoding)
    width = max(width, NARROWEST)
    is_wide = width >= TOKENS_FROM
    names = [shown(escaped(row.name)) or "(no name)" for row in rows]
    id_width = max((cell_len(id) for id in map(shown, map(escaped, ids.values()))), default=0)
    name_width = min(max(map(cell_len, names), default=0), width // 5)
    has_cost = is_wide and any(row.cost is not None for row in rows)
    for row, name in zip(rows, names, strict=True):
        line = Text().append(f"{shown(escaped(ids[row.trace_id])):{id_width}}  ", style="bright_black")
        status = Status(row.status) if row.status else None
        line.append(f"{formatting.status_word(status, signs):13}  ", style=formatting.STATUS_STYLES[status])
        line.append(f"{local_time(row.start, utc=utc, is_short=not is_wide)}  ", style="dim")
        cell = shortened(Text(name, style="bold"), name_width, signs)
        cell.pad_right(name_width - cell.cell_len)
        line.append_text(cell).append(f"  {formatting.duration(row.duration_ms):>8}")
        if is_wide:
            line.append(f"  {_tokens(row, signs):>11}", style="cyan")
        if has_cost:
            line.append(f"  {formatting.cost(row.cost):>8}", style="magenta")
        for text, style in _notes(row, signs):
            line.append("  ").append(shown(text), style=style)
        line.rstrip()
        yield shortened(line, width, signs)


def local_time(time: datetime | None, *, utc: bool, is_short: bool = False) -> str:
    """Return *time* as ``2026-01-17 14:30:22`` in local time, or as ``01-17 14:30``; blanks if it is unknown."""
    pattern = "%m-%d %H:%M" if is_short else "%Y-%m-%d %H:%M:%S"
    return f"{formatting.in_zone(time, utc=utc):{pattern}}" if time else " " * (11 if is_short else 19)


def _tokens(row: TraceRow, signs: formatting.Signs) -> str:
    if row.input_tokens is not None and row.output_tokens is not None:
        return f"{row.input_tokens:,}{signs.arrow}{row.output_tokens:,}"
    return f"{row.tokens:,}" if row.tokens is not None else ""


def _notes(row: TraceRow, signs: formatting.Signs) -> Iterator[tuple[str, str]]:
    tools = ", ".join(map(escaped, row.failed_tools))
    if row.caught_errors:
        yield f"{formatting.counted(row.caught_errors, 'error')} inside{f' ({tools})' if tools else ''}", "yellow"
    elif row.error:
        yield f"{f'{tools}: ' if tools else ''}{_on_one_line(row.error)}", "red"
    if row.warnings and not row.errors:
        yield formatting.counted(row.warnings, "warning"), "yellow"
    if row.input:
        yield _on_one_line(row.input), ""
    if row.output:
        yield f"{signs.arrow} {_on_one_line(row.output)}", ""


def _on_one_line(text: str) -> str:
    return escaped(" ".join(text.split()))
