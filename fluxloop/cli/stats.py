"""
``fluxloop stats``: what traces add up to, as tables with bars or as JSON.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC
from typing import Annotated

import typer
from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from ..errors import FilterError
from ..reading.catalog import Catalog
from ..reading.catalog.statistics import DEFAULT_SECTIONS, SECTIONS, Group, Statistics, as_json, statistics
from ..reading.filters import TraceFilter
from ..reading.json_text import encode, escaped
from ..reading.pricing import project_pricing
from . import formatting
from .filter_options import NoColor, PathArgument, Utc, folder_or, with_filters
from .formatting import console, note, print_json, printable, shortened, signs
from .usage_errors import note_no_traces

MOST_GROUPS = 15
"""Lines of a table; what is less frequent is added up in a last line."""

BAR_WIDTH = 12

EPILOG = """
[bold]Examples[/]

  fluxloop stats                               all traces
  fluxloop stats --since yesterday --by model  tokens and cost of each model
  fluxloop stats --by user --by day            who and when
  fluxloop stats --name 'Travel*' --json       one JSON object

p50, p95 and p99 are latencies: so many percent took that long or less. Bars compare counts.

[bold]Exit codes[/]: 0 printed, or no traces yet, 1 no trace matches, 2 not readable, wrong usage.
"""


@with_filters
def stats(
    *,
    path: PathArgument = None,
    where: TraceFilter,
    by: Annotated[
        list[str] | None, typer.Option(metavar="WHAT", help=f"Add up by {', '.join(SECTIONS)}. Repeat it for several.")
    ] = None,
    as_json_: Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")] = False,
    utc: Utc = False,
    no_color: NoColor = False,
) -> None:
    """
    Show counts, error rates, latencies, tokens and cost by agent, tool, model and day.
    """
    for section in by or ():
        if section not in SECTIONS:
            raise FilterError(f"by must be one of {', '.join(SECTIONS)}, got {section!r}")
    folder = folder_or(path)
    with Catalog.of(folder) as catalog:
        if catalog.notice:
            note(catalog.notice)
        found = statistics(
            catalog, where, sections=by or DEFAULT_SECTIONS, pricing=project_pricing(), zone=UTC if utc else None
        )
        is_empty = not catalog.count()
    if not found.total.count:
        note_no_traces(folder, is_filtered=bool(where), is_empty=is_empty)
    if as_json_:
        print_json(encode(as_json(found)))
    elif found.total.count:
        print_statistics(found, console(color=not no_color))


def print_statistics(found: Statistics, output: Console) -> None:
    """Print a line for all traces, and a table for each section, with the same columns."""
    tables = {"all traces": [("all", found.total)]}
    tables |= {section: _sorted(section, groups) for section, groups in found.sections.items() if groups}
    tables = {
        title: [(printable(escaped(name), output.encoding), group) for name, group in groups]
        for title, groups in tables.items()
    }
    names = [*tables, *(name for groups in tables.values() for name, _ in groups)]
    name_width = min(max(map(cell_len, names)), max(12, output.width // 4))
    for number, (title, groups) in enumerate(tables.items()):
        if number:
            output.print()
        for line in _table(title, groups, name_width, output.width, signs(output)):
            output.print(line, soft_wrap=True)


def _sorted(section: str, groups: dict[str, Group]) -> list[tuple[str, Group]]:
    """Return days by date, the latest ones, and other groups by count, the most frequent ones."""
    if section == "day":
        return sorted(groups.items())[-MOST_GROUPS:]
    ordered = sorted(groups.items(), key=lambda item: (-item[1].count, item[0]))
    return ordered[:MOST_GROUPS]


def _table(
    title: str, groups: list[tuple[str, Group]], name_width: int, width: int, characters: formatting.Signs
) -> Iterable[Text]:
    """Yield a heading and a line for each group, with as many columns as fit."""
    most = max(group.count for _, group in groups) or 1
    heads = {"count": 9, "errors": 7, "p50": 8, "p95": 8, "p99": 8, "in": 11, "out": 10, "cost": 10}
    left = width - name_width
    chosen: list[str] = []
    has_bar = False
    for column in ("count", "errors", "p95", "cost", "p50", "", "in", "out", "p99"):
        if not column:
            has_bar = left >= BAR_WIDTH + 2
            left -= (BAR_WIDTH + 2) * has_bar
        elif heads[column] + 1 <= left:
            chosen.append(column)
            left -= heads[column] + 1
    columns = [column for column in heads if column in chosen]
    head = Text(f"{title:{name_width}}", style="bold")
    head.append("".join(f" {column:>{heads[column]}}" for column in columns), style="dim")
    yield head
    for name, group in groups:
        line = shortened(Text(name), name_width, characters)
        line.pad_right(name_width - line.cell_len)
        cells = _cells(group)
        for column in columns:
            style = "red" if column == "errors" and group.errors else "cyan" if column in ("in", "out") else ""
            line.append(f" {cells[column]:>{heads[column]}}", style=style)
        if has_bar:
            line.append("  ").append_text(_bar(group, most, characters))
        line.rstrip()
        yield line


def _cells(group: Group) -> dict[str, str]:
    p50, p95, p99 = map(formatting.duration, group.percentiles(0.5, 0.95, 0.99))
    rate = 100 * group.errors / group.count if group.count else 0
    return {
        "count": f"{group.count:,}",
        "errors": f"{rate:.1f} %" if group.errors else "",
        "p50": p50,
        "p95": p95,
        "p99": p99,
        "in": f"{group.input_tokens:,}" if group.input_tokens else "",
        "out": f"{group.output_tokens:,}" if group.output_tokens else "",
        "cost": formatting.cost(group.cost),
    }


def _bar(group: Group, most: int, characters: formatting.Signs) -> Text:
    block = "█" if characters is formatting.UNICODE else "#"
    length = max(1, round(BAR_WIDTH * group.count / most)) if group.count else 0
    failed = min(length, -(-length * group.errors // group.count)) if group.count else 0
    return Text(block * (length - failed), style="green").append(block * failed, style="red")
