"""
``fluxloop doctor``: print a diagnosis of the configuration, as text or as JSON.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Annotated

import typer
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

import fluxloop

from ..enums import Status
from ..reading.json_text import encode, escaped
from ..report import log
from ..settings.layers import Configuration
from .diagnosis import Diagnosis, Files, Framework, diagnose
from .formatting import console, counted, print_json, signs

EPILOG = """
[bold]Examples[/]

  fluxloop doctor                         what is set, where records go, what to correct
  fluxloop doctor --json                  the same as one JSON object
  FLUXLOOP_DEBUG=1 fluxloop doctor        how a variable changes the settings

[bold]Exit codes[/]: 0 no problems, 1 problems. Notes, such as a run that crashed last week, are not problems.
"""


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")] = False,
    no_color: Annotated[bool, typer.Option("--no-color", help="Print without colors.")] = False,
) -> None:
    """
    Check the configuration: every setting and its source, the folder, crashed runs, damaged lines, frameworks.
    """
    log.addHandler(logging.NullHandler())  # problems are printed below, and not logged as well
    diagnosis = diagnose(Configuration(), fluxloop.__version__)
    if as_json:
        print_json(encode(diagnosis.as_json()))
    else:
        print_diagnosis(diagnosis, console(color=not no_color))
    raise typer.Exit(1 if diagnosis.problems else 0)


def print_diagnosis(diagnosis: Diagnosis, output: Console) -> None:
    """Print *diagnosis* with the problems at the end, where a terminal shows them."""
    characters = signs(output)
    about = f"  Python {diagnosis.python}, {diagnosis.platform}"
    output.print(Text.assemble((f"FluxLoop {diagnosis.fluxloop}", "bold"), about))
    settings = [
        (
            setting.name,
            Text(escaped(setting.value)),
            Text(escaped(setting.source), style="dim" if setting.source == "default" else "bold cyan"),
        )
        for setting in diagnosis.settings
    ]
    _print_section(output, "Settings", settings)
    _print_section(output, "Files", _file_rows(diagnosis.files))
    _print_section(output, "Frameworks", map(_framework_row, diagnosis.frameworks))
    _print_section(output, "Notes", [(Text(escaped(note)),) for note in diagnosis.notes])
    output.print()
    for problem in diagnosis.problems:
        text = f"{characters.statuses[Status.ERROR]} {escaped(problem.problem)}"
        output.print(Text(text, style="bold red"), soft_wrap=True)
        output.print(Text(f"  {characters.arrow} {escaped(problem.remedy)}"), soft_wrap=True)
    if not diagnosis.problems:
        output.print(Text(f"{characters.statuses[Status.SUCCESS]} no problems", style="bold green"))


def _print_section(output: Console, title: str, rows: Iterable[tuple[str | Text, ...]]) -> None:
    rows = list(rows)
    if not rows:
        return
    table = Table.grid(padding=(0, 3, 0, 0))
    for row in rows:
        table.add_row(*row)
    output.print()
    output.print(Text(title, style="bold"))
    output.print(Padding(table, (0, 0, 0, 2), expand=False))


def _file_rows(files: Files) -> list[tuple[str | Text, ...]]:
    state = "writable" if files.is_writable else "not writable"
    rows: list[tuple[str | Text, ...]] = [
        ("folder", Text(escaped(files.path))),
        (
            "",
            Text(
                f"{state}, {'exists' if files.exists else 'not created yet'}",
                style="green" if files.is_writable else "red",
            ),
        ),
    ]
    if files.files:
        rows.append(
            ("records", Text(f"{files.records:,} in {counted(files.files, 'file')}, {files.bytes / 1e6:,.1f} MB"))
        )
        rows.append(("damaged", Text(counted(files.damaged, "place"), style="yellow" if files.damaged else "")))
    if files.running or files.crashed:
        rows.append(("open now", Text(counted(files.running, "observation"))))
        rows.append(("crashed", Text(counted(files.crashed, "observation"), style="yellow" if files.crashed else "")))
    return rows


def _framework_row(framework: Framework) -> tuple[str | Text, ...]:
    if framework.version is None:
        return framework.name, Text("not installed", style="dim"), Text(f"supported {framework.supported}", style="dim")
    style = "green" if framework.is_supported else "bold red"
    return framework.name, Text(framework.version, style=style), Text(f"supported {framework.supported}", style="dim")
