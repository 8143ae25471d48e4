"""
Measure one trace with many observations: writing the last ones, its bytes, and `fluxloop view`.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile
from time import process_time
from typing import NamedTuple

import fluxloop

from . import floor
from .payloads import ANSWER, QUERY
from .registry import report
from .results import Row, Spread, Target

OBSERVATIONS = 100_000
QUICK_OBSERVATIONS = 2_000
STRETCH = 1_000
"""The observations at the start and at the end of a trace whose costs are compared."""

_ROOT = Path(fluxloop.__file__).parent.parent
_READING = "import sys, fluxloop; print(sum(len(trace.observations) for trace in fluxloop.read_traces(sys.argv[1])))"


def search(query: str, limit: int = 10) -> object:
    """Return the same answer for any query."""
    return ANSWER


@contextmanager
def _recorded(count: int) -> Iterator[tuple[Path, list[float]]]:
    """Yield a folder with one trace of *count* calls, and the seconds of each stretch of calls."""
    with TemporaryDirectory() as name:
        fluxloop.configure(base_path=name)
        try:
            tool, times = fluxloop.tool(search), []
            with fluxloop.instrument("run"):
                for _ in range(count // STRETCH):
                    begun = process_time()
                    for _ in range(STRETCH):
                        tool(QUERY)
                    times.append(process_time() - begun)
        finally:
            fluxloop.shutdown()
            fluxloop.reset_config()
        yield Path(name), times


@report("long-trace")
def long_trace(is_quick: bool) -> Row:
    """Compare the cost of the last calls of a long trace with that of its first."""
    with _recorded(10 * STRETCH if is_quick else OBSERVATIONS) as (_, times):
        # The very first calls fill caches.
        first, last = times[1:4], times[-3:]
    return Row(
        "long-trace",
        floor=1e6 * min(first) / STRETCH,
        ours=1e6 * min(last) / STRETCH,
        figure=Spread.of([late / early for early, late in zip(first, last, strict=True)]),
        target=Target(1.1, "x"),
        note=f"calls at the end of a trace of {len(times) * STRETCH:,}; floor: calls at its start",
    )


@report("bytes")
def size(is_quick: bool) -> Row:
    """Compare the bytes of the record of a small call with those that the floor writes."""
    with _recorded(STRETCH) as (folder, _), TemporaryDirectory() as other:
        ours = sum(path.stat().st_size for path in folder.glob("observations_*.jsonl")) / (STRETCH + 1)
        with floor.opened(Path(other)) as fd:
            by_hand = floor.function(fd, search)
            for _ in range(STRETCH):
                by_hand(QUERY)
            hand = os.fstat(fd).st_size / STRETCH
    return Row(
        "bytes",
        floor=hand,
        ours=ours,
        unit="bytes",
        figure=Spread.of([ours / hand]),
        target=Target(1.1, "x"),
        note="bytes per observation",
    )


class _Run(NamedTuple):
    """What a process took."""

    seconds: float
    megabytes: float
    """The most memory that it held."""
    output_megabytes: float


@report("view")
def view(is_quick: bool) -> Row:
    """Print a large trace with `fluxloop view`, compared with a program that reads it."""
    count = QUICK_OBSERVATIONS if is_quick else OBSERVATIONS
    with _recorded(count) as (folder, _):
        runs = [(_run("-c", _READING, str(folder)), _view(folder)) for _ in range(1 if is_quick else 3)]
    shown = runs[0][1]
    return Row(
        "view",
        floor=1e3 * min(reading.seconds for reading, _ in runs),
        ours=1e3 * min(viewing.seconds for _, viewing in runs),
        unit="ms",
        figure=Spread.of([viewing.seconds / reading.seconds for reading, viewing in runs]),
        target=Target(3, "x"),
        note=f"{count:,} observations, prints {shown.output_megabytes:.2f} MB; floor: reading the trace",
    )


@report("view-memory")
def view_memory(is_quick: bool) -> Row:
    """Measure the memory of `fluxloop view` of a large trace."""
    with _recorded(QUICK_OBSERVATIONS if is_quick else OBSERVATIONS) as (folder, _):
        found = _view(folder)
    return Row(
        "view-memory",
        ours=found.megabytes,
        unit="MB",
        figure=Spread.of([found.megabytes]),
        figure_unit="MB",
        target=Target(150, "MB"),
    )


def _view(folder: Path) -> _Run:
    return _run("-m", "fluxloop", "view", "--last", "1", "--no-pager", str(folder))


def _run(*arguments: str) -> _Run:
    """Run Python and return what it took; raise if it fails."""
    with TemporaryFile() as output:
        environment = {**os.environ, "PYTHONPATH": str(_ROOT)}
        launcher = [sys.executable, "-S", "-c", _LAUNCHER, sys.executable, *arguments]
        done = subprocess.run(launcher, stdout=output, stderr=subprocess.PIPE, text=True, env=environment)
        if done.returncode:
            raise RuntimeError(f"{arguments} failed: {done.stderr}")
        seconds, size = map(float, done.stderr.split()[-2:])
        written = os.fstat(output.fileno()).st_size / 1e6
    return _Run(seconds, size / (1e6 if sys.platform == "darwin" else 1e3), written)


_LAUNCHER = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True)
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(used.ru_utime + used.ru_stime, used.ru_maxrss, file=sys.stderr)
"""
"""A small program that starts the measured one: the memory of a child begins with that of the process that forks."""
