"""
Print a diagnosis for a person: what is set, where records go, what is installed, and what to do.
"""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from ..enums import Status
from .diagnosis import Diagnosis, Files, Framework
from .formatting import counted
from .terminal import signs
from .values import plain


def print_diagnosis(found: Diagnosis, console: Console) -> None:
    """Print what was found, the problems last, where the eye is."""
    marks = signs(console).marks
    console.print(Text.assemble((f"FluxLoop {found.fluxloop}", "bold"), f"  Python {found.python}, {found.platform}"))
    settings = [
        (
            one.name,
            Text(plain(one.value)),
            Text(plain(one.source), style="dim" if one.source == "default" else "bold cyan"),
        )
        for one in found.settings
    ]
    _print_section(console, "Settings", settings)
    _print_section(console, "Files", _about_files(found.files))
    _print_section(console, "Frameworks", map(_about_framework, found.frameworks))
    _print_section(console, "Notes", [(Text(plain(note)),) for note in found.notes])
    console.print()
    for one in found.problems:
        console.print(Text(f"{marks[Status.ERROR]} {plain(one.problem)}", style="bold red"), soft_wrap=True)
        console.print(Text(f"  {signs(console).arrow} {plain(one.remedy)}"), soft_wrap=True)
    if not found.problems:
        console.print(Text(f"{marks[Status.SUCCESS]} no problems", style="bold green"))


def _print_section(console: Console, title: str, rows: Iterable[tuple[str | Text, ...]]) -> None:
    rows = list(rows)
    if not rows:
        return
    table = Table.grid(padding=(0, 3, 0, 0))
    for row in rows:
        table.add_row(*row)
    console.print()
    console.print(Text(title, style="bold"))
    console.print(Padding(table, (0, 0, 0, 2), expand=False))


def _about_files(files: Files) -> list[tuple[str | Text, ...]]:
    state = "can be written to" if files.is_writable else "cannot be written to"
    rows: list[tuple[str | Text, ...]] = [
        ("folder", Text(plain(files.path))),
        (
            "",
            Text(
                f"{state}, {'exists' if files.exists else 'not made yet'}",
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


def _about_framework(one: Framework) -> tuple[str | Text, ...]:
    if one.version is None:
        return one.name, Text("not installed", style="dim"), Text(f"supported {one.supported}", style="dim")
    style = "green" if one.is_supported else "bold red"
    return one.name, Text(one.version, style=style), Text(f"supported {one.supported}", style="dim")
