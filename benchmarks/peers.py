"""
FluxLoop beside other tracing libraries, each in a process of its own, with a server that cannot be reached.

Libraries rarely agree on what else has to be installed, so each may live in an environment of its own: `measured`
is told which interpreters to look in.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from .results import Row

_PROGRAM = ("-P", str(Path(__file__).with_name("peer_program.py")))
"""Its own folder is kept from the modules it can import: a library may have one that is named like ours."""

LONGEST_EXIT_S = 60
"""After so long a program that has ended its work, and does not end, is ended."""


def measured(interpreters: Sequence[str], *, is_quick: bool = False) -> Iterator[Row]:
    """Yield a row for each library that is installed for one of *interpreters*, or for the one that runs."""
    for python in interpreters or [sys.executable]:
        installed = json.loads(subprocess.run([python, *_PROGRAM], capture_output=True, text=True, check=True).stdout)
        for name, version in installed.items():
            yield _row(python, name, version, 100 if is_quick else 1_000)


def _row(python: str, name: str, version: str, count: int) -> Row:
    with TemporaryDirectory() as folder:
        process = subprocess.Popen(
            [python, *_PROGRAM, name, folder, str(count)],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert process.stdout is not None
        said = next((line for line in process.stdout if line.startswith('{"us"')), None)
        waited = _ended(process)
    if said is None:
        return Row(f"{name} {version}", faults=("could not be set up",))
    found: dict[str, Any] = json.loads(said)
    exit_s = time.time() - found["done"]
    took = f"{exit_s:.1f} s to exit" if waited else f"had not exited after {LONGEST_EXIT_S} s"
    return Row(f"{name} {version}", ours=found["us"], note=took)


def _ended(process: subprocess.Popen[str]) -> bool:
    """Wait for *process*, and end it where it takes too long; say which."""
    try:
        process.communicate(timeout=LONGEST_EXIT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        return False
    return True
