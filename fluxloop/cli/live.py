"""
``fluxloop view --follow``: growing trees in a terminal, one line per ended observation in a pipe.
"""

from __future__ import annotations

import sys
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
from ..reading.remote import Server
from ..reading.remote_watch import RemoteWatch
from ..reading.source import url_of
from ..reading.to_json import observation_line
from ..reading.watch import Changes, Watch
from .formatting import console, print_json, rule, shortened, signs
from .summaries import observation_summary
from .tree import render


def follow_in_lines(
    path: Path, matches_id: Callable[[str], object], output: Console, *, as_json: bool, utc: bool = True
) -> None:
    """Print one line per observation as it ends, until interrupted; a line on stderr reports the start."""
    watch = _watch(path, matches_id)
    state = "waiting for" if watch.is_waiting else "following"
    console(stderr=True).print(f"fluxloop: {state} {path}, Ctrl-C ends", markup=False, soft_wrap=True)
    for changes in _polls(watch):
        for trace_name, observation in changes.observations:
            if as_json:
                print_json(observation_line(observation))
            else:
                line = observation_summary(observation, trace_name, signs=signs(output), utc=utc)
                output.print(line, soft_wrap=True)
        sys.stdout.flush()


def follow_in_place(
    path: Path,
    matches_id: Callable[[str], object],
    output: Console,
    *,
    last: int = 1,
    full: bool = False,
    utc: bool = True,
) -> None:
    """Draw the running traces as growing trees below the *last* ended ones, until interrupted."""
    watch = _watch(path, matches_id)
    for trace in _last_ended(path, matches_id, last):
        _print(trace, output, full, utc)
    changes = Changes()
    try:
        with Live(console=output, auto_refresh=False, transient=True, vertical_overflow="crop") as live:
            for changes in _polls(watch):
                for trace in changes.ended:
                    _print(trace, output, full, utc)
                drawn = live_view(changes.running, path, output, is_waiting=watch.is_waiting, utc=utc)
                live.update(drawn, refresh=True)
    finally:  # the last state stays on the screen
        for trace in changes.running:
            _print(trace, output, full, utc)


def _watch(path: Path, matches_id: Callable[[str], object]) -> Watch | RemoteWatch:
    """Return what watches a folder, a file or a collector."""
    url = url_of(path)
    return Watch(path, matches_id) if url is None else RemoteWatch(Server(url), matches_id)


def _last_ended(path: Path, matches_id: Callable[[str], object], last: int) -> list[Trace]:
    with suppress(ReadError):  # the path may not exist yet
        newest: Iterator[Trace]
        if (url := url_of(path)) is not None:
            newest = (trace for trace in Server(url).traces(newest_first=True) if matches_id(trace.trace_id))
        else:
            newest = TraceReader(path, matches_id=matches_id).newest()
        ended = (trace for trace in newest if trace.status is not None)
        return [*islice(ended, last)][::-1]
    return []


def live_view(running: list[Trace], path: Path, output: Console, *, is_waiting: bool = False, utc: bool = True) -> Text:
    """Return the running traces and a status line, cut at the top to the height of the terminal."""
    characters, now = signs(output), datetime.now(UTC)
    height = max(4, output.height - 2)
    trees = [
        render(reduced(trace, height), output.width, signs=characters, now=now, utc=utc, folds=False)
        for trace in running
    ]
    lines = [line for tree in trees for line in (*tree.split("\n", allow_blank=True), Text())]
    state = "waiting for it to be created" if is_waiting else f"{len(running)} running"
    footer = Text(f" {characters.dot} ".join((str(path), state, "Ctrl-C ends")), style="dim")
    return Text("\n").join([*lines[-height:], shortened(footer, output.width, characters)])


def reduced(trace: Trace, count: int) -> Trace:
    """Return *trace* with about *count* observations: the open ones, the last to end, and the ancestors of both."""
    if len(trace.observations) <= count:
        return trace
    by_id = {o.id: o for o in trace.observations}
    selected: set[str] = set()
    for observation in sorted(trace.observations, key=_recency, reverse=True):
        if len(selected) >= count:
            break
        ancestor: ObservationData | None = observation
        while ancestor and ancestor.id not in selected:
            selected.add(ancestor.id)
            ancestor = by_id.get(ancestor.parent_id or "")
    return trace.model_copy(update={"observations": [o for o in trace.observations if o.id in selected]})


def _recency(observation: ObservationData) -> tuple[bool, datetime]:
    return observation.status is None, observation.end_time or observation.start_time


def _polls(watch: Watch | RemoteWatch) -> Iterator[Changes]:
    """Yield the changes, with a pause that is three times as long as a poll or longer: watching takes little CPU."""
    while True:
        started = time.monotonic()
        yield watch.poll()
        time.sleep(max(watch.pause_s, 3 * (time.monotonic() - started)))


def _print(trace: Trace, output: Console, full: bool, utc: bool) -> None:
    now = datetime.now(UTC)
    output.print(render(trace, output.width, full, signs=signs(output), now=now, utc=utc), soft_wrap=True)
    output.print(rule(output), soft_wrap=True)
