"""What the storage tests share: records, and Python processes that can be killed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import pytest

from fluxloop.storage import Record

DAY = "20260117"
ROOT = Path(__file__).parents[2]

IN_A_CHILD = """
import os, sys, time
from fluxloop.storage import FileStorage, Journal, Record

folder = sys.argv[1]

def record(number, kind="observation", day="20260117", **more):
    import json
    key = "trace_id" if kind == "trace" else "id"
    fields = {key: f"o{number}", "trace_id": f"t{number}", **more}
    return Record(kind, day, json.dumps(fields, separators=(",", ":")).encode() + b"\\n")

def head(number, **more):
    import json
    fields = {"id": f"o{number}", "trace_id": "t0", "name": f"n{number}", "start_time": "2026-01-17T23:59:59.000000Z"}
    return json.dumps(fields | more, separators=(",", ":")).encode()[:-1]
"""
"""How each script begins."""


@pytest.fixture
def record() -> Callable[..., Record]:
    """Make a record: ``record(1)``, ``record("t1", kind="trace")``, ``record(1, day="20260118", input="Hi")``."""

    def make(
        number: object, *, kind: Literal["observation", "trace"] = "observation", day: str = DAY, **more: Any
    ) -> Record:
        key = "trace_id" if kind == "trace" else "id"
        fields = {key: f"o{number}", "trace_id": f"t{number}", **more}
        return Record(kind, day, json.dumps(fields, separators=(",", ":")).encode() + b"\n")

    return make


@pytest.fixture
def head() -> Callable[..., bytes]:
    """Make the beginning of a record, as the recorder puts it into a journal."""

    def make(number: object, **more: Any) -> bytes:
        fields = {"id": f"o{number}", "trace_id": "t0", "name": "work", "start_time": "2026-01-17T23:59:59.000000Z"}
        return json.dumps(fields | more, separators=(",", ":")).encode()[:-1]

    return make


@pytest.fixture
def start() -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Start a Python process that runs a script: ``start(script, folder)``. What still runs is killed at the end."""
    running: list[subprocess.Popen[bytes]] = []

    def run(script: str, *args: object, stderr: int | None = None) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [sys.executable, "-c", IN_A_CHILD + textwrap.dedent(script), *map(str, args)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            bufsize=0,  # a line read from it takes nothing from what `communicate` returns later
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        running.append(process)
        return process

    yield run

    for process in running:
        process.kill()
        process.communicate()


@pytest.fixture
def lines() -> Callable[[Path], list[dict[str, Any]]]:
    """Decode a file as users do, one `json.loads` a line: every line has to be a whole document."""

    def read(path: Path) -> list[dict[str, Any]]:
        with path.open(encoding="utf-8") as file:
            return [json.loads(line) for line in file]

    return read
