"""
``fluxloop import``: put the records of files into a store of the collector.
"""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer

from ..reading.json_text import encode
from .formatting import note, print_json
from .usage_errors import reported

EPILOG = """
[bold]Examples[/]

  fluxloop import ./traces                                   into collector.sqlite
  fluxloop import ./traces --store postgresql://fl@db/flux   into a database

Importing twice changes nothing. The collector may run meanwhile.

[bold]Exit codes[/]: 0 imported, 1 some lines are not records, 2 not possible, wrong usage.
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

    with reported(), closing(open_store(store or DEFAULT)) as opened:
        done = run(path, opened)
    if as_json:
        print_json(encode({"accepted": done.accepted, "duplicates": done.duplicates, "rejected": done.rejected}))
    else:
        note(f"imported {done.accepted:,} records; {done.duplicates:,} were there already")
        if done.rejected:
            note(f"{done.rejected:,} places are not records and were left out")
    if done.rejected:
        raise typer.Exit(1)
