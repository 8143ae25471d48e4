"""
Which rows a tree has: all of a usual trace, a bounded number of a large one, and what options select.
"""
# ruff: noqa: RUF001 - the sign between a name and its count

from __future__ import annotations

import subprocess
import sys
import time

import offline
import pytest
from hypothesis import given
from hypothesis import strategies as st
from reading_aids import line, observation, trace_line, written

from fluxloop.cli import folding
from fluxloop.cli.folding import MAX_FAILED, MAX_ROWS, MAX_RUN, Only, plan
from fluxloop.cli.tree import render
from fluxloop.enums import ObservationType, Status
from fluxloop.models import ObservationData, Trace
from fluxloop.reading import read_traces, traces_of
from fluxloop.reading.outline import Outline


def one(id: str, parent: str | None = "root", **fields: object) -> dict[str, object]:
    number = int("".join(filter(str.isdigit, id)) or 0)
    at = f"2026-01-17T14:30:22.{123456 + number:06d}Z"
    return observation(id, parent, **{"seq": number + 1, "start_time": at, "end_time": at, **fields})


def agent(*below: dict[str, object]) -> Trace:
    (trace,) = traces_of([observation("root", type="AGENT", name="Agent"), *below, trace_line(name="Agent")])
    return trace


def shown(trace: Trace, **options: object) -> list[str]:
    """The rows of the tree without columns, and the lines below the tree."""
    lines = render(trace, 100, **options).plain.split("\n")
    return [line[:50].rstrip() for line in lines if line[:1].isupper() or "folded" in line]


FAILED = {"status": "error", "level": "ERROR", "error": "boom"}


def test_a_long_run_of_equal_siblings_is_one_row():
    """
    398 searches are one row with their count, and the failed ones have rows of their own.
    """
    searches = [one(f"s{n}", name="search", **FAILED if n in (70, 300) else {}) for n in range(398)]
    lines = render(agent(*searches, one("s398", name="answer")), 100).plain.split("\n")

    assert lines[2:] == [
        "2 errors inside (search)",
        "",
        "AGENT       Agent                                                 333 ms               ✓ success",
        "TOOL        ├─ search × 398                                       333 ms               ✗ 2 failed",
        "            │     333 ms each",
        "TOOL        ├─ search                                             333 ms               ✗ error",
        "            │     boom",
        "TOOL        ├─ search                                             333 ms               ✗ error",
        "            │     boom",
        "TOOL        ╰─ answer                                             333 ms               ✓ success",
        "",
        "396 observations folded; --full shows all, --only errors those that failed",
    ]


def test_a_short_run_is_not_folded():
    """
    Parallel calls of the usual number keep their rows.
    """
    searches = [one(f"s{n}", name="search") for n in range(MAX_RUN)]

    assert len(shown(agent(*searches))) == 1 + 1 + MAX_RUN
    assert "× 21" in shown(agent(*searches, one("s99", name="search")))[2]


def test_the_full_view_folds_nothing():
    """
    ``--full`` has a row for every observation.
    """
    searches = [one(f"s{n}", name="search") for n in range(1_200)]

    assert len(shown(agent(*searches), full=True)) == 1 + 1 + 1_200


def test_a_folded_row_counts_what_is_below_it():
    """
    Observations below the members of a run, and the failures among them, are counted; the failed ones are shown.
    """
    steps = [one(f"s{n}", name="step") for n in range(30)]
    calls = [one(f"c{100 + n}", f"s{n}", name="call", **FAILED if n == 7 else {}) for n in range(30)]
    text = render(agent(*steps, *calls), 100).plain

    assert "333 ms each · 30 observations below them, 1 failed" in text
    assert shown(agent(*steps, *calls))[2:5] == [
        "TOOL        ├─ step × 30",
        "TOOL        ╰─ step",
        "TOOL           ╰─ call",
    ]


def test_very_many_different_siblings_share_a_row_in_the_middle():
    """
    A loop of two steps, a thousand times: the first and last have rows, those between share one.
    """
    steps = [one(f"s{n}", name=("plan", "act")[n % 2], **FAILED if n % 200 == 100 else {}) for n in range(2_000)]
    rows = shown(agent(*steps))
    (middle,) = (row for row in rows if "more" in row)

    assert middle == "TOOL        ├─ 1,940 more: act × 970, plan × 970"
    assert len(rows) == 2 + folding.MAX_SIBLINGS + 1 + MAX_FAILED + 1


def test_depth_limits_the_levels():
    """
    ``--depth`` shows that many levels, and counts the observations below.
    """
    trace = agent(one("a1"), one("b2", "a1"), one("c3", "b2", **FAILED), one("d4"))
    lines = render(trace, 100, depth=2).plain

    assert shown(trace, depth=2)[1:] == ["AGENT       Agent", "TOOL        ├─ a1", "TOOL        ╰─ d4"]
    assert "2 observations below, 1 failed" in lines
    assert shown(trace, depth=1)[1:] == ["AGENT       Agent"]
    assert len(shown(trace, depth=9)) == 6


