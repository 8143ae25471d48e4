"""
``fluxloop dataset``: inputs for experiments from recorded traces.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..errors import WriteError
from ..experiments.datasets import from_traces
from ..reading.filters import TraceFilter
from .experiment_commands import failing_with_2
from .filter_options import PathArgument, Utc, folder_or, with_filters
from .formatting import counted, note, print_json
from .groups import command_group

EPILOG = """
[bold]Examples[/]

  fluxloop dataset from-traces --status error --since yesterday -o inputs.jsonl
  fluxloop dataset from-traces ./traces --name Support* --sample 50 -o inputs.jsonl
  fluxloop dataset from-traces experiments/latest_checkout --expected -o golden.jsonl

Each line has input, id and metadata (the trace that it is from), and with --expected the answer of the trace. Equal
inputs become one. The file is an inputs_file of fluxloop run experiment.

[bold]Exit codes[/]: 0 written, 1 no trace matches, 2 could not, wrong usage.
"""

app = command_group("Make inputs for experiments.", EPILOG)


@app.command("from-traces", epilog=EPILOG)
@failing_with_2
@with_filters
def dataset_from_traces(
    *,
    path: PathArgument = None,
    where: TraceFilter,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write to this file.", show_default="stdout")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that exists.")] = False,
    expected: Annotated[bool, typer.Option("--expected", help="Add the answers as expected.")] = False,
    field: Annotated[
        str | None, typer.Option(metavar="NAME", help="The argument that is the input.", show_default="found by name")
    ] = None,
    sample: Annotated[int | None, typer.Option(metavar="N", help="So many inputs, chosen at random.")] = None,
    utc: Utc = False,
) -> None:
    """
    Turn recorded traces into inputs, without duplicates.
    """
    folder = folder_or(path)
    if output is not None and output.exists() and not force:
        raise WriteError(f"{output} exists already. Next step: choose another name, or replace it with --force")
    dataset = from_traces(folder, expected=expected, field=field, sample=sample, where=where)
    if not dataset.inputs:
        problem = "no trace matches" if not dataset.traces else "no trace has a recorded input"
        note(f"{folder}: {problem}")
        raise typer.Exit(1)
    if output is None:
        for line in dataset.lines():
            print_json(line)
    else:
        dataset.write(output)
    notes = [f"{counted(len(dataset.inputs), 'input')} from {counted(dataset.traces, 'trace')}"]
    if dataset.duplicates:
        notes.append(f"{dataset.duplicates} duplicates")
    if dataset.without_input:
        notes.append(f"{dataset.without_input} without an input")
    note(f"{', '.join(notes)}{f', written to {output}' if output else ''}")
