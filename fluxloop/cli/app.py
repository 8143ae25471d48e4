"""
The commands and their options: read the arguments, call one function, print.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

import fluxloop

from ..errors import FluxLoopError
from ..reading.to_json import encode, trace_line
from ..report import log
from ..settings.layers import Configuration
from . import terminal
from .diagnosis import diagnose
from .doctor import print_diagnosis
from .live import follow_in_lines, follow_in_place
from .view import choose, matching, show

app = typer.Typer(
    name="fluxloop",
    help="See what your agents did. The records are plain files on this machine; no server, no account.",
    epilog="Run a program that uses @fluxloop.agent, then: fluxloop view",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def run() -> int:
    """Run the command line; an error of ours becomes one line on stderr and the exit code 1."""
    try:
        app()
    except FluxLoopError as error:
        terminal.console(stderr=True).print(f"fluxloop: {error}", markup=False, style="red", soft_wrap=True)
        return 1
    return 0


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"fluxloop {fluxloop.__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_print_version, help="Print the version and exit.")
    ] = False,
) -> None:
    """Options of every command."""


_EXAMPLES = """
[bold]Examples[/]

  fluxloop view                   the newest trace; the five before in a line
  fluxloop view --last 3 --full   the last three, nothing shortened
  fluxloop view --trace 00a1b2c3  by the beginning or the end of the id
  fluxloop view ./other/traces    another folder, or one file of it
  fluxloop view --follow          watch a program while it runs
  fluxloop view --last 9 --json   for other programs: a JSON object a line

[bold]Exit codes[/]: 0 shown, 1 nothing found or not readable, 2 wrong usage.
"""


@app.command(epilog=_EXAMPLES)
def view(
    path: Annotated[
        Path | None,
        typer.Argument(help="Folder of records, or one .jsonl file.", show_default="the configured base_path"),
    ] = None,
    trace: Annotated[
        str | None, typer.Option(metavar="ID", help="Show this trace; the beginning or the end of the id will do.")
    ] = None,
    last: Annotated[int | None, typer.Option(metavar="N", min=1, help="Show the last N traces as trees.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, one trace a line.")] = False,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Watch what runs, until Ctrl-C.")] = False,
    full: Annotated[bool, typer.Option("--full", help="Shorten nothing; add metadata and tracebacks.")] = False,
    no_color: Annotated[bool, typer.Option("--no-color", help="Print no colours.")] = False,
) -> None:
    """
    Show traces as trees: what called what, how long it took, what came out and how it ended.
    """
    console = terminal.console(color=not no_color)
    path = path or Configuration().settings().base_path
    if follow:
        with suppress(KeyboardInterrupt):
            if as_json or not console.is_terminal:
                follow_in_lines(path, matching(trace), console, as_json=as_json)
            else:
                follow_in_place(path, matching(trace), console, last=last or 1, full=full)
        return
    chosen = choose(path, trace_id=trace, last=last)
    if as_json:
        for one in chosen.shown:
            typer.echo(trace_line(one))
    else:
        show(chosen, console, full=full)


@app.command(
    epilog="[bold]Exit codes[/]: 0 no problems, 1 problems. Notes, as of a run that crashed last week, are no problems."
)
def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")] = False,
    no_color: Annotated[bool, typer.Option("--no-color", help="Print no colours.")] = False,
) -> None:
    """
    Check the set-up: every setting and where it comes from, the folder, crashed runs, damaged lines, frameworks.
    """
    log.addHandler(logging.NullHandler())  # what is wrong is printed below, and not twice
    diagnosis = diagnose(Configuration(), fluxloop.__version__)
    if as_json:
        typer.echo(encode(diagnosis.as_json()))
    else:
        print_diagnosis(diagnosis, terminal.console(color=not no_color))
    raise typer.Exit(1 if diagnosis.problems else 0)
