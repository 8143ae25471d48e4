"""
``fluxloop view``: select traces, and print them as trees or as JSON.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from ..errors import ReadError
from ..models import Trace
from ..reading import TraceReader
from ..reading.to_json import trace_line
from ..settings.layers import Configuration
from .formatting import console, print_json, rule, signs
from .live import follow_in_lines, follow_in_place
from .summaries import summaries
from .tree import render

EARLIER_COUNT = 5
"""Traces listed above the newest, one line each, where no option selects traces."""

EPILOG = """
[bold]Examples[/]

  fluxloop view                   the newest trace, and one line for each of the five before
  fluxloop view --last 3 --full   the last three traces, nothing shortened
  fluxloop view --trace 00a1b2c3  one trace, by the beginning or the end of its id
  fluxloop view ./other/traces    another folder, or one file of it
  fluxloop view --follow          the traces of a program while it runs
  fluxloop view --last 9 --json   for other programs: one JSON object per line

[bold]Exit codes[/]: 0 printed, 1 nothing found or not readable, 2 wrong usage.
"""


def view(
    path: Annotated[
        Path | None,
        typer.Argument(help="Folder of records, or one .jsonl file.", show_default="the configured base_path"),
    ] = None,
    trace: Annotated[
        str | None, typer.Option(metavar="ID", help="Print this trace; the beginning or the end of its id is enough.")
    ] = None,
    last: Annotated[int | None, typer.Option(metavar="N", min=1, help="Print the last N traces as trees.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, one trace per line.")] = False,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Watch running programs until Ctrl-C.")] = False,
    full: Annotated[bool, typer.Option("--full", help="Shorten nothing; add metadata and tracebacks.")] = False,
    no_color: Annotated[bool, typer.Option("--no-color", help="Print without colors.")] = False,
) -> None:
    """
    Print traces as trees: what called what, how long it took, what it returned and how it ended.
    """
    output = console(color=not no_color)
    path = path or Configuration().settings().base_path
    if follow:
        with suppress(KeyboardInterrupt):
            if as_json or not output.is_terminal:
                follow_in_lines(path, id_filter(trace), output, as_json=as_json)
            else:
                follow_in_place(path, id_filter(trace), output, last=last or 1, full=full)
        return
    selection = select(path, trace_id=trace, last=last)
    if as_json:
        for one in selection.traces:
            print_json(trace_line(one))
    else:
        print_selection(selection, output, full=full)


@dataclass(frozen=True, slots=True)
class Selection:
    """The traces to print, oldest first."""

    traces: list[Trace]
    earlier: list[Trace]
    """The traces just before, to be printed as one line each."""


def select(path: Path, *, trace_id: str | None = None, last: int | None = None) -> Selection:
    """
    Return the traces that *trace_id* matches, or the *last* ones, or the newest and a few before it.

    Raises:
        ReadError: If there are none; the message names the next step.
    """
    newest = TraceReader(path, matches_id=id_filter(trace_id)).newest()
    if trace_id is not None or last is not None:
        traces, earlier = [*islice(newest, last)], []
    else:
        traces, earlier = [*islice(newest, 1)], [*islice(newest, EARLIER_COUNT)]
    if not traces:
        raise ReadError(_nothing_found(path, trace_id))
    return Selection(traces[::-1], earlier[::-1])


def id_filter(trace_id: str | None) -> Callable[[str], object]:
    """Return a function that accepts an id if it begins or ends with *trace_id*, which may be copied from a line."""
    if trace_id is None:
        return bool
    part = trace_id.strip().removeprefix("…").removeprefix("..")
    return lambda whole: whole.startswith(part) or whole.endswith(part)


def print_selection(selection: Selection, output: Console, *, full: bool = False) -> None:
    """Print the earlier traces as one line each, and the selected ones as trees."""
    if selection.earlier:
        output.print(summaries(selection.earlier, output.width, signs=signs(output)), soft_wrap=True)
    for number, trace in enumerate(selection.traces):
        if number or selection.earlier:
            output.print(rule(output), soft_wrap=True)
        output.print(render(trace, output.width, full, signs=signs(output)), soft_wrap=True)


def _nothing_found(path: Path, trace_id: str | None) -> str:
    if trace_id is not None:
        return (
            f"{path}: no trace id begins or ends with {trace_id!r}. Next step: fluxloop view {path} --last 20 shows ids"
        )
    return (
        f"{path}: no traces yet. Next step: run a program with @fluxloop.agent on one of its functions, "
        "or name the folder that it writes to"
    )
