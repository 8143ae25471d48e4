"""
Measure the command line over many traces: its start, building the index, and `fluxloop list` with each filter.
"""

from __future__ import annotations

import atexit
import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import orjson

import fluxloop

from .reading import decode_seconds
from .registry import report
from .results import Row, Spread, Target

TRACES = 100_000
QUICK_TRACES = 1_000
OBSERVATIONS = 10
"""Per trace."""
MAX_MEGABYTES = 150
"""The most memory that building the index may take."""

FILTERS = (
    ["--status", "error"],
    ["--name", "Planner"],
    ["--user", "user7"],
    ["--session", "s70"],
    ["--tag", "beta"],
    ["--model", "gpt-4o"],
    ["--since", "2026-01-15"],
    ["--min-duration", "2s"],
    ["--min-tokens", "4500"],
    ["--has-error"],
    ["--text", "Atlantis"],
)

_ROOT = Path(fluxloop.__file__).parent.parent


@report("cli-start")
def starting(is_quick: bool) -> Row:
    """Compare `fluxloop --help` and `--version` with the import of the libraries that every command line needs."""
    rounds = 3 if is_quick else 15
    times = [
        (
            _seconds("-c", "import typer, rich"),
            _seconds("-m", "fluxloop", "--version"),
            _seconds("-m", "fluxloop", "--help"),
        )
        for _ in range(rounds + 1)
    ][1:]
    return Row(
        "cli-start",
        floor=1000 * median(floor for floor, _, _ in times),
        ours=1000 * median(max(ours) for _, *ours in times),
        unit="ms",
        figure=Spread.of([max(ours) / floor for floor, *ours in times]),
        target=Target(2, "x"),
        note="the slower of --version and --help; floor: import typer, rich",
    )


@report("index-build")
def building(is_quick: bool) -> Row:
    """Build the index of many traces in a new process, compared with `orjson.loads` of every line."""
    count = QUICK_TRACES if is_quick else TRACES
    with _folder(count) as folder:
        rounds = [(decode_seconds(folder), *_build(folder)) for _ in range(2 if is_quick else 3)]
    lines = count * (OBSERVATIONS + 1)
    megabytes = max(size for *_, size in rounds) / 1000
    return Row(
        "index-build",
        floor=1e6 * min(floor for floor, _, _ in rounds) / lines,
        ours=1e6 * min(ours for _, ours, _ in rounds) / lines,
        figure=Spread.of([ours / floor for floor, ours, _ in rounds]),
        target=Target(3, "x"),
        faults=() if megabytes <= MAX_MEGABYTES else (f"{megabytes:,.0f} MB of memory",),
        note=f"{count:,} traces, {lines:,} lines; {megabytes:,.0f} MB of memory; floor: orjson.loads",
    )


@report("list")
def listing(is_quick: bool) -> Row:
    """Run `fluxloop list` with each filter, compared with twice `fluxloop --version` plus 300 ms."""
    count = QUICK_TRACES if is_quick else TRACES
    with _folder(count) as folder:
        command = ["-m", "fluxloop", "list", str(folder)]
        _seconds(*command)
        floor = median(2 * _seconds("-m", "fluxloop", "--version") + 0.3 for _ in range(3))
        times = {" ".join(options): _seconds(*command, *options) for options in FILTERS}
    slowest = max(times, key=times.__getitem__)
    return Row(
        "list",
        floor=1000 * floor,
        ours=1000 * median(times.values()),
        unit="ms",
        figure=Spread.of([time / floor for time in times.values()]),
        target=Target(1, "x"),
        note=f"{count:,} traces; slowest: {slowest}, {1000 * times[slowest]:,.0f} ms; floor: 2 x --version + 300 ms",
    )


def _seconds(*arguments: str) -> float:
    """Return the CPU time of a Python process."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *arguments], capture_output=True, check=False, env=_environment())
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


@cache
def _environment() -> dict[str, str]:
    """Return the environment of measured processes: modules are compiled once, as those of an installed package are."""
    compiled = TemporaryDirectory()
    atexit.register(compiled.cleanup)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return {**environment, "PYTHONPATH": str(_ROOT), "PYTHONPYCACHEPREFIX": compiled.name}


_BUILD = """
import gc, sys, time
from fluxloop.cli.filter_options import GC_THRESHOLD
from fluxloop.reading.catalog import Catalog
gc.set_threshold(GC_THRESHOLD)
started = time.process_time()
Catalog.of(sys.argv[1]).close()
seconds = time.process_time() - started
try:  # getrusage() includes the memory of the parent before the exec
    with open("/proc/self/status") as status:
        peak_kb = next(line.split()[1] for line in status if line.startswith("VmHWM:"))
