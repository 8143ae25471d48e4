"""
Count the instructions of a call, with callgrind where valgrind is installed.

A count does not depend on what else the machine does, and repeats to a few in a thousand. What a call takes is the
difference of two runs of different length, so that starting, importing and warming up cancel out. The kernel's part,
which is the write, is not in it.

    python -m benchmarks.instructions small ours 2000       what a counted process runs
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from tempfile import TemporaryDirectory

from . import registry
from .measuring import prepared
from .registry import WAYS, Case
from .results import Row, Spread

SHORT, LONG = 2, 8
"""Length of the two runs, in thousands of calls, or in the runs of a case whose calls are large."""


def is_available() -> bool:
    """Whether valgrind is installed."""
    return shutil.which("valgrind") is not None


def counted(case: Case) -> Row:
    """Return what the ways of *case* take, in instructions per call."""
    with prepared(case) as (ways, _):
        names = [name for name in WAYS if getattr(ways, name) is not None]
    per_call = {name: _per_call(case, name) for name in names}
    added = {name: count - per_call["bare"] for name, count in per_call.items()}
    return Row(
        case.name,
        bare=per_call["bare"],
        floor=added.get("floor"),
        ours=added["ours"],
        unit="instructions",
        figure=Spread.of([added["ours"] / added["floor"]]) if "floor" in added else None,
    )


def _per_call(case: Case, way: str) -> float:
    unit = min(case.calls, 1_000)
    short, long = (_total(case.name, way, length * unit) for length in (SHORT, LONG))
    return (long - short) / ((LONG - SHORT) * unit)


def _total(name: str, way: str, calls: int) -> int:
    """Return the instructions of a whole process that makes *calls* calls."""
    with TemporaryDirectory() as folder:
        command = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={folder}/out", sys.executable]
        done = subprocess.run(
            [*command, "-m", f"{__package__}.instructions", name, way, str(calls)],
            capture_output=True,
            text=True,
            env={**os.environ, "PYTHONHASHSEED": "0"},
        )
    found = re.search(r"Collected\s*:\s*(\d+)", done.stderr)
    if done.returncode or found is None:
        raise RuntimeError(f"callgrind could not count {name} {way}: {done.stderr[-2_000:]}")
    return int(found[1])


def _run(name: str, way: str, calls: int) -> None:
    case = registry.found(name)
    assert isinstance(case, Case)
    with prepared(case) as (ways, _):
        getattr(ways, way)(calls)


if __name__ == "__main__":
    _run(sys.argv[1], sys.argv[2], int(sys.argv[3]))
