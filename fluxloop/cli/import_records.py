"""
``fluxloop import``: put the records of files into a store of the collector.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..reading.json_text import encode
from .formatting import note, print_json

EPILOG = """
[bold]Examples[/]

  fluxloop import ./traces                                   into collector.sqlite
  fluxloop import ./traces --store postgresql://fl@db/flux   into a database

Importing twice changes nothing. The collector may run meanwhile.

[bold]Exit codes[/]: 0 imported, 1 some lines are not records, or not possible, 2 wrong usage.
"""

Store = Annotated[str | None, typer.Option(metavar="URL", help="The store.", show_default="sqlite:///collector.sqlite")]


def import_records(
    path: Annotated[Path, typer.Argument(help="Folder of records, or one .jsonl file.")],
    store: Store = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")] = False,
) -> None:
    """
    Put the records of files into a store of the collector.
    """
    from ..collector.importing import import_records as run
    from ..collector.stores.opening import DEFAULT, open_store

    opened = open_store(store or DEFAULT)
    try:
        done = run(path, opened)
    finally:
        opened.close()
    if as_json:
        print_json(encode({"accepted": done.accepted, "duplicates": done.duplicates, "rejected": done.rejected}))
    else:
        note(f"imported {done.accepted:,} records; {done.duplicates:,} were there already")
        if done.rejected:
            note(f"{done.rejected:,} places are not records and were left out")
    if done.rejected:
        raise typer.Exit(1)
