"""
Choose the traces `fluxloop view` shows, and show them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from rich.console import Console
from rich.text import Text

from ..errors import ReadError
from ..models import Trace
from ..reading import TraceReader
from .oneline import summaries
from .terminal import signs
from .tree import render

EARLIER = 5
"""Traces that are listed in a line each, above the newest, where nothing was asked for."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """The traces to show, oldest first."""

    shown: list[Trace]
    earlier: list[Trace]
    """Those just before, of which a line will do."""


def choose(path: Path, *, trace_id: str | None = None, last: int | None = None) -> Chosen:
    """
    Return the traces to show: those *trace_id* means, or the *last* ones, or the newest and a few before it.

    Raises:
        ReadError: If there are none; the message says what to do.
    """
    newest = TraceReader(path, matches_id=matching(trace_id)).newest()
    if trace_id is not None or last is not None:
        shown, earlier = [*islice(newest, last)], []
    else:
        shown, earlier = [*islice(newest, 1)], [*islice(newest, EARLIER)]
    if not shown:
        raise ReadError(_nothing(path, trace_id))
    return Chosen(shown[::-1], earlier[::-1])


def matching(trace_id: str | None) -> Callable[[str], object]:
    """Return what tells whether an id is meant: the whole of it, its beginning, or its end as it is printed."""
    if trace_id is None:
        return bool
    part = trace_id.strip().removeprefix("…").removeprefix("..")
    return lambda whole: whole.startswith(part) or whole.endswith(part)


def show(chosen: Chosen, console: Console, *, full: bool = False) -> None:
    """Print *chosen*: the earlier ones in a line each, the others as trees."""
    with_signs = signs(console)
    if chosen.earlier:
        console.print(summaries(chosen.earlier, console.width, signs=with_signs), soft_wrap=True)
    for number, trace in enumerate(chosen.shown):
        if number or chosen.earlier:
            console.print(rule(console), soft_wrap=True)
        console.print(render(trace, console.width, full, signs=with_signs), soft_wrap=True)


def rule(console: Console) -> Text:
    """Return the line that stands between two traces."""
    return Text(signs(console).rule * console.width, style="dim")


def _nothing(path: Path, trace_id: str | None) -> str:
    if trace_id is not None:
        return (
            f"{path}: no trace has an id that begins or ends with {trace_id!r}. "
            f"Next step: fluxloop view {path} --last 20 shows ids"
        )
    return (
        f"{path}: no traces in there yet. Next step: run a program with @fluxloop.agent on a function of it, "
        "or name the folder that it writes to"
    )
