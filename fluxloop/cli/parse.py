"""
``fluxloop parse experiment``: what each run of an experiment did, as Markdown and JSON lines.
"""

from __future__ import annotations

from typing import Annotated

import typer

from ..experiments.parsing import OUTPUT, parse
from ..reading.json_text import encode
from .experiment_commands import Folders, Overwrite, experiment_at, failing_with_2, progress
from .formatting import console, counted, note, print_json
from .groups import command_group

EPILOG = """
[bold]Examples[/]

  fluxloop parse experiment experiments/latest_*/      the newest run
  fluxloop parse experiment checkout                   the newest experiment named checkout
  fluxloop parse experiment experiments/checkout_20260117_143022 --json

It writes per_trace_analysis/ in the experiment: a Markdown file per run, and per_trace.jsonl. Parsing again replaces
them.

[bold]Exit codes[/]: 0 written, 2 not readable or not writable, wrong usage, 130 after Ctrl-C, 143 after SIGTERM.
"""

app = command_group("Write what each run of an experiment did, as Markdown and JSON lines.", EPILOG)


@app.command("experiment", epilog=EPILOG)
@failing_with_2
def parse_experiment(
    folders: Folders,
    output: Annotated[
        str, typer.Option("--output", "-o", metavar="NAME", help="Folder within the experiment.")
    ] = OUTPUT,
    form: Annotated[str, typer.Option("--format", "-f", help="Only md.", hidden=True)] = "md",
    overwrite: Overwrite = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")] = False,
) -> None:
    """
    Write a Markdown file per run (conversation, tree, errors, tokens, cost) and per_trace.jsonl.
    """
    with progress("parsed", shown=not as_json) as count:
        parsed = parse(experiment_at(folders), output=output, on_run=lambda run: count())
    if parsed.missing:
        note(parsed.missing)
    if as_json:
        fields = ("runs", "failed", "without_records")
        values = {name: getattr(parsed, name) for name in fields}
        print_json(encode({"experiment": str(parsed.folder), "output": str(parsed.output), **values}))
        return
    console().print(f"{counted(parsed.runs, 'run')} parsed, {parsed.failed} failed", markup=False)
    console().print(f"{parsed.output}", markup=False, soft_wrap=True)
    if parsed.without_records:
        note(f"{counted(parsed.without_records, 'run')} without records in the artifacts")
