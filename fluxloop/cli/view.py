"""
``fluxloop view``: select traces, and print them as trees or as JSON.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from ..errors import FilterError
from ..reading.filters import TraceFilter
from ..reading.to_json import trace_line
from .filter_options import NoColor, Utc, folder_or, with_filters
from .folding import Only
from .formatting import console, counted, note, print_json, rule, signs
from .live import follow_in_lines, follow_in_place
from .pager import show
from .row_lines import NARROWEST, row_lines
from .selection import MOST_LISTED, Selection, id_filter, select
from .summaries import summaries
from .tree import tree_lines
from .value_lines import Look

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

[bold]Exit codes[/]: 0 printed, 1 nothing found, or several traces for an id, 2 not readable, wrong usage.
"""


PathArgument = Annotated[
    Path | None,
    typer.Argument(
        metavar="[PATH | ID]",
        help="Folder of records, or one .jsonl file; or the id of a trace.",
        show_default="the configured base_path",
    ),
]
TraceOption = Annotated[
    str | None, typer.Option(metavar="ID", help="Print this trace; the beginning or the end of its id is enough.")
]
LastOption = Annotated[int | None, typer.Option(metavar="N", min=1, help="Print the last N traces as trees.")]
AsJsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, one trace per line.")]
FollowOption = Annotated[bool, typer.Option("--follow", "-f", help="Watch running programs until Ctrl-C.")]
FullOption = Annotated[bool, typer.Option("--full", help="Show whole values and messages, metadata and tracebacks.")]
DepthOption = Annotated[
    int | None, typer.Option(metavar="N", min=1, help="Show N levels of each tree; 1 shows the roots.")
]
OnlyOption = Annotated[Only | None, typer.Option(help="Show only errors, tools or generations, and what they are in.")]
NoPagerOption = Annotated[
    bool, typer.Option("--no-pager", help="Print at once what is longer than the screen, without PAGER or less.")
]


@with_filters
def view(
    *,
    path: PathArgument = None,
    where: TraceFilter,
    trace: TraceOption = None,
    last: LastOption = None,
    as_json: AsJsonOption = False,
    follow: FollowOption = False,
    full: FullOption = False,
    depth: DepthOption = None,
    only: OnlyOption = None,
    no_pager: NoPagerOption = False,
    utc: Utc = False,
    no_color: NoColor = False,
) -> None:
    """
    Print traces as trees: what called what, how long it took, what it returned and how it ended.
    """
    output = console(color=not no_color)
    last = None if last is None else min(last, sys.maxsize)  # iterators count no further
    if path is not None and trace is None and _is_id(path):
        path, trace = None, str(path)
    path = folder_or(path)
    if follow:
        if where or depth or only:
            raise FilterError("--follow shows whole traces; leave out filters, --depth and --only, or use --trace")
        _follow(path, trace, output, as_json=as_json, last=last, full=full, utc=utc)
        return
    if trace is not None and where:
        raise FilterError(f"{trace!r} selects a trace by its id; leave out the filters, or the id")
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


def _follow(
    path: Path, trace_id: str | None, output: Console, *, as_json: bool, last: int | None, full: bool, utc: bool
) -> None:
    """Print what running programs record, until Ctrl-C."""
    with suppress(KeyboardInterrupt):
        if as_json or not output.is_terminal:
            follow_in_lines(path, id_filter(trace_id), output, as_json=as_json, utc=utc)
        else:
            follow_in_place(path, id_filter(trace_id), output, last=last or 1, full=full, utc=utc)


def _is_id(path: Path) -> bool:
    """Whether the argument can be the id of a trace: it has a digit, and neither exists nor looks like a path."""
    text = str(path)
    looks_like_path = os.sep in text or text.endswith(".jsonl") or text.startswith((".", "~"))
    return any(map(str.isdigit, text)) and not looks_like_path and not path.exists()


def _print_candidates(selection: Selection, part: str, output: Console, *, as_json: bool, utc: bool) -> None:
    """Print a line for each trace that an id matches; with JSON, nothing but the error."""
    if not as_json:
        ids = {row.trace_id: short_id for short_id, row in selection.candidates.items()}
        for line in row_lines(
            [*selection.candidates.values()], ids, output.width, signs=signs(output), encoding=output.encoding, utc=utc
        ):
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
