"""
``fluxloop upload``: send records in files to a collector.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from ..reading.json_text import encode
from ..reading.scores import score_files
from ..reading.source import Source
from ..report import Delivery, log
from ..settings.layers import Configuration
from ..settings.schema import RawValue, find_row
from ..storage.segment import segments_in
from ..storage.spool import REFUSED, SPOOL
from ..storage.upload import Upload, positions_for, spools_in
from ..storage.uploader import Uploader
from ..storage.wire import Answer, Link
from .filter_options import PathArgument, folder_or
from .formatting import console, counted, note, print_json
from .usage_errors import reported

EPILOG = """
[bold]Examples[/]

  fluxloop upload                            what programs here recorded, to the configured collector
  fluxloop upload ./traces --url https://traces.example.com
  fluxloop upload traces_20260117.jsonl      one file
  fluxloop upload --again                    also what was uploaded before

Only what was added since the last upload to the same collector is sent, and a collector keeps a record once, however
often it is sent. What a program could not send waits in ./traces/.spool; it is sent, too, and then removed.
Give the key as FLUXLOOP_API_KEY: other users of a machine can see the arguments of a command.

[bold]Exit codes[/]: 0 all sent, 1 the collector rejected some records, 2 not possible.
"""


def upload(
    path: PathArgument = None,
    url: Annotated[
        str | None,
        typer.Option("--url", metavar="URL", help="The collector.", show_default="the setting collector_url"),
    ] = None,
    api_key: Annotated[
        str | None, typer.Option("--api-key", metavar="KEY", help="The key.", show_default="the setting api_key")
    ] = None,
    again: Annotated[bool, typer.Option("--again", help="Send everything, also what was uploaded before.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")] = False,
) -> None:
    """
    Send records in files to a collector. An upload that was interrupted continues where it ended.
    """
    log.addHandler(logging.NullHandler())  # problems are printed below
    with reported():
        link = _link(url, api_key)
        found = _found(folder_or(path), None if again else link.url)
        delivery = Delivery()
        with _progress(found, is_shown=not as_json) as advance:
            uploader = Uploader(link, delivery, found.refused, advance)
            try:
                failure = found.run(uploader)
            finally:
                link.close()
    _print(uploader, found, failure, as_json)
    raise typer.Exit(2 if failure else 1 if delivery.dropped else 0)


def _link(url: str | None, api_key: str | None) -> Link:
    settings = Configuration().settings()
    return Link(
        settings.collector_url if url is None else find_row("collector_url", "--url").read(RawValue(url, "--url")),
        settings.api_key if api_key is None else find_row("api_key", "--api-key").read(RawValue(api_key, "--api-key")),
        settings.timeout,
        settings.collector_protocol,
    )


def _found(path: Path, url: str | None) -> Upload:
    """Return what is to be sent; *url* is the collector if only what was not sent to it yet is to be sent."""
    if path.is_file():
        Source.at(path)  # raises if it cannot be opened
        positions = None if url is None else positions_for(path.parent, url)
        return Upload(
            [path],
            positions=positions,
            refused=path.with_name("refused_again.jsonl" if path.name == REFUSED else REFUSED),
        )
    source = Source.at(path)
    folder = source.folder or path
    files = [*(file for _, files in sorted(source.days().items()) for file in files), *score_files(folder)]
    spools = list(dict.fromkeys([*spools_in(path), *spools_in(folder)]))
    positions = None if url is None or not files else positions_for(folder, url)
    return Upload(files, spools, positions, refused=folder / (SPOOL if folder.name != SPOOL else "") / REFUSED)


@contextmanager
def _progress(found: Upload, *, is_shown: bool) -> Iterator[Callable[[int], object]]:
    """Show a progress bar on a terminal."""
    errors = console(stderr=True)
    if not (is_shown and errors.is_terminal):
        yield lambda _: None
        return
    from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn

    with Progress(BarColumn(), DownloadColumn(), TimeRemainingColumn(), console=errors, transient=True) as progress:
        task = progress.add_task("", total=found.size())
        yield lambda size: progress.advance(task, size)


def _print(uploader: Uploader, found: Upload, failure: Answer | None, as_json: bool) -> None:
    delivery, url = uploader.delivery, uploader.link.url
    in_use = sum(len(segments_in(spool)) for spool in found.spools)
    if as_json:
        facts = {
            "collector": url,
            "sent": delivery.sent,
            "already_there": uploader.duplicates,
            "rejected": delivery.dropped,
            "retried": delivery.retried,
            "bytes_left": found.size(),
            "error": failure.problem if failure else None,
        }
        print_json(encode(facts))
        return
    there = f" ({uploader.duplicates:,} were there already)" if uploader.duplicates else ""
    typer.echo(f"sent {counted(delivery.sent, 'record')} to {url}{there}")
    if delivery.dropped:
        note(f"{counted(delivery.dropped, 'record')} rejected, kept in {uploader.refused}")
    if in_use and not failure:
        note(f"{counted(in_use, 'file')} in the spool left to a running program, which sends them")
    if failure:
        text = f"fluxloop: {failure.problem}. Run the same command again to continue."
        console(stderr=True).print(text, markup=False, style="red", soft_wrap=True)
