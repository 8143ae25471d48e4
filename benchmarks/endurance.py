"""
Check endurance: record 200,000 observations at once, and kill a process that records a thousand per second.

    python -m benchmarks.endurance burst FOLDER COUNT      the two programs that are measured
    python -m benchmarks.endurance steady FOLDER
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic, process_time, sleep
from typing import Any

import fluxloop

from .payloads import ANSWER, QUERY
from .registry import report
from .results import Row

PER_SECOND = 1_000
"""Observations per second in the process that is killed."""

MOST_GROWTH_MB = 4
"""The most that memory may grow in the second half of a burst; one retained record per observation would be 50 MB."""


@report("burst")
def burst(is_quick: bool) -> Row:
    """Record observations as fast as possible in a separate process; check that none is lost and memory is constant."""
    count = 10_000 if is_quick else 200_000
    with TemporaryDirectory() as name:
        result = json.loads(_started("burst", name, str(count)).communicate()[0])
        lines = sum(file.read_bytes().count(b"\n") for file in Path(name).glob("observations_*.jsonl"))
    lost = count + 1 - lines
    faults = [f"{lost:,} lost"] * bool(lost)
    faults += [f"grew by {result['grown_mb']:.1f} MB"] * (result["grown_mb"] > MOST_GROWTH_MB)
    return Row(
        "burst",
        ours=result["seconds"] / count * 1e6,
        faults=tuple(faults),
        note=f"{count:,} observations, {lost:,} lost; the second half grew memory by {result['grown_mb']:.1f} MB",
    )


@report("kill")
def kill(is_quick: bool) -> Row:
    """Kill a recording process with SIGKILL; check that finished observations are stored, open ones `crashed`."""
    faults: list[str] = []
    finished = open_ = 0
    times = 2 if is_quick else 8
    for number in range(times):
        with TemporaryDirectory() as name:
            process = _started("steady", name)
            assert process.stdout is not None
            process.stdout.read(1)  # the process is recording
            sleep(0.1 + 0.03 * number)
            process.send_signal(signal.SIGKILL)
            acknowledged = 1 + len(process.stdout.read())
            process.wait()
            process.stdout.close()
            found, left_open, wrong = _after_death(Path(name), acknowledged)
        finished, open_, faults = finished + found, open_ + left_open, faults + wrong
    note = f"killed {times} times: {finished} finished observations stored, {open_} open ones read back as crashed"
    return Row("kill", faults=tuple(faults), note=note)


def _after_death(folder: Path, acknowledged: int) -> tuple[int, int, list[str]]:
    """Return the numbers of finished and of crashed observations that can be read, and the faults."""
    observations = [observation for trace in fluxloop.read_traces(folder) for observation in trace.observations]
    finished = [observation for observation in observations if observation.status == "success"]
    crashed = [observation for observation in observations if observation.status == "crashed"]
    wrong = []
    if len(finished) < acknowledged:
        wrong.append(f"{acknowledged - len(finished)} finished observations lost")
    if "run" not in {observation.name for observation in crashed}:
        wrong.append("the open observation is not read back as crashed")
    if len(finished) + len(crashed) != len(observations):
        wrong.append("some observations have neither ended nor crashed")
    return len(finished), len(crashed), wrong


def _started(*arguments: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-m", f"{__package__}.endurance", *arguments], stdout=subprocess.PIPE)


@fluxloop.tool
def search(query: str) -> dict[str, Any]:
    """Return an answer of about 100 bytes."""
    return ANSWER


@fluxloop.agent(name="run", capture_input=False)
def run_burst(count: int) -> dict[str, float]:
    """Record *count* observations; return the CPU time, and the growth of memory in the second half."""
    begun = process_time()
    for _ in range(count // 2):
        search(QUERY)
    half_mb = _resident_mb()
    for _ in range(count - count // 2):
        search(QUERY)
    return {"seconds": process_time() - begun, "grown_mb": _resident_mb() - half_mb}


@fluxloop.agent(name="run", capture_input=False)
def run_steadily() -> None:
    """Record observations at a constant rate until killed, and write one byte after each."""
    due = monotonic()
    while True:
        search(QUERY)
        os.write(1, b".")
        due += 1 / PER_SECOND
        sleep(max(0, due - monotonic()))


def _resident_mb() -> float:
    """Return the resident memory of the process, or 0 where the system does not report it."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6
    except OSError:
        return 0.0


if __name__ == "__main__":
    fluxloop.configure(base_path=sys.argv[2])
    if sys.argv[1] == "burst":
        print(json.dumps(run_burst(int(sys.argv[3]))))
    else:
        run_steadily()
