"""
Compare FluxLoop with other tracing libraries, each in a separate process, with a server that cannot be reached.

The dependencies of the libraries can conflict, so each can be installed in its own environment: `measured` takes a list
of interpreters.
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
"""With ``-P``, the folder of the program is not on the import path: its module names could hide those of a library."""

LONGEST_EXIT_S = 60
"""The longest time to wait for the exit of a program that has finished its work."""


def measured(interpreters: Sequence[str], *, is_quick: bool = False) -> Iterator[Row]:
    """Yield a row for each library that is installed for one of *interpreters*, or for the running interpreter."""
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
        line = next((text for text in process.stdout if text.startswith('{"us"')), None)
        waited = _ended(process)
    if line is None:
        return Row(f"{name} {version}", faults=("could not be set up",))
    found: dict[str, Any] = json.loads(line)
    exit_s = time.time() - found["done"]
    took = f"{exit_s:.1f} s to exit" if waited else f"had not exited after {LONGEST_EXIT_S} s"
    return Row(f"{name} {version}", ours=found["us"], note=took)


def _ended(process: subprocess.Popen[str]) -> bool:
    """Wait for *process* and return True; after `LONGEST_EXIT_S`, kill it and return False."""
    try:
        process.communicate(timeout=LONGEST_EXIT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        return False
    return True
