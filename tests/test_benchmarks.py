"""
The benchmarks run and report their results. The tests do not check the measured values.
"""

from __future__ import annotations

import itertools
import json
import re
import subprocess
import sys
from math import isfinite
from pathlib import Path

import offline
import pytest

import fluxloop
from benchmarks import aims
from benchmarks.registry import CASES, REPORTS, Case, found, modules_of_workloads
from benchmarks.results import Row, Spread, Target
from benchmarks.table import HEADINGS, table

ROOT = Path(__file__).parent.parent


CORE_WORKLOADS = [name for name, module in modules_of_workloads().items() if "_" not in module]
"""The workloads that need no framework."""

SOME_WORKLOADS = ["small", "stream", "import", "kill", "reading", "parse", "cassette"]
"""Compared calls and reports, in this process and in others."""


@pytest.mark.parametrize("names", [SOME_WORKLOADS, pytest.param([], marks=pytest.mark.slow)], ids=["some", "all"])
def test_a_quick_run_prints_a_row_per_workload_without_faults(tmp_path, names):
    """
    `python -m benchmarks --quick` measures every workload, finds no fault, and prints a table.
    """
    file = tmp_path / "found.json"
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", *names, "--quick", "--json", str(file)],
        cwd=ROOT,
        env=offline.environment(),
        capture_output=True,
        text=True,
    )
    rows = json.loads(file.read_text())["rows"]

    assert done.returncode == 0, done.stdout + done.stderr
    assert printed_rows(done.stdout) == (names or [*modules_of_workloads()])
    assert [row["workload"] for row in rows] == printed_rows(done.stdout)
    assert [row["faults"] for row in rows if row["faults"]] == []
    measured = {row["workload"]: row["figure"]["middle"] for row in rows if row["target"]}
    wrong = [name for name, figure in measured.items() if not isfinite(figure) or figure == 0]
    assert wrong == []  # noise can make a figure negative, which is a difference, but no time that was measured
    assert [row["workload"] for row in rows if row["bare"] is not None and not row["bare"] > 0] == []


def test_every_workload_is_found_by_its_name():
    """
    The workload names are read from the source files, and each name loads the workload of that name.
    """
    assert {"small", "large-redacted", "import", "kill"} <= set(CORE_WORKLOADS)
    for name in CORE_WORKLOADS:
        workload = found(name)

        assert isinstance(workload, Case) is (name in CASES)
        assert workload is (CASES.get(name) or REPORTS[name])


def test_every_workload_is_documented():
    """
    Each workload has a row in the table of `docs/benchmarks.md`.
    """
    explained = re.findall(r"^\| `([\w-]+)` ", (ROOT / "docs/benchmarks.md").read_text(), re.MULTILINE)

    assert sorted(explained) == sorted(modules_of_workloads())


def test_an_unknown_workload_is_an_error():
    """
    An unknown workload is an error that lists the known workloads.
    """
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", "smal"],
        cwd=ROOT,
        env=offline.environment(),
        capture_output=True,
        text=True,
    )

    assert done.returncode == 2
    assert "unknown workload 'smal'; the workloads are small, large," in " ".join(done.stderr.split())


def test_the_program_for_peers_records_every_call_with_fluxloop(tmp_path):
    """
    The program for other libraries records every call when it runs with FluxLoop.
    """
    program = ROOT / "benchmarks" / "peer_program.py"
    command = [sys.executable, "-P", program, "fluxloop", tmp_path, "20"]
    done = subprocess.run(command, env=offline.environment(), capture_output=True, text=True)
    agents = [len(trace.children(trace.roots[0])) for trace in fluxloop.read_traces(tmp_path)]

    assert json.loads(done.stdout)["us"] > 0
    assert agents == [2] * 11


