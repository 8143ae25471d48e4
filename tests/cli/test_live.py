"""
The live view of running traces: it fits the terminal and shows the most recent observations.
"""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from reading_aids import head, observation
from rich.console import Console

from fluxloop.cli import live
from fluxloop.models import Trace
from fluxloop.reading import Assembly


def terminal(width: int = 80, height: int = 24) -> Console:
    return Console(file=io.StringIO(), force_terminal=True, width=width, height=height)


def running_trace(finished: int) -> Trace:
    """A trace whose root and last step are open, with *finished* steps before that."""
    assembly = Assembly("t1")
    for n in range(finished):
        at = f"2026-01-17T14:31:{n // 1000:02d}.{n % 1000:03d}000Z"
        assembly.add(observation(f"done{n}", "root", seq=n + 1, start_time=at, end_time=at))
    assembly.set_open([(True, head("root")), (True, head("now", "root", seq=finished + 1))])
    return assembly.trace()


def test_the_view_shows_running_traces_and_how_to_stop():
    """
    The view has the tree of each running trace and a status line.
    """
    lines = live.live_view([running_trace(1)], Path("traces"), terminal()).plain.split("\n")

    assert [text.split()[:3] for text in lines] == [
        ["Agent", "●", "running"],
        ["2026-01-17", "14:30:22", "UTC"],
        [],
        ["TOOL", "root", *lines[3].split()[2:3]],
        ["TOOL", "├─", "done0"],
        ["TOOL", "╰─", "now"],
        [],
        ["traces", "·", "1"],
    ]
    assert lines[-1] == "traces · 1 running · Ctrl-C ends"


@pytest.mark.parametrize(("waiting", "state"), [(True, "waiting for it to be created"), (False, "0 running")])
def test_a_view_without_running_traces_has_a_status_line(waiting, state):
    """
    The status line distinguishes a missing folder from one without running traces.
    """
    shown = live.live_view([], Path("traces"), terminal(), is_waiting=waiting).plain

    assert shown == f"traces · {state} · Ctrl-C ends"


def test_the_view_fits_the_terminal():
    """
    Of a long trace the most recent part is shown.
    """
    lines = live.live_view([running_trace(500)], Path("traces"), terminal(height=12)).plain.split("\n")

    assert len(lines) <= 12
    assert any("╰─ now" in text for text in lines)
    assert any("├─ done499" in text for text in lines)


def test_a_long_trace_is_reduced_to_its_recent_part():
    """
    The open observations, those that ended last, and their ancestors, however long the program runs.
    """
    reduced = live.reduced(running_trace(500), count=4)

    assert [o.name for o in reduced.observations] == ["root", "done498", "done499", "now"]
    assert live.reduced(reduced, count=4) is reduced
