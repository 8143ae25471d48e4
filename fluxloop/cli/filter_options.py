"""
The options that select traces, the same for every command that has them.
"""

from __future__ import annotations

import gc
import inspect
from collections.abc import Callable
from datetime import UTC
from pathlib import Path
from typing import Annotated, Any

import typer

from ..reading.filters import STATUSES, TraceFilter
from ..settings.layers import Configuration

_PANEL = "Filters"

GC_THRESHOLD = 50_000
"""New objects between two collections: building an index makes millions of objects that form no cycles."""

Texts = list[str] | None

PathArgument = Annotated[
    Path | None,
    typer.Argument(help="Folder of records, or one .jsonl file.", show_default="the configured base_path"),
]
Utc = Annotated[bool, typer.Option("--utc", help="Read and print times as UTC instead of local time.")]
NoColor = Annotated[bool, typer.Option("--no-color", help="Print without colors.")]


def _option(metavar: str, meaning: str) -> Any:
    return typer.Option(metavar=metavar, help=meaning, rich_help_panel=_PANEL)


_OPTIONS: dict[str, Any] = {
    "status": Annotated[Texts, _option("STATUS", f"With this status: {', '.join(STATUSES)}. Repeat it for several.")],
    "name": Annotated[Texts, _option("NAME", "With this name; here and below, * matches any characters.")],
    "session": Annotated[Texts, _option("ID", "Of this session.")],
    "user": Annotated[Texts, _option("ID", "Of this user.")],
    "tag": Annotated[Texts, _option("TAG", "With this tag.")],
    "model": Annotated[Texts, _option("MODEL", "That used this model.")],
    "since": Annotated[
        str | None, _option("TIME", "Begun then or later: 2h, yesterday, 2026-11-28, 2026-11-28T14:30.")
    ],
    "until": Annotated[str | None, _option("TIME", "Begun before then; a day counts up to its end.")],
    "min_duration": Annotated[str | None, _option("TIME", "That took so long: 500ms, 2s, 1m30s.")],
    "min_tokens": Annotated[str | None, _option("N", "That used so many tokens.")],
    "has_error": Annotated[
        bool,
        typer.Option(
            "--has-error", help="With a failed observation, also where it was caught.", rich_help_panel=_PANEL
        ),
    ],
    "text": Annotated[str | None, _option("TEXT", "With this text in a name, input, output or error, ignoring case.")],
}


def with_filters(command: Callable[..., None]) -> Callable[..., None]:
    """Give *command* the options of filters; it receives them as one `TraceFilter` named ``where``."""

    def wrapper(**values: Any) -> None:
        gc.set_threshold(GC_THRESHOLD)
        chosen = {name: values.pop(name) for name in _OPTIONS}
        chosen["has_error"] = chosen["has_error"] or None
        zone = UTC if values.get("utc") else None
        command(**values, where=TraceFilter.of(zone=zone, **chosen))

    own = {name: one for name, one in inspect.signature(command, eval_str=True).parameters.items() if name != "where"}
    added = {
        name: inspect.Parameter(
            name, inspect.Parameter.KEYWORD_ONLY, annotation=option, default=False if name == "has_error" else None
        )
        for name, option in _OPTIONS.items()
    }
    parameters = [one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in own.values()] + [*added.values()]
    wrapper.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    wrapper.__annotations__ = {one.name: one.annotation for one in parameters}
    wrapper.__name__, wrapper.__doc__ = command.__name__, command.__doc__
    return wrapper


def folder_or(path: Path | None) -> Path:
    """Return *path*, or the folder that programs started here write to."""
    return path or Configuration().settings().base_path
