"""
The ``fluxloop`` command line: its commands, its version and how errors end it.

A command's module is imported when the command runs, so that ``--help`` and ``--version`` load none of them.
"""

from __future__ import annotations

import errno
import os
import sys
from contextlib import suppress
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from ..errors import FluxLoopError

_CONTEXT = {"help_option_names": ["-h", "--help"]}

COMMANDS = {
    "list": ("list_traces", "List traces, one line each, newest first."),
    "view": ("view", "Print traces as trees."),
    "trace": ("trace", "Run a program unchanged, and record it."),
    "stats": ("stats", "Show counts, errors, latencies, tokens and cost."),
    "export": ("export", "Write traces as CSV or as JSON lines."),
    "parse": ("parse", "Write what each run of an experiment did."),
    "evaluate": ("evaluate", "Judge the runs of an experiment."),
    "compare": ("compare", "Show what changed between two experiments, or two traces."),
    "dataset": ("dataset", "Make inputs for experiments from traces."),
    "replay": ("replay", "Run a recorded trace against today's code, offline."),
    "blame": ("blame", "Find the model calls that decide how a run ends."),
    "context": ("context", "Show what each model call was given, and what changed since the call before."),
    "cassette": ("cassette", "List, show, check and prune cassettes."),
    "upload": ("upload", "Send records in files to a collector."),
    "serve": ("serve", "Run a collector, or follow folders of records."),
    "import": ("import_records", "Put the records of files into a store of the collector."),
    "backup": ("backup", "Copy a store of the collector while it is in use."),
    "prune": ("prune", "Delete the records of old days."),
    "init": ("init", "Create the files of a project or an agent."),
    "run": ("run", "Run an experiment: an agent over many inputs."),
    "record": ("record", "Record arguments of calls, for experiments."),
    "config": ("config", "Show, change and check an experiment's configuration."),
    "status": ("status", "Show configuration, recording and experiments."),
    "doctor": ("doctor", "Check settings, folder, records and frameworks."),
}
"""The module of each command, and its line in the list of commands."""


EXPERIMENTS_EXTRA = {"httpx", "jinja2", "jsonschema", "rapidfuzz", "ruamel"}
"""What the extra ``experiments`` brings, besides that of ``cli``."""


class _Commands(TyperGroup):
    """The commands, each imported when it is run."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        for name, (_, summary) in COMMANDS.items():
            self.add_command(TyperCommand(name, help=summary, callback=None))

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Import the command that *args* begin with."""
        if args and args[0] in COMMANDS:
            self.add_command(loaded(args[0]))
        return super().resolve_command(ctx, args)


def loaded(name: str) -> Any:
    """Import the command *name* and return it."""
    module = import_module(f".{COMMANDS[name][0]}", __package__)
    if (own := getattr(module, "app", None)) is None:
        own = typer.Typer(add_completion=False, rich_markup_mode="rich", pretty_exceptions_enable=False)
        context = {**_CONTEXT, **getattr(module, "CONTEXT", {})}
        own.command(epilog=module.EPILOG, context_settings=context)(getattr(module, COMMANDS[name][0]))
    command = typer.main.get_command(own)
    command.name = name
    return command


app = typer.Typer(
    cls=_Commands,
    name="fluxloop",
    help="Inspect what your agents did. The records are plain files on this machine: no server, no account.",
    epilog="First run a program that uses @fluxloop.agent, then: fluxloop list",
    no_args_is_help=True,
    rich_markup_mode=None,  # importing what draws the panels takes as long as everything else
    pretty_exceptions_enable=False,
    context_settings=_CONTEXT,
)


def run() -> int:
    """
    Run the command line, and return the exit code.

    A `FluxLoopError` becomes one line on stderr and the exit code 2, or 1 if nothing was found. An output that cannot
    be written (a full disk, a closed terminal) becomes one line and 2; a pipe that its reader has closed becomes 1.
    """
    try:
        try:
            return _run()
        finally:
            if _TRACE not in sys.modules and sys.stdout is not None:  # a program's own output is Python's to flush
                sys.stdout.flush()
    except OSError as error:
        if error.errno not in _OUTPUT_ERRORS or error.filename is not None or _TRACE in sys.modules:
            raise
        with suppress(OSError, ValueError):  # so that Python, when it exits, does not write what is left
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if error.errno == errno.EPIPE:
            return 1
        with suppress(OSError):
            sys.stderr.write(f"fluxloop: the output cannot be written: {error.strerror}\n")
        return 2


_TRACE = f"{__package__}.trace"
"""The module of the command that runs a program."""

_OUTPUT_ERRORS = {errno.EPIPE, errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO}


def _run() -> int:
    try:
        app(prog_name="fluxloop")
    except FluxLoopError as error:
        from .formatting import console

        console(stderr=True).print(f"fluxloop: {error}", markup=False, style="red", soft_wrap=True)
        return 1 if _is_an_answer(error) else 2
    except ModuleNotFoundError as missing:
        if (missing.name or "").partition(".")[0] not in EXPERIMENTS_EXTRA:
            raise
        sys.stderr.write(f"This command needs {missing.name!r}, which is not installed.\n")
        sys.stderr.write("    pip install 'fluxloop[experiments]'\n")
        return 2
    except SystemExit as end:
        trace = sys.modules.get(_TRACE)
        if trace is None or not isinstance(end, trace.ProgramInterrupt):
            raise
        sys.excepthook = lambda *_: None  # the traceback is printed already
        raise KeyboardInterrupt from None
    return 0


def _is_an_answer(error: FluxLoopError) -> bool:
    from .usage_errors import NothingFound

    return isinstance(error, NothingFound)


def _print_version(requested: bool) -> None:
    if requested:
        import fluxloop

        typer.echo(f"fluxloop {fluxloop.__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_print_version, help="Print the version and exit.")
    ] = False,
) -> None:
    """Options of every command."""
