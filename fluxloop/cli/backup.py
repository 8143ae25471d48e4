"""
``fluxloop backup``: copy a store of the collector while it is in use.
"""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer

from .formatting import counted, note
from .import_records import Store
from .usage_errors import reported

EPILOG = """
[bold]Examples[/]

  fluxloop backup monday.sqlite                              a copy of collector.sqlite, also while it is served
  fluxloop backup --records monday.jsonl                     all records, as lines; from any kind of store
  fluxloop import monday.jsonl --store sqlite:///new.sqlite  restores them

A PostgreSQL store is copied with pg_dump, or with --records.

[bold]Exit codes[/]: 0 copied, 2 not possible, wrong usage.
"""


def backup(
    target: Annotated[Path, typer.Argument(help="The new file.")],
    store: Store = None,
    records: Annotated[bool, typer.Option("--records", help="Write record lines instead of a database.")] = False,
) -> None:
    """
    Copy a store of the collector while it is in use.
    """
    from ..collector.importing import export_records
    from ..collector.stores.opening import DEFAULT, open_existing

    with reported(), closing(open_existing(store or DEFAULT)) as opened:
        if records:
            note(f"wrote {counted(export_records(opened, target), 'trace')} to {target}")
        else:
            opened.backup(str(target))
            note(f"wrote {target}")
