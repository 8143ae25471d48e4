"""
``fluxloop export``: traces as CSV, or as a file of records.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, TextIO

import typer

from ..errors import FluxLoopError, ReadError
from ..export.tables import write_csv
from ..models import Trace
from ..reading.filters import TraceFilter
from ..reading.reader import read_traces
from ..reading.to_json import record_lines
from .filter_options import PathArgument, Utc, folder_or, with_filters
from .formatting import console, counted, note, print_json
from .groups import command_group
from .usage_errors import NO_TRACES_IN_FILE, NothingFound

EPILOG_GROUP = """
[bold]Examples[/]

  fluxloop export csv -o traces.csv                   a row per trace, for a spreadsheet
  fluxloop export jsonl --status error -o failed.jsonl    the records of what failed, for other programs

[bold]Exit codes[/]: 0 written, 1 no trace matches, 2 not readable or not writable, wrong usage.
"""

EPILOG_CSV = """
[bold]Examples[/]

  fluxloop export csv -o traces.csv                   a row per trace
  fluxloop export csv --observations --since 7d       a row per step
  fluxloop export csv --user anna --status error      of one user, what failed

Values that are not text are JSON. A text that a spreadsheet would take for a formula begins with '.

[bold]Exit codes[/]: 0 written, 1 no trace matches, 2 not readable or not writable, wrong usage.
"""

EPILOG_JSONL = """
[bold]Examples[/]

  fluxloop export jsonl --text Lyon -o lyon.jsonl     then, anywhere: fluxloop view lyon.jsonl
  fluxloop export jsonl --status error --since 2h     for other programs

[bold]Exit codes[/]: 0 written, 1 no trace matches, 2 not readable or not writable, wrong usage.
"""

app = command_group("Write traces as CSV or as JSON lines.", EPILOG_GROUP)

Output = Annotated[
    Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write to this file.", show_default="stdout")
]
Force = Annotated[bool, typer.Option("--force", help="Replace a file that exists.")]


@app.command("csv", epilog=EPILOG_CSV)
@with_filters
def export_csv(
    *,
    path: PathArgument = None,
    where: TraceFilter,
    output: Output = None,
    force: Force = False,
    observations: Annotated[bool, typer.Option("--observations", help="A row per observation.")] = False,
    utc: Utc = False,
) -> None:
    """
    Write a table with a row per trace, or per observation.
    """
    traces = _found(path, where)
    with _opened(output, force) as file:
        count = write_csv(traces, file, by_observation=observations)
    _report(count, output)


@app.command("jsonl", epilog=EPILOG_JSONL)
@with_filters
def export_jsonl(
    *, path: PathArgument = None, where: TraceFilter, output: Output = None, force: Force = False, utc: Utc = False
) -> None:
    """
    Write the records of traces to one file, which FluxLoop reads like a folder of its own.
    """
    traces = _found(path, where)
    count = 0
    with _opened(output, force) as file:
        for trace in traces:
            count += 1
            for line in record_lines(trace):
                print_json(line, file)
    _report(count, output)


def _found(path: Path | None, where: TraceFilter) -> Iterator[Trace]:
    """Yield the traces; raise if there are none, before a file is made."""
    folder = folder_or(path)
    traces = read_traces(folder, where=where)
    first = next(traces, None)
    if first is None:
        nothing = NO_TRACES_IN_FILE if folder.is_file() else "no traces yet"
        raise NothingFound(f"{folder}: {'no trace matches the filters' if where else nothing}")

    def chained() -> Iterator[Trace]:
        yield first
        yield from traces

    return chained()


@contextmanager
def _opened(path: Path | None, force: bool) -> Iterator[TextIO]:
    """Open the output; a file gets its name when it is complete, and only its owner may read it."""
    if path is None:
        console()  # sets how stdout writes what its encoding lacks
        yield sys.stdout
        return
    if path.is_dir():
        raise ReadError(f"{path} cannot be written: it is a folder")
    if path.exists() and not force:
        raise ReadError(f"{path} exists already. Next step: choose another name, or replace it with --force")
    part = path.with_name(f".{path.name}.part")
    try:
        with open(
            part, "w", encoding="utf-8", newline="", opener=lambda name, flags: os.open(name, flags, 0o600)
        ) as file:
            yield file
        part.replace(path)
    except FluxLoopError:  # of what is read
        raise
    except OSError as error:
        raise ReadError(f"{path} cannot be written: {error.strerror or error}") from error
    finally:
        part.unlink(missing_ok=True)


def _report(count: int, path: Path | None) -> None:
    if path is not None:
        note(f"{counted(count, 'trace')} written to {path}")