@pytest.mark.parametrize(
    ("row", "met"),
    [
        (Row("w", figure=Spread(1, 2, 3), target=Target(2, "x")), True),
        (Row("w", figure=Spread(1, 2.1, 3), target=Target(2, "x")), False),
        (Row("w", figure=Spread(1, 1, 1), target=Target(2, "x"), faults=("1 lost",)), False),
        (Row("w", faults=("1 lost",)), False),
        (Row("w", figure=Spread(1, 2, 3)), None),
    ],
    ids=["reached", "missed", "reached with a loss", "a loss", "no target"],
)
def test_a_target_is_met_by_the_median_and_without_a_fault(row, met):
    """
    A row meets its target if its median is within it and no fault occurred; without a target it is None.
    """
    assert row.met is met


def test_the_table_shows_the_figures_and_faults_of_a_row():
    """
    A row shows its figures in columns, a missed target in capitals, and its faults at the end.
    """
    shown = table(
        [
            Row("fast", bare=0.5, floor=3, ours=6, figure=Spread(1.9, 2, 2.2), target=Target(2.5, "x")),
            Row("lossy", faults=("3 lost",), note="of 10"),
        ]
    )

    assert shown.splitlines() == [
        "workload     bare  floor adds  FluxLoop adds  result  quartiles    target    met",
        "fast      0.50 us     3.00 us        6.00 us  2.00 x  1.90 - 2.20  <= 2.5 x  yes",
        "lossy                                                                        NO   3 lost; of 10",
    ]


def test_every_aim_is_measured_by_workloads_that_exist():
    """
    Each aim names a workload, and the bare run, the floor or another workload that it is compared with.
    """
    assert set(aims.workloads()) <= set(modules_of_workloads())
    assert len(aims.workloads()) >= 15


def test_the_aims_show_what_was_reached_and_mark_what_was_missed():
    """
    An aim shows the ratio of its row, or of two rows; a missed one is bold, and one without a figure is empty.
    """
    rows = [
        Row("small", floor=2, ours=5, figure=Spread(1, 2.5, 3)),
        Row("off", floor=0.5, ours=0.4, figure=Spread(1, 400, 500), figure_unit="ns"),
        Row("langgraph-fan-out", bare=10, ours=1),
        Row("graph-history-10", ours=2),
        Row("graph-history-1000", ours=50),
        Row("view-memory", ours=80, unit="MB", figure=Spread(80, 80, 80), figure_unit="MB"),
    ]
    shown = {
        line.split(" | ")[0].strip("| "): line.strip("| ").split(" | ")[-1] for line in aims.table(rows).split("\n")
    }

    assert shown["small call, over the floor"] == "**2.50 x**"
    assert shown["tracing off, over a passthrough"] == "0.80 x"
    assert shown["fan-out of 100, over the bare run"] == "0.10 x"
    assert shown["graph over 1,000 messages, over 10"] == "**25 x**"
    assert shown["the same, memory"] == "80 MB"
    assert shown["100 tasks x 10, over the floor"] == "2.1 x"  # the aim: nothing was measured


def test_a_run_replaces_the_aims_of_its_own_version_of_python(tmp_path):
    """
    The page keeps one table per version of Python, and the rest of its text.
    """
    page = tmp_path / "page.md"
    page.write_text("# Before\n\n<!-- aims: end -->\n\nAfter\n")
    for version, shown in [("3.11.7", "old"), ("3.13.0", "other"), ("3.11.9", r"new \1")]:
        aims.write(shown, {"python": version, "load": None}, page)

    assert page.read_text() == (
        "# Before\n\n<!-- aims: 3.11 -->\n### Python 3.11\n\npython 3.11.9\n\nnew \\1\n\n"
        "<!-- aims: 3.13 -->\n### Python 3.13\n\npython 3.13.0\n\nother\n\n<!-- aims: end -->\n\nAfter\n"
    )


def printed_rows(output: str) -> list[str]:
    """Return the first word of each row of the printed table."""
    lines = output.splitlines()
    begin = next(number for number, line in enumerate(lines) if re.split(r"\s{2,}", line.strip())[0] == HEADINGS[0])
    return [line.split()[0] for line in itertools.takewhile(str.strip, lines[begin + 1 :])]