def test_only_shows_what_matches_and_its_ancestors():
    """
    ``--only`` shows the matching observations with their values, and without values the ones they are in.
    """
    trace = agent(
        one("a1", type="CHAIN", output="of the chain"),
        one("b2", "a1", type="GENERATION", output="of the model"),
        one("c3", "a1", **FAILED),
        one("d4", type="SPAN"),
    )

    assert shown(trace, only=Only.GENERATIONS)[1:] == [
        "AGENT       Agent",
        "CHAIN       ╰─ a1",
        "GENERATION     ╰─ b2",
    ]
    assert [row.split()[-1] for row in shown(trace, only=Only.ERRORS)[1:]] == ["Agent", "a1", "c3"]
    assert [row.split()[-1] for row in shown(trace, only=Only.TOOLS)[1:]] == ["Agent", "a1", "c3"]
    text = render(trace, 100, only=Only.GENERATIONS).plain
    assert "1 of 5 observations: generations, and what they are in" in text
    assert "of the model" in text
    assert "of the chain" not in text


def test_only_without_a_match_has_no_rows():
    """
    A trace without errors has a header and the number.
    """
    assert render(agent(), 100, only=Only.ERRORS).plain.split("\n")[2:] == [
        "0 of 1 observation: errors, and what they are in"
    ]


kinds = st.sampled_from(ObservationType)
traces = st.lists(
    st.builds(
        ObservationData,
        id=st.sampled_from([f"n{n}" for n in range(60)]),
        parent_id=st.none() | st.sampled_from([f"n{n}" for n in range(60)]),
        type=kinds,
        name=st.sampled_from("ab"),
        status=st.sampled_from([Status.SUCCESS, Status.SUCCESS, Status.ERROR, None]),
    ),
    max_size=60,
    unique_by=lambda o: o.id,
)


@given(traces, st.none() | st.integers(1, 4), st.none() | st.sampled_from(Only), st.integers(5, 40))
def test_every_observation_has_a_row_or_is_counted(several, depth, only, limit):
    """
    For any trace and options, rows, shared rows and counts cover each selected observation once.
    """
    outline = Outline(Trace(trace_id="t", observations=several))
    chosen = plan(outline, depth=depth, only=only, limit=limit)
    own = [row.positions[0] for row in chosen.rows if not row.is_shared]

    assert len(own) == len({*own})
    selected = len(outline) if chosen.matched is None else chosen.matched
    contexts = sum(row.is_context for row in chosen.rows)
    assert chosen.folded == selected - len(own) + contexts
    if not any(row.is_shared for row in chosen.rows):
        assert chosen.folded == sum(row.hidden for row in chosen.rows)
    everything = plan(outline, only=only, folds=False)
    assert everything.folded == 0


SHAPES = {"flat": lambda n: 0, "chain": lambda n: n - 1, "bushes": lambda n: n - n % 50 if n % 50 else 0}


@pytest.mark.parametrize("shape", SHAPES)
def test_the_rows_of_a_large_trace_are_bounded(tmp_path, shape):
    """
    Of 20,000 observations in any shape, a bounded number of lines is printed, with a note of the rest.
    """
    records = [one(f"o{n}", f"o{SHAPES[shape](n)}" if n else None, name=f"step{n % 7}") for n in range(20_000)]
    (trace,) = read_traces(written(tmp_path, *records, trace_line()))
    lines = render(trace, 120).plain.split("\n")

    assert len(lines) < 4 * MAX_ROWS
    assert "observations folded; --full shows all" in lines[-1]


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads the peak of the memory from /proc")
def test_a_trace_of_a_hundred_thousand_is_viewed_in_bounded_time_and_memory(tmp_path):
    """
    ``fluxloop view`` of 100,000 observations takes at most 3 times as long as reading them, and 150 MB.
    """
    padding = "some text that was found " * 6
    records = (
        one(f"o{n}", f"o{n - n % 50}" if n % 50 else None, name=f"s{n % 9}", output=padding) for n in range(100_000)
    )
    written_at_once(tmp_path, records)
    started = time.process_time()
    (trace,) = read_traces(tmp_path)
    read_s = time.process_time() - started
    del trace
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, str(tmp_path)], env=offline.environment(), capture_output=True, text=True
    )
    draw_s, peak_kb = map(float, done.stderr.split()[-2:])

    assert peak_kb / 1024 < 150
    assert draw_s < 3.5 * read_s  # half a time more than the aim, as other programs run on the machine


MEASURED = """
import gc, re, sys, time
from pathlib import Path
from fluxloop.cli.tree import tree_lines
from fluxloop.cli.value_lines import Look
from fluxloop.reading import read_traces
gc.set_threshold(50_000)
started = time.process_time()
(trace,) = read_traces(sys.argv[1])
for line in tree_lines(trace, Look(120)):
    print(line)
peak = re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]
print(time.process_time() - started, peak, file=sys.stderr)
"""


def written_at_once(folder, records):
    (folder / "observations_20260117.jsonl").write_bytes(b"".join(map(line, records)))
    (folder / "traces_20260117.jsonl").write_bytes(line(trace_line()))
