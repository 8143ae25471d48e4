"""
``fluxloop view``: select traces, and print them as trees or as JSON.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from ..errors import FilterError, ReadError
from ..models import Trace
from ..reading.catalog import Catalog, TraceRow
from ..reading.filters import TraceFilter
from ..reading.reader import TraceReader
from ..reading.remote import Server
from ..reading.source import url_of
from ..reading.to_json import trace_line
from .filter_options import NoColor, Utc, folder_or, with_filters
from .folding import Only
from .formatting import console, counted, note, print_json, rule, signs
from .live import follow_in_lines, follow_in_place
from .pager import show
from .remote import newest, short_ids, with_id
from .row_lines import NARROWEST, row_lines
from .summaries import summaries
from .tree import tree_lines
from .value_lines import Look

EARLIER_COUNT = 5
"""Traces listed above the newest, one line each, where no option selects traces."""

MOST_LISTED = 20
"""Lines printed where a part of an id matches several traces."""

EPILOG = """
[bold]Examples[/]

  fluxloop view                   the newest trace, and a line for each of five before
  fluxloop view 00a1b2c3          one trace, by the beginning or the end of its id
  fluxloop view --status error    the newest that failed; see Filters
  fluxloop view --last 3 --full   the last three traces, values and messages in full
  fluxloop view --only errors     what failed, and what it is in
  fluxloop view ./other/traces    another folder, or one file of it
  fluxloop view http://host:8000  the traces of a collector
  fluxloop view --follow          the traces of a program while it runs
  fluxloop view --last 9 --json   for other programs: one JSON object per line

