"""
Count the instructions of a call with callgrind, if valgrind is installed.

Counts do not depend on the load of the machine, and repeat to a few parts per thousand. The count per call is the
difference between a long and a short run, which removes start-up, imports and warm-up. Instructions of the kernel, such
as those of the write, are not counted.

    python -m benchmarks.instructions small ours 2000       the program that is counted
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from . import registry
from .measuring import prepared
from .registry import WAYS, Case
from .results import Row, Spread

SHORT, LONG = 2, 8
"""Lengths of the two runs, in thousands of calls, or in runs of a case if its runs have fewer calls."""


def is_available() -> bool:
    """Whether valgrind is installed."""
    return shutil.which("valgrind") is not None


def counted(case: Case) -> Row:
    """Return the instructions per call of each variant of *case*."""
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
    """Return the instructions of a process that makes *calls* calls."""
    with TemporaryDirectory() as folder:
        return run(name, way, calls, Path(folder, "out"))


def run(name: str, way: str, calls: int, out: Path) -> int:
    """Count a process that makes *calls* calls, and return its instructions; *out* gets those of each function."""
    command = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}", sys.executable]
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
