"""
The benchmarks run and say what they found; what the figures are is not for a test to judge.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import offline
import pytest

import fluxloop
from benchmarks.registry import CASES, REPORTS, Case, found, modules_of_workloads
from benchmarks.results import Aim, Row, Spread
from benchmarks.table import HEADINGS, table

ROOT = Path(__file__).parent.parent


OURS = [name for name, module in modules_of_workloads().items() if "_" not in module]
"""The workloads that need no framework."""


@pytest.mark.parametrize("names", [OURS, pytest.param([], marks=pytest.mark.slow)], ids=["ours", "all"])
def test_a_quick_run_prints_a_row_for_each_workload_and_nothing_comes_out_wrong(tmp_path, names):
    """
    `python -m benchmarks --quick` measures every workload, loses nothing, and prints a table.
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
    assert [row["workload"] for row in rows if row["aim"] and not row["figure"]["middle"] > 0] == []


def test_every_workload_is_known_by_the_name_it_registers():
    """
    Names are read from the sources of the modules, and each leads to the workload of that name.
    """
    assert {"small", "large-redacted", "import", "kill"} <= set(OURS)
    for name in OURS:
        workload = found(name)

        assert isinstance(workload, Case) is (name in CASES)
        assert workload is (CASES.get(name) or REPORTS[name])


def test_every_workload_is_explained():
    """
    Each workload has its line in the table of `docs/benchmarks.md`.
    """
    explained = re.findall(r"^\| `([\w-]+)` ", (ROOT / "docs/benchmarks.md").read_text(), re.MULTILINE)

    assert sorted(explained) == sorted(modules_of_workloads())


def test_an_unknown_workload_is_named():
    """
    A workload that there is not ends the run, and the message says which there are.
    """
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", "smal"],
        cwd=ROOT,
        env=offline.environment(),
        capture_output=True,
        text=True,
    )

    assert done.returncode == 2
    assert "there is no workload 'smal'; there are small, large," in " ".join(done.stderr.split())


def test_the_program_that_peers_run_too_records_every_call(tmp_path):
    """
    What is measured of FluxLoop beside other libraries is the recording of each call, in their program.
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
        (Row("w", figure=Spread(1, 2, 3), aim=Aim(2, "x")), True),
        (Row("w", figure=Spread(1, 2.1, 3), aim=Aim(2, "x")), False),
        (Row("w", figure=Spread(1, 1, 1), aim=Aim(2, "x"), faults=("1 lost",)), False),
        (Row("w", faults=("1 lost",)), False),
        (Row("w", figure=Spread(1, 2, 3)), None),
    ],
    ids=["reached", "missed", "reached with a loss", "a loss", "no aim"],
)
def test_an_aim_is_met_by_the_median_and_without_a_fault(row, met):
    """
    A row meets its aim where the median reaches it and nothing was lost; without an aim there is nothing to meet.
    """
    assert row.met is met


def test_the_table_shows_what_was_found_and_leaves_the_rest_empty():
    """
    A row shows its figures in columns, a miss in capitals, and what came out wrong at its end.
    """
    shown = table(
        [
            Row("fast", bare=0.5, floor=3, ours=6, figure=Spread(1.9, 2, 2.2), aim=Aim(2.5, "x")),
            Row("lossy", faults=("3 lost",), note="of 10"),
        ]
    )

    assert shown.splitlines() == [
        "workload     bare  floor adds  ours adds  result  quartiles    aim       met",
        "fast      0.50 us     3.00 us    6.00 us  2.00 x  1.90 - 2.20  <= 2.5 x  yes",
        "lossy                                                                    NO   3 lost; of 10",
    ]


def printed_rows(output: str) -> list[str]:
    """The first words of the table's lines, below its headings."""
    lines = output.splitlines()
    begin = next(number for number, line in enumerate(lines) if re.split(r"\s{2,}", line.strip())[0] == HEADINGS[0])
    return [line.split()[0] for line in lines[begin + 1 :]]
