"""
``fluxloop serve``: run a collector, or follow folders of records.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import ConfigError
from .formatting import note
from .usage_errors import reported

if TYPE_CHECKING:
    from ..collector.app import Options
    from ..collector.stores.contract import Store

KEYS_VARIABLE = "COLLECTOR_API_KEYS"
"""Keys, separated by commas; unlike options, the environment is not shown to other users of the machine."""

EPILOG = """
[bold]Examples[/]

  fluxloop serve                                      receive records on this machine
  fluxloop serve ./traces                             ask about the files you have; nothing is received
  fluxloop serve --store sqlite:////var/lib/fl.sqlite --retention 30d
  fluxloop serve --host 0.0.0.0 --api-key-file keys   for other machines; a line: NAME:write:KEY
  fluxloop serve --store postgresql://fl@db/fluxloop  several collectors can share one database
  fluxloop serve --store 'clickhouse://fl:pw@db/fluxloop?ttl=30d'

Programs send with: configure(storage="http", collector_url="http://127.0.0.1:8000")
Ask with: fluxloop list http://127.0.0.1:8000, or curl http://127.0.0.1:8000/api/v1/traces

[bold]Exit codes[/]: 0 stopped by a signal, 2 not possible, wrong usage.
"""


def serve(
    *,
    path: Annotated[
        list[Path] | None, typer.Argument(help="Folders of records to follow; without one, records are received.")
    ] = None,
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65_535, help="The port; 0 takes a free one.")] = 8000,
    store: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Where records are kept.", show_default="sqlite:///collector.sqlite"),
    ] = None,
    api_key: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY", help="KEY or NAME:RIGHT:KEY, where RIGHT is read, write or all. Repeat it."),
    ] = None,
    api_key_file: Annotated[Path | None, typer.Option(metavar="FILE", help="A file with such a key per line.")] = None,
    allowed_host: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Also accept this name in the Host header, as behind a proxy. Repeat it."),
    ] = None,
    retention: Annotated[
        str | None, typer.Option(metavar="AGE|SIZE", help="Delete traces beyond it: 30d, or 50GB.")
    ] = None,
    max_body: Annotated[int, typer.Option(metavar="BYTES", min=1024, help="Of one request.")] = 16 << 20,
    max_connections: Annotated[int, typer.Option(min=1, help="Open at the same time.")] = 512,
    max_rate: Annotated[float, typer.Option(metavar="N", min=0.1, help="Requests per second and key.")] = 1_000.0,
    log_level: Annotated[str, typer.Option(help="info logs every request without its content; warning does not.")] = (
        "info"
    ),
) -> None:
    """
    Run a collector: receive records, keep them, and answer questions about them.
    """
    try:
        from ..collector.server import run
    except ModuleNotFoundError as missing:
        with reported():
            raise ConfigError(f"serve needs {missing.name!r}: pip install 'fluxloop[collector]'") from None
    with reported():
        options = _options(host, api_key, api_key_file, allowed_host, retention, (max_body, max_connections, max_rate))
        if log_level not in ("info", "warning", "error"):
            raise ConfigError(f"log_level must be info, warning or error, got {log_level!r}")
        opened, options = _opened(path or [], store, options)
        run(opened, options, host=host, port=port, log_level=log_level)


def _options(
    host: str,
    api_key: list[str] | None,
    api_key_file: Path | None,
    allowed_host: list[str] | None,
    retention: str | None,
    limits: tuple[int, int, float],
) -> Options:
    from ..collector.app import Options
    from ..collector.keys import Keys
    from ..collector.limits import Limits
    from ..collector.retention import Retention
    from ..collector.server import is_local

    body, connections, rate = limits
    given = [text for text in os.environ.get(KEYS_VARIABLE, "").split(",") if text.strip()]
    return Options(
        keys=Keys.of([*(api_key or ()), *given], api_key_file),
        limits=Limits(body_bytes=body, unpacked_bytes=4 * body, connections=connections, requests_per_s=rate),
        hosts=allowed_host or (() if is_local(host) else None),
        retention=None if retention is None else Retention.of(retention),
    )


def _opened(paths: list[Path], url: str | None, options: Options) -> tuple[Store, Options]:
    """Return the store, or the index of the folders that are followed."""
    import dataclasses

    from ..collector.stores.opening import DEFAULT, open_store

    if not paths:
        return open_store(url or DEFAULT), options
    if url is not None or options.retention is not None:
        raise ConfigError("a PATH is followed without --store and --retention; `fluxloop prune` deletes old files")
    from ..collector.following import Following

    following = Following(paths)
    note(f"following {', '.join(map(str, paths))}; index: {following.store.path}")
    return following.store, dataclasses.replace(options, follow=following.refresh)
