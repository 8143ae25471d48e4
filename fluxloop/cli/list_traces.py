"""
``fluxloop list``: one line per trace, as text, JSON or CSV.
"""

from __future__ import annotations

import csv
import sys
from typing import Annotated, Any

import typer

from ..errors import FilterError
from ..export.cells import safe_cell
from ..reading.catalog import ORDERS, Catalog, TraceRow
from ..reading.filters import TraceFilter
from ..reading.json_text import encode
from ..reading.moments import iso_utc
from ..reading.pricing import project_pricing
from ..reading.source import url_of
from .filter_options import NoColor, PathArgument, Utc, folder_or, with_filters
from .formatting import console, counted, note, print_json, signs
from .row_lines import row_lines
from .usage_errors import note_no_traces

DEFAULT_LIMIT = 20

EPILOG = """
[bold]Examples[/]

  fluxloop list                               the newest traces
  fluxloop list --status error --since 2h     which failed, in which tool, and why
  fluxloop list --has-error --sort cost       the dearest with a failure inside
  fluxloop list --user anna --text Lyon -n 0  all of one user that mention Lyon
  fluxloop list --name 'Travel*' --json       one JSON object per line
  fluxloop list --csv > traces.csv            for a spreadsheet
  fluxloop list http://127.0.0.1:8000         the traces of a collector

The id in front of a line is enough for: fluxloop view ID

[bold]Exit codes[/]: 0 printed, or no traces yet, 1 no trace matches, 2 not readable, wrong usage.
"""


@with_filters
def list_traces(
    *,
    path: PathArgument = None,
    where: TraceFilter,
    sort: Annotated[str, typer.Option(metavar="ORDER", help=f"Order: {', '.join(ORDERS)}.")] = "start",
    reverse: Annotated[bool, typer.Option("--reverse", "-r", help="Reverse the order.")] = False,
    limit: Annotated[
        int | None,
        typer.Option(
            "--limit", "-n", min=0, help="List so many; 0 lists all.", show_default="20; all with --json and --csv"
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, one trace per line.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV.")] = False,
    utc: Utc = False,
    no_color: NoColor = False,
) -> None:
    """
    List traces, one line each: the newest, or those that match filters.
    """
    if sort not in ORDERS:
        raise FilterError(f"sort must be one of {', '.join(ORDERS)}, got {sort!r}")
    if as_json and as_csv:
        raise FilterError("--json and --csv exclude each other; leave out one of them")
    if limit is None:
        limit = 0 if as_json or as_csv else DEFAULT_LIMIT
    limit = min(limit, sys.maxsize)  # a database has no larger integers
    folder = folder_or(path)
    if (url := url_of(folder)) is not None:
        from ..reading.remote import Server
        from .remote import rows_of

        server = Server(url)
        _print(rows_of(server, where, sort=sort, reverse=reverse, limit=limit), as_json, as_csv, utc, no_color, sort)
        return
    with Catalog.of(folder) as catalog:
        if catalog.notice:
            note(catalog.notice)
        rows = catalog.rows(where, order=sort, backwards=reverse, limit=limit or None, pricing=project_pricing())
        if not rows:
            note_no_traces(folder, is_filtered=bool(where), is_empty=not catalog.count())
            return
        ids = {row.trace_id: catalog.short_id(row.trace_id) for row in rows}
        _print((rows, ids), as_json, as_csv, utc, no_color, sort)
        if not as_json and not as_csv and len(rows) == limit and (total := catalog.count(where)) > limit:
            note(f"{limit:,} of {counted(total, 'trace')}; --limit 0 lists all")


def _print(
    found: tuple[list[TraceRow], dict[str, str]], as_json: bool, as_csv: bool, utc: bool, no_color: bool, sort: str
) -> None:
    """Print rows, with the short id of each."""
    rows, ids = found
    if as_json:
        for row in rows:
            print_json(encode(as_object(row, ids[row.trace_id])))
    elif as_csv:
        _print_csv(rows)
    else:
        output = console(color=not no_color)
        for line in row_lines(
            rows,
            ids,
            output.width,
            signs=signs(output),
            encoding=output.encoding,
            utc=utc,
            keeps_tokens=sort in ("tokens", "cost"),
        ):
            output.print(line, soft_wrap=True)


def as_object(row: TraceRow, short_id: str) -> dict[str, Any]:
    """Return a row as JSON; what is unknown is null."""
    return {
        "trace_id": row.trace_id,
        "short_id": short_id,
        "name": row.name,
        "status": row.status,
        "start_time": _iso(row),
        "duration_ms": row.duration_ms,
        "session_id": row.session_id,
        "user_id": row.user_id,
        "tags": row.tags,
        "models": row.models,
        "observations": row.observations,
        "errors": row.errors,
        "failed_tools": row.failed_tools,
        "warnings": row.warnings,
        "input_tokens": row.input_tokens,
        "output_tokens": row.output_tokens,
        "total_tokens": row.tokens,
        "cost": row.cost.amount if row.cost else None,
        "unpriced_models": [*row.cost.unknown] if row.cost else [],
        "error": row.error,
        "input": row.input,
        "output": row.output,
    }


def _iso(row: TraceRow) -> str | None:
    return iso_utc(row.start) if row.start else None


def _print_csv(rows: list[TraceRow]) -> None:
    writer = csv.writer(sys.stdout, lineterminator="\n")
    for number, row in enumerate(rows):
        fields = as_object(row, "")
        del fields["short_id"]
        if number == 0:
            writer.writerow(fields)
        writer.writerow([safe_cell(value) for value in fields.values()])
