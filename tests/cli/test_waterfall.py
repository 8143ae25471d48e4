"""
Offsets and bars: when each observation ran, on a scale of the whole trace.
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from reading_aids import observation, trace_line

from fluxloop.cli import formatting
from fluxloop.cli.tree import render
from fluxloop.cli.waterfall import FROM, Timeline, bar_width
from fluxloop.reading import traces_of
from fluxloop.reading.outline import UNKNOWN


def timed(id: str, start_ms: int, end_ms: int, parent: str | None = "root", **fields: object) -> dict[str, object]:
    times = {f"{name}_time": f"2026-01-17T14:30:22.{ms:03d}000Z" for name, ms in (("start", start_ms), ("end", end_ms))}
    return observation(id, parent, seq=start_ms, duration_ms=float(end_ms - start_ms), **times, **fields)


def fan_out():
    records = [
        timed("root", 0, 800, None, type="AGENT", name="Agent"),
        timed("plan", 0, 200),
        timed("a", 200, 700),
        timed("b", 201, 500, status="error", error="boom"),
        timed("cached", 500, 500, type="EVENT"),
        timed("end", 700, 800),
    ]
    (trace,) = traces_of([*records, trace_line(name="Agent", start_time="2026-01-17T14:30:22.000000Z")])
    return trace


def test_parallel_work_looks_parallel():
    """
    Bars of observations that ran at the same time are above each other; a point in time has a sign.
    """
    lines = render(fan_out(), 128).plain.split("\n")[3:]

    assert [line[111:] for line in lines if line[:1].isupper()] == [
        " ━━━━━━━━━━━━━━━━",
        " ━━━━",
        "     ━━━━━━━━━━",
        "     ━━━━━━",
        "           ◆",
        "               ━━",
    ]
    assert [line.split()[3] for line in lines if "+" in line] == ["+200", "+201", "+500", "+700"]


def test_ascii_outputs_have_bars_of_ascii():
    """
    Outputs that cannot show the bars have equals signs.
    """
    text = render(fan_out(), 128, signs=formatting.ASCII).plain

    assert text.isascii()
    assert "=" * 16 in text


@pytest.mark.parametrize("width", [60, 100, FROM - 1])
def test_a_narrow_tree_has_no_bars(width):
    """
    Below the minimum width, the columns are those of a tree without bars.
    """
    assert "━" not in render(fan_out(), width).plain
    assert "+" not in render(fan_out(), width).plain


def test_a_single_observation_has_no_bar():
    """
    There is nothing to compare it with.
    """
    (trace,) = traces_of([timed("root", 0, 800, None)])

    assert "━" not in render(trace, 120).plain


@given(st.integers(-100, 2000), st.integers(-100, 2000), st.integers(FROM, 300))
def test_a_bar_stays_in_its_columns(start, length, width):
    """
    For any times, also before and after the trace, a bar has at least one character and at most its columns.
    """
    for signs in (formatting.UNICODE, formatting.ASCII):
        timeline = Timeline(0, 1000, bar_width(width), signs)
        bar = "".join(text for text, _ in timeline.bar(start, UNKNOWN if length == -1 else start + length, ""))

        assert len(bar) <= bar_width(width)
        assert bar.strip()
