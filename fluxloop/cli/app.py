"""
The ``fluxloop`` command line: its commands, its version and how errors end it.
"""

from __future__ import annotations

import sys
from typing import Annotated

import typer

import fluxloop

from ..errors import FluxLoopError
from . import doctor, trace, view
from .formatting import console

app = typer.Typer(
    name="fluxloop",
    help="Inspect what your agents did. The records are plain files on this machine: no server, no account.",
    epilog="First run a program that uses @fluxloop.agent, then: fluxloop view",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command(epilog=view.EPILOG)(view.view)
app.command(epilog=doctor.EPILOG)(doctor.doctor)
app.command(epilog=trace.EPILOG, context_settings=trace.CONTEXT)(trace.trace)


def run() -> int:
    """Run the command line; a `FluxLoopError` becomes one line on stderr and the exit code 1."""
    try:
        app()
    except FluxLoopError as error:
        console(stderr=True).print(f"fluxloop: {error}", markup=False, style="red", soft_wrap=True)
        return 1
    except trace.ProgramInterrupt:
        sys.excepthook = lambda *_: None  # the traceback is printed already
        raise KeyboardInterrupt from None
    return 0


def _print_version(requested: bool) -> None:
    if requested:
        typer.echo(f"fluxloop {fluxloop.__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_print_version, help="Print the version and exit.")
    ] = False,
) -> None:
    """Options of every command."""
