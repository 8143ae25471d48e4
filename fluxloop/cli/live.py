"""
Show programs while they run: trees that grow in a terminal, one line per ended observation in a pipe.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

from rich.console import Console
from rich.live import Live
from rich.text import Text

from ..errors import ReadError
from ..models import ObservationData, Trace
from ..reading import TraceReader
from ..reading.to_json import observation_line
from ..reading.watch import Seen, Watch
from . import terminal
from .oneline import cut, ended
from .tree import render
from .view import rule

PAUSE_S = 0.2
"""Seconds between two looks; longer where a look takes long, so that watching costs little beside the watched."""


def follow_in_lines(path: Path, wanted: Callable[[str], object], console: Console, *, as_json: bool) -> None:
    """Print one line per observation as it ends, until interrupted; stderr says when the watching has begun."""
    watch = Watch(path, wanted)
    doing = "waiting for" if watch.is_waiting else "following"
    terminal.console(stderr=True).print(f"fluxloop: {doing} {path}, Ctrl-C ends", markup=False, soft_wrap=True)
    for seen in _looks(watch):
        for trace_name, observation in seen.observations:
            if as_json:
                console.file.write(observation_line(observation) + "\n")
            else:
                console.print(ended(observation, trace_name, signs=terminal.signs(console)), soft_wrap=True)
        console.file.flush()


def follow_in_place(
    path: Path, wanted: Callable[[str], object], console: Console, *, last: int = 1, full: bool = False
) -> None:
    """Show the traces that run as trees that grow, below the *last* ones that ended, until interrupted."""
    watch = Watch(path, wanted)
    for trace in _ended_before(path, wanted, last):
        _print(trace, console, full)
    seen = Seen()
    try:
        with Live(console=console, auto_refresh=False, transient=True, vertical_overflow="crop") as live:
            for seen in _looks(watch):
                for trace in seen.ended:
                    _print(trace, console, full)
                live.update(picture(seen.running, path, console, is_waiting=watch.is_waiting), refresh=True)
    finally:  # what was on the screen stays there
        for trace in seen.running:
            _print(trace, console, full)


def _ended_before(path: Path, wanted: Callable[[str], object], last: int) -> list[Trace]:
    with suppress(ReadError):  # the path may be still to come
        ended = (trace for trace in TraceReader(path, matches_id=wanted).newest() if trace.status is not None)
        return [*islice(ended, last)][::-1]
    return []


def picture(running: list[Trace], path: Path, console: Console, *, is_waiting: bool = False) -> Text:
    """Return the running traces and a line about them, cut at the top to the height of the terminal."""
    signs, now = terminal.signs(console), datetime.now(UTC)
    room = max(4, console.height - 2)
    drawings = [render(focused(trace, room), console.width, signs=signs, now=now) for trace in running]
    lines = [line for drawing in drawings for line in (*drawing.split("\n", allow_blank=True), Text())]
    state = "waiting for it to appear" if is_waiting else f"{len(running)} running"
    footer = Text(f" {signs.dot} ".join((str(path), state, "Ctrl-C ends")), style="dim")
    return Text("\n").join([*lines[-room:], cut(footer, console.width, signs)])


def focused(trace: Trace, most: int) -> Trace:
    """Return *trace* with about *most* observations: what is open, what ended last, and all above these."""
    if len(trace.observations) <= most:
        return trace
    by_id = {o.id: o for o in trace.observations}
    kept: set[str] = set()
    for observation in sorted(trace.observations, key=_recency, reverse=True):
        if len(kept) >= most:
            break
        above: ObservationData | None = observation
        while above and above.id not in kept:
            kept.add(above.id)
            above = by_id.get(above.parent_id or "")
    return trace.model_copy(update={"observations": [o for o in trace.observations if o.id in kept]})


def _recency(observation: ObservationData) -> tuple[bool, datetime]:
    return observation.status is None, observation.end_time or observation.start_time


def _looks(watch: Watch) -> Iterator[Seen]:
    while True:
        begun = time.monotonic()
        yield watch.look()
        time.sleep(max(PAUSE_S, 3 * (time.monotonic() - begun)))


def _print(trace: Trace, console: Console, full: bool) -> None:
    now = datetime.now(UTC)
    console.print(render(trace, console.width, full, signs=terminal.signs(console), now=now), soft_wrap=True)
    console.print(rule(console), soft_wrap=True)