[bold]Exit codes[/]: 0 printed, 1 nothing found, several found for an id, or not readable, 2 wrong usage.
"""


@with_filters
def view(
    *,
    path: Annotated[
        Path | None,
        typer.Argument(
            metavar="[PATH | ID]",
            help="Folder of records, or one .jsonl file; or the id of a trace.",
            show_default="the configured base_path",
        ),
    ] = None,
    where: TraceFilter,
    trace: Annotated[
        str | None, typer.Option(metavar="ID", help="Print this trace; the beginning or the end of its id is enough.")
    ] = None,
    last: Annotated[int | None, typer.Option(metavar="N", min=1, help="Print the last N traces as trees.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, one trace per line.")] = False,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Watch running programs until Ctrl-C.")] = False,
    full: Annotated[
        bool, typer.Option("--full", help="Show whole values and messages, metadata and tracebacks.")
    ] = False,
    depth: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Show N levels of each tree; 1 shows the roots.")
    ] = None,
    only: Annotated[
        Only | None, typer.Option(help="Show only errors, tools or generations, and what they are in.")
    ] = None,
    no_pager: Annotated[
        bool, typer.Option("--no-pager", help="Print at once what is longer than the screen, without PAGER or less.")
    ] = False,
    utc: Utc = False,
    no_color: NoColor = False,
) -> None:
    """
    Print traces as trees: what called what, how long it took, what it returned and how it ended.
    """
    output = console(color=not no_color)
    if path is not None and trace is None and _is_id(path):
        path, trace = None, str(path)
    path = folder_or(path)
    if follow:
        if where or depth or only:
            raise FilterError("--follow shows whole traces; leave out filters, --depth and --only, or use --trace")
        with suppress(KeyboardInterrupt):
            if as_json or not output.is_terminal:
                follow_in_lines(path, id_filter(trace), output, as_json=as_json, utc=utc)
            else:
                follow_in_place(path, id_filter(trace), output, last=last or 1, full=full, utc=utc)
        return
    if (url := url_of(path)) is not None:
        selection = select_remote(Server(url), where, trace_id=trace, last=last)
    else:
        selection = select(path, where, trace_id=trace, last=last)
    if selection.candidates:
        _print_candidates(selection, trace or "", output, as_json=as_json, utc=utc)
        raise typer.Exit(1)
    if as_json:
        for one in selection.traces:
            print_json(trace_line(one))
    else:
        look = Look(max(output.width, NARROWEST), full, signs(output), utc=utc, encoding=output.encoding)
        show(selection_lines(selection, output, look, depth=depth, only=only), output, pages=not no_pager)


def _is_id(path: Path) -> bool:
    """Whether the argument can be the id of a trace: it has a digit, and neither exists nor looks like a path."""
    text = str(path)
    looks_like_path = os.sep in text or text.endswith(".jsonl") or text.startswith((".", "~"))
    return any(map(str.isdigit, text)) and not looks_like_path and not path.exists()


@dataclass(frozen=True, slots=True)
class Selection:
    """The traces to print, oldest first."""

    traces: list[Trace]
    earlier: list[Trace]
    """The traces just before, to be printed as one line each."""
    candidates: dict[str, TraceRow]
    """The traces that an id matches, by their short ids, newest first, where it matches more than one."""
    count: int = 0
    """The number of such traces."""


def select(
    path: Path, where: TraceFilter | None = None, *, trace_id: str | None = None, last: int | None = None
) -> Selection:
    """
    Return the trace that *trace_id* matches, or of those that *where* accepts the *last* ones, or the newest.

    Raises:
        ReadError: If there are none; the message names the next step.
    """
    only: dict[str, set[str]] | None = None
    if trace_id is not None or where:
        with Catalog.of(path) as catalog:
            if catalog.notice:
                note(catalog.notice)
            if trace_id is not None:
                found = catalog.with_id(_part(trace_id), limit=MOST_LISTED)
                if len({row.trace_id for row in found}) > 1:
                    short_ids = {catalog.short_id(row.trace_id): row for row in found}
                    return Selection([], [], short_ids, catalog.count_with_id(_part(trace_id)))
                only = {row.day: {row.trace_id} for row in found}
            elif where:
                only = catalog.ids(where)
    newest = TraceReader(path, only=only).newest()
    if trace_id is not None or last is not None:
        traces, earlier = [*islice(newest, last)], []
    else:
        traces, earlier = [*islice(newest, 1)], [*islice(newest, EARLIER_COUNT)]
    if not traces:
        raise ReadError(_nothing_found(path, trace_id, where))
    return Selection(traces[::-1], earlier[::-1], {})


def select_remote(server: Server, where: TraceFilter, *, trace_id: str | None, last: int | None) -> Selection:
    """
    Return what `select` returns, of a collector.

    Raises:
        ReadError: If there are none, or the collector does not answer.
    """
    if trace_id is not None:
        rows = server.matching(_part(trace_id), limit=MOST_LISTED)
        if len(rows) > 1:
            return Selection(
                [], [], {short: row for row in rows if (short := short_ids(rows)[row.trace_id])}, len(rows)
            )
        traces = [trace for row in rows for trace in with_id(server, row.trace_id)]
        earlier: list[Trace] = []
    else:
        found = newest(server, where, last or 1 + EARLIER_COUNT)
        traces, earlier = (found, []) if last is not None else (found[:1], found[1:])
    if not traces:
        raise ReadError(_nothing_found(server, trace_id, where))
    return Selection(traces[::-1], earlier[::-1], {})


def _part(trace_id: str) -> str:
    """Return a part of an id without the ellipsis that a line may print before it."""
    return trace_id.strip().removeprefix("…").removeprefix("..")


def id_filter(trace_id: str | None) -> Callable[[str], object]:
    """Return a function that accepts an id if it begins or ends with *trace_id*, which may be copied from a line."""
    if trace_id is None:
        return bool
    part = _part(trace_id)
    return lambda whole: whole.startswith(part) or whole.endswith(part)


def _print_candidates(selection: Selection, part: str, output: Console, *, as_json: bool, utc: bool) -> None:
    """Print a line for each trace that an id matches; with JSON, nothing but the error."""
    if not as_json:
        ids = {row.trace_id: short_id for short_id, row in selection.candidates.items()}
        for line in row_lines([*selection.candidates.values()], ids, output.width, signs=signs(output), utc=utc):
            output.print(line, soft_wrap=True)
    more = f", the newest {len(selection.candidates)} of them above" if selection.count > MOST_LISTED else ""
    note(f"{counted(selection.count, 'trace')} match {part!r}{more}. Next step: fluxloop view with one of their ids")


def selection_lines(
    selection: Selection, output: Console, look: Look, *, depth: int | None = None, only: Only | None = None
) -> Iterator[Text]:
    """Yield the earlier traces as one line each, and the selected ones as trees."""
    if selection.earlier:
        earlier = summaries(selection.earlier, output.width, signs=look.signs, utc=look.utc).split("\n")
        yield from map(look.fitted, earlier)
    for number, trace in enumerate(selection.traces):
        if number or selection.earlier:
            yield rule(output)
        yield from tree_lines(trace, look, depth=depth, only=only)


def _nothing_found(path: Path | Server, trace_id: str | None, where: TraceFilter | None) -> str:
    if trace_id is not None:
        return f"{path}: no trace id begins or ends with {trace_id!r}. Next step: fluxloop list {path} shows ids"
    if where:
        return f"{path}: no trace matches. Next step: leave out a filter, or check its spelling"
    return (
        f"{path}: no traces yet. Next step: run a program with @fluxloop.agent on one of its functions, "
        "or name the folder that it writes to"
    )
