"""
What lasts: 200,000 observations in one go, and a process killed in the middle of a thousand a second.

    python -m benchmarks.endurance burst FOLDER COUNT      the two programs that are watched
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
"""Observations a second of the process that is killed."""

MOST_GROWTH_MB = 4
"""What a process may grow by in the second half of a burst; a record kept per observation would be 50 MB."""


@report("burst")
def burst(is_quick: bool) -> Row:
    """Observations as fast as they come, in a process of their own: are all there, and does it stay small?"""
    count = 10_000 if is_quick else 200_000
    with TemporaryDirectory() as name:
        said = json.loads(_started("burst", name, str(count)).communicate()[0])
        lines = sum(file.read_bytes().count(b"\n") for file in Path(name).glob("observations_*.jsonl"))
    lost = count + 1 - lines
    faults = [f"{lost:,} lost"] * bool(lost)
    faults += [f"grew by {said['grown_mb']:.1f} MB"] * (said["grown_mb"] > MOST_GROWTH_MB)
    return Row(
        "burst",
        ours=said["seconds"] / count * 1e6,
        faults=tuple(faults),
        note=f"{count:,} observations, {lost:,} lost; the second half grew memory by {said['grown_mb']:.1f} MB",
    )


@report("kill")
def kill(is_quick: bool) -> Row:
    """A process is killed with SIGKILL while it records; what had ended is in the file, what was open is `crashed`."""
    faults: list[str] = []
    finished = open_ = 0
    times = 2 if is_quick else 8
    for number in range(times):
        with TemporaryDirectory() as name:
            process = _started("steady", name)
            assert process.stdout is not None
            process.stdout.read(1)  # it has begun
            sleep(0.1 + 0.03 * number)
            process.send_signal(signal.SIGKILL)
            told = 1 + len(process.stdout.read())
            process.wait()
            process.stdout.close()
            found, left_open, wrong = _after_death(Path(name), told)
        finished, open_, faults = finished + found, open_ + left_open, faults + wrong
    note = f"killed {times} times: {finished} finished ones kept, {open_} open ones read back as crashed"
    return Row("kill", faults=tuple(faults), note=note)


def _after_death(folder: Path, told: int) -> tuple[int, int, list[str]]:
    """Return how many finished and how many crashed observations can be read, and what is wrong with them."""
    observations = [observation for trace in fluxloop.read_traces(folder) for observation in trace.observations]
    finished = [observation for observation in observations if observation.status == "success"]
    crashed = [observation for observation in observations if observation.status == "crashed"]
    wrong = []
    if len(finished) < told:
        wrong.append(f"{told - len(finished)} finished ones lost")
    if "run" not in {observation.name for observation in crashed}:
        wrong.append("the open one is not read back as crashed")
    if len(finished) + len(crashed) != len(observations):
        wrong.append("some have neither ended nor crashed")
    return len(finished), len(crashed), wrong


def _started(*arguments: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-m", f"{__package__}.endurance", *arguments], stdout=subprocess.PIPE)


@fluxloop.tool
def search(query: str) -> dict[str, Any]:
    """Answer."""
    return ANSWER


@fluxloop.agent(name="run", capture_input=False)
def run_burst(count: int) -> dict[str, float]:
    """Record *count* observations and say how long that took, and what the process grew by in its second half."""
    begun = process_time()
    for _ in range(count // 2):
        search(QUERY)
    half_mb = _resident_mb()
    for _ in range(count - count // 2):
        search(QUERY)
    return {"seconds": process_time() - begun, "grown_mb": _resident_mb() - half_mb}


@fluxloop.agent(name="run", capture_input=False)
def run_steadily() -> None:
    """Record so many a second for ever, saying each time that one has ended."""
    due = monotonic()
    while True:
        search(QUERY)
        os.write(1, b".")
        due += 1 / PER_SECOND
        sleep(max(0, due - monotonic()))


def _resident_mb() -> float:
    """Return the memory the process holds, as far as the system tells."""
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
