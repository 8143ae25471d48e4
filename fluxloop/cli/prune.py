"""
``fluxloop prune``: delete the records of old days.
"""

from __future__ import annotations

import re
import sqlite3
from contextlib import suppress
from datetime import timedelta
from typing import Annotated, Any

import typer

from ..errors import FilterError, ReadError
from ..reading.catalog import Catalog
from ..reading.json_text import encode
from ..reading.moments import AGES, age_of
from ..reading.source import Source
from ..storage.retention import Day, Retention, plan
from .filter_options import PathArgument, folder_or
from .formatting import counted, note, print_json

EPILOG = """
[bold]Examples[/]

  fluxloop prune --older-than 30d --dry-run   what would be deleted
  fluxloop prune --older-than 30d             delete days that ended 30 days ago or earlier
  fluxloop prune --keep 50GB                  delete the oldest days until 50 GB are left

Days that a running program may write to are kept: today, days since its oldest open trace,
and days with a file that was written to within the last hour.

[bold]Exit codes[/]: 0 done, also if nothing was old enough, 2 not possible, wrong usage.
"""


def prune(
    path: PathArgument = None,
    older_than: Annotated[
        str | None, typer.Option(metavar="TIME", help="Delete days older than this: 30d, 2w.")
    ] = None,
    keep: Annotated[
        str | None, typer.Option(metavar="SIZE", help="Keep the newest days up to this size: 500MB.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Delete nothing; print what would be deleted.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")] = False,
) -> None:
    """
    Delete the records of old days.
    """
    if older_than is None and keep is None:
        raise FilterError("say what to delete: --older-than 30d, or --keep 50GB")
    span = None if older_than is None else _span_of(older_than)
    source = Source.at(folder_or(path))
    if source.folder is None or source.day is not None:
        raise ReadError(f"{source.path}: prune needs the folder, not one file of it")
    retention = plan(source.folder, older_than=span, keep_bytes=None if keep is None else size_of(keep))
    if not dry_run and retention.deleted:
        try:
            retention.apply()
        except OSError as error:
            raise ReadError(f"{error.filename}: cannot be deleted: {error.strerror}") from error
        _shrink_index(source)
    if as_json:
        print_json(encode(_as_json(retention, dry_run)))
    else:
        _print(retention, "would delete" if dry_run else "deleted")


def _span_of(text: str) -> timedelta:
    try:
        return age_of(text)
    except ValueError:
        raise FilterError(f"older_than must be {AGES}, got {text!r}") from None


def size_of(text: str) -> int:
    """
    Return a size in bytes.

    Raises:
        FilterError: If *text* is not a size.
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kmgt]?)(i?)b?", text.strip().lower())
    if found is None:
        raise FilterError(f"keep must be a size such as 500MB or 50GB, got {text!r}")
    base = 1024 if found[3] else 1000
    return int(float(found[1]) * base ** " kmgt".index(found[2] or " "))


def size_in_words(size: int) -> str:
    """Return a number of bytes with three digits and a unit."""
    amount, unit = float(size), "B"
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if amount < 999.5 or unit == "TB":
            break
        amount /= 1000
    return f"{amount:.0f} {unit}" if unit == "B" or amount >= 99.5 else f"{amount:.1f} {unit}"


def _shrink_index(source: Source) -> None:
    """Remove what was deleted from the index, and free its space."""
    with Catalog.of(source) as catalog, suppress(sqlite3.Error):
        catalog.store.connection.execute("VACUUM")


def _print(retention: Retention, verb: str) -> None:
    for day in retention.deleted:
        typer.echo(f"{verb} {day.day}  {counted(len(day.paths), 'file')}  {size_in_words(day.size):>8}")
    for day in retention.kept:
        if day.kept_because:
            typer.echo(f"kept {day.day}  {day.kept_because}")
    note(f"{verb} {_in_words(retention.deleted)}; {_in_words(retention.kept)} are kept")


def _in_words(days: list[Day]) -> str:
    return f"{counted(len(days), 'day')} ({size_in_words(sum(day.size for day in days))})"


def _as_json(retention: Retention, dry_run: bool) -> dict[str, Any]:
    def listed(days: list[Day]) -> list[dict[str, Any]]:
        return [
            {
                "day": str(day.day),
                "files": [str(path) for path in day.paths],
                "bytes": day.size,
                "reason": day.kept_because,
            }
            for day in days
        ]

    return {"dry_run": dry_run, "deleted": listed(retention.deleted), "kept": listed(retention.kept)}
