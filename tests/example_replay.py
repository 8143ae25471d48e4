"""
Run an example and keep what it records, or run it again with the answers of these records.

``python -m example_replay EXAMPLE record`` or ``... replay``, each in a folder of its own beside the records.
"""

from __future__ import annotations

import os
import runpy
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import fluxloop
from fluxloop import testing
from fluxloop.replay.cassette_files import write

RECORDS = Path("../all.jsonl")


def record(example: str) -> None:
    """Run *example*, and write the traces that it captures or writes to files."""
    seen, original = [], testing.capture

    @contextmanager
    def capture(*args: Any, **options: Any) -> Iterator[Any]:
        with original(*args, **options) as captured:
            yield captured
        seen.extend(captured.traces())

    testing.capture = capture
    runpy.run_path(example, run_name="__main__")
    folders = {file.parent for file in Path().rglob("observations_*.jsonl")}
    write(RECORDS, [*seen, *(trace for folder in folders for trace in fluxloop.read_traces(folder))])


def replay(example: str) -> None:
    """Run *example*, whose calls are all answered."""
    with fluxloop.replay(RECORDS) as opened:
        runpy.run_path(example, run_name="__main__")
    report = opened.report()
    assert (report.misses, report.unused, report.live) == ((), (), 0), report


if __name__ == "__main__":
    sys.path.insert(0, os.path.dirname(sys.argv[1]))
    {"record": record, "replay": replay}[sys.argv[2]](sys.argv[1])
