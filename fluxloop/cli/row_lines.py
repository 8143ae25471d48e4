"""
One line for each trace of a list, as wide as the terminal.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
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
"""Columns from which tokens and cost are shown, and the time with its year and seconds, if failures have space."""

LEAST_NOTES = 24
"""Columns that the other columns leave for what failed, and the name of the user for what went in or out, too."""

_STATUS_WIDTH = 13


def row_lines(
    rows: Sequence[TraceRow],
    ids: Mapping[str, str],
    width: int,
    *,
    signs: formatting.Signs,
    encoding: str = "utf-8",
    utc: bool = False,
    keeps_tokens: bool = False,
) -> Iterator[Text]:
    """
    Yield one line per trace: id, status, time, name, duration, tokens, cost, user, and what went in, out or wrong.

    Args:
        rows: The traces.
        ids: The short id of each trace id.
        width: Columns; no line is wider, unless *width* is under `NARROWEST`.
        signs: The characters that the output can show.
        encoding: Of the output; characters that it cannot hold are escaped.
        utc: Whether times are UTC instead of local time.
        keeps_tokens: Whether tokens and cost are shown even if that leaves little space for what failed.
    """
    shown = partial(formatting.printable, encoding=encoding)
    width = max(width, NARROWEST)
    cells = _columns(rows, ids, width, signs=signs, shown=shown, utc=utc, keeps_tokens=keeps_tokens)
    for row, *columns in zip(rows, *cells, strict=True):
        line = Text("  ").join(columns)
        for text, style in _notes(row, signs):
            line.append("  ").append(shown(text), style=style)
        line.rstrip()
        yield shortened(line, width, signs)


def _columns(
    rows: Sequence[TraceRow],
    ids: Mapping[str, str],
    width: int,
    *,
    signs: formatting.Signs,
    shown: Callable[[str], str],
    utc: bool,
    keeps_tokens: bool,
) -> list[list[Text]]:
    """Return the columns that *width* has space for, each with a cell per row; columns without values are left out."""
    column = partial(_column, signs=signs)
    needed = max((min(LEAST_NOTES, _failure_width(row, signs)) for row in rows), default=0)
    layouts = [(True, True), (False, True)] if width >= TOKENS_FROM else []
    if not layouts or not keeps_tokens:
        layouts.append((False, False))
    for is_long, has_tokens in layouts:
        columns = _facts(rows, ids, width, column=column, signs=signs, shown=shown, utc=utc, is_long=is_long)
        if has_tokens:
            columns += _usage(rows, column, signs)
        if width - _used(columns) >= needed:
            break
    users = column([shown(escaped(row.user_id or "")) for row in rows], ["blue"], most=width // 8)
    if any(row.user_id for row in rows) and width - _used([*columns, users]) >= LEAST_NOTES:
        columns.append(users)
    return columns


def _facts(
    rows: Sequence[TraceRow],
    ids: Mapping[str, str],
    width: int,
    *,
    column: Callable[..., list[Text]],
    signs: formatting.Signs,
    shown: Callable[[str], str],
    utc: bool,
    is_long: bool,
) -> list[list[Text]]:
    """Return the columns of every list: id, status, time, name and duration."""
    statuses = [Status(row.status) if row.status else None for row in rows]
    return [
        column([shown(escaped(ids[row.trace_id])) for row in rows], ["bright_black"]),
        column(
            [formatting.status_word(status, signs) for status in statuses],
            [formatting.STATUS_STYLES[status] for status in statuses],
            least=_STATUS_WIDTH if is_long else 0,
        ),
        column([local_time(row.start, utc=utc, is_short=not is_long) for row in rows], ["dim"]),
        column(
            [shown(escaped(row.name)) or "(no name)" for row in rows], ["bold"], most=width // (5 if is_long else 6)
        ),
        column([formatting.duration(row.duration_ms).rjust(8 if is_long else 7) for row in rows]),
    ]


def _usage(rows: Sequence[TraceRow], column: Callable[..., list[Text]], signs: formatting.Signs) -> list[list[Text]]:
    """Return the columns of tokens and cost that have values."""
    columns = []
    if any(tokens := [_tokens(row, signs) for row in rows]):
        columns.append(column([f"{each:>11}" for each in tokens], ["cyan"]))
    if any(costs := [formatting.cost(row.cost) for row in rows]):
        columns.append(column([f"{each:>8}" for each in costs], ["magenta"]))
    return columns


def _used(columns: Sequence[list[Text]]) -> int:
    """Return the width of columns, with the blanks after each."""
    return sum(cells[0].cell_len + 2 for cells in columns if cells)


def _failure_width(row: TraceRow, signs: formatting.Signs) -> int:
    """Return the width of what failed; 0 if nothing did."""
    return cell_len(next(_notes(row, signs))[0]) if row.caught_errors or row.error else 0


def _column(
    texts: Sequence[str],
    styles: Sequence[str] = ("",),
    *,
    signs: formatting.Signs,
    least: int = 0,
    most: int | None = None,
) -> list[Text]:
    """Return cells of one width: that of the longest text, within *least* and *most*; one style is for all."""
    width = max(max(map(cell_len, texts), default=0), least)
    width = width if most is None else min(width, most)
    cells = []
    for text, style in zip(texts, styles if len(styles) > 1 else [*styles] * len(texts), strict=True):
        cell = shortened(Text(text, style=style), width, signs)
        cell.pad_right(width - cell.cell_len)
        cells.append(cell)
    return cells


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
