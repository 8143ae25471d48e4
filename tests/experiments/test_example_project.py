"""
The project in `examples/experiment` runs as its README says.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from experiments.projects import fluxloop_in, newest, rows

import fluxloop

EXAMPLE = Path(__file__).parents[2] / "examples/experiment"


def test_the_example_project_runs_as_it_is(tmp_path):
    """
    In a copy of the folder, 20 of 30 runs succeed, and the failed ones are traces with their error.
    """
    folder = shutil.copytree(EXAMPLE, tmp_path / "experiment", ignore=shutil.ignore_patterns("__pycache__"))

    done = fluxloop_in(folder, "run", "experiment")

    assert done.code == 0, done.err
    assert "20 of 30 runs succeeded (66.7%)" in done.out
    assert {row["input_id"] for row in rows(folder) if not row["success"]} == {"atlantis"}
    failed = list(fluxloop.read_traces(newest(folder) / "artifacts", status="error"))
    assert len(failed) == 10
    assert fluxloop.testing.outline(failed[0]).splitlines()[2:] == [
        "    TOOL find_flight [error: no airport in Atlantis]"
    ]