except OSError:
    peak_kb = 0
print(seconds, peak_kb)
"""


def _build(folder: Path) -> tuple[float, float]:
    """Return the seconds of building the index, and the peak memory of the process in kB; 0 if that is unknown."""
    (folder / ".index.sqlite").unlink(missing_ok=True)
    command = [sys.executable, "-c", _BUILD, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=_environment())
    seconds, size = done.stdout.split()
    return float(seconds), float(size)


@contextmanager
def _folder(count: int) -> Iterator[Path]:
    """Write the records of so many traces to ten days of a folder."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        begin, step = datetime(2026, 1, 10, tzinfo=UTC), timedelta(days=10) / count
        for day in range(10):
            numbers = range(day * count // 10, (day + 1) * count // 10)
            for kind in ("observations", "traces"):
                with (folder / f"{kind}_{begin + timedelta(days=day):%Y%m%d}.jsonl").open("wb") as file:
                    for number in numbers:
                        lines = _lines(number, begin + number * step)
                        file.writelines(lines[:-1] if kind == "observations" else lines[-1:])
        yield folder


def _lines(number: int, start: datetime) -> list[bytes]:
    """Return the lines of a trace: its observations, the root last, and its own line."""
    prefix, first = "0b8f1c2d-3e4f-8a5b-9c6d-", 100_000_000_000 + number * (OBSERVATIONS + 1)
    trace_id, root = f"{prefix}{first}", f"{prefix}{first + 1}"
    name, failed = ("Planner", "Forecaster", "Support")[number % 3], number % 20 == 0
    end = start + timedelta(seconds=1 + number % 5)
    lines, usage = [], {"input_tokens": 1_200 + number % 700, "output_tokens": 80, "total_tokens": 1_280 + number % 700}
    for seq in [*range(1, OBSERVATIONS), 0]:
        kind = "AGENT" if seq == 0 else "GENERATION" if seq % 3 == 1 else "TOOL"
        has_failed = failed and seq in (0, 2)
        record = {
            "id": f"{prefix}{first + 1 + seq}",
            "trace_id": trace_id,
            "parent_id": root if seq else None,
            "type": kind,
            "name": "answer" if kind == "GENERATION" else name if seq == 0 else ("search", "weather", "book")[seq % 3],
            "seq": seq,
            "start_time": _text(start),
            "input": {"query": "trains from Paris to Lyon that leave before noon"},
            "end_time": _text(end),
            "duration_ms": (end - start) / timedelta(milliseconds=1),
            "status": "error" if has_failed else "success",
            "level": "ERROR" if has_failed else "INFO",
            **(
                {"error": "no such city: Atlantis"}
                if has_failed
                else {"output": {"answer": "The 07:58 does.", "score": 0.87}}
            ),
            **(
                {"model": ("gpt-4o", "gpt-4o-mini")[seq % 2], "provider": "openai", "usage": usage}
                if kind == "GENERATION"
                else {}
            ),
        }
        lines.append(orjson.dumps(record) + b"\n")
    line = {
        "trace_id": trace_id,
        "name": name,
        "session_id": f"s{number // 5}",
        "user_id": f"user{number % 300}",
        "start_time": _text(start),
        "end_time": _text(end),
        "duration_ms": (end - start) / timedelta(milliseconds=1),
        "status": "error" if failed else "success",
        "input": {"query": "trains from Paris to Lyon that leave before noon"},
        "output": None if failed else {"answer": "The 07:58 does.", "score": 0.87},
        "metadata": {},
        "tags": ["beta"] if number % 4 == 0 else [],
        "usage": {name: 3 * count for name, count in usage.items()},
        "schema": 1,
    }
    return [*lines, orjson.dumps(line) + b"\n"]


def _text(time: datetime) -> str:
    return f"{time:%Y-%m-%dT%H:%M:%S.%fZ}"
