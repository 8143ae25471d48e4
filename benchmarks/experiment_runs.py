"""
Measure the runner of experiments: a trivial target, compared with a loop written by hand; and its memory.

    python -m benchmarks.experiment_runs memory FOLDER      the program whose memory is measured
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import subprocess
import sys
from contextlib import chdir
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

import fluxloop
from fluxloop import experiments

from .payloads import QUERY
from .registry import report
from .results import Row, Spread, Target

RUNS = 1_000
PARALLEL = 32
MANY_RUNS = 10_000
MOST_GROWTH_MB = 4
"""The most that memory may grow from run 1,000 to run 10,000; one retained row per run would be 10 MB."""


async def target(prompt: str) -> str:
    """Do nothing but give the other runs their turn."""
    await asyncio.sleep(0)
    return prompt


@report("experiment-runs")
def experiment_runs(is_quick: bool) -> Row:
    """Run a trivial target 1,000 times, 32 at once, compared with a semaphore and one JSON line per run."""
    rounds = 3 if is_quick else 15
    with TemporaryDirectory() as name, chdir(name):
        by_hand(RUNS)
        run(RUNS)
        times = [(by_hand(RUNS), run(RUNS)) for _ in range(rounds)]
        megabytes = _growth(Path(name))
    floor, ours = (min(each) for each in zip(*times, strict=True))
    return Row(
        "experiment-runs",
        floor=1e6 * floor / RUNS,
        ours=1e6 * median(own for _, own in times) / RUNS,
        figure=Spread.of([own / hand for hand, own in times]),
        target=Target(4, "x"),
        faults=() if megabytes <= MOST_GROWTH_MB else (f"grew by {megabytes:.1f} MB",),
        note=f"best {ours / floor:.1f} x; memory grew by {megabytes:.1f} MB from run 1,000 to {MANY_RUNS:,}",
    )


@report("recorded-arguments")
def recorded_arguments(is_quick: bool) -> Row:
    """Call an agent with its arguments recorded, compared with the same call traced only."""
    calls, rounds = (200, 3) if is_quick else (1_000, 15)

    @fluxloop.agent
    def agent(query: str, limit: int = 10) -> str:
        return query

    def seconds(**settings: Any) -> float:
        with fluxloop.FluxLoopClient() as client, TemporaryDirectory() as name:
            client.configure(base_path=name, recording_file=Path(name, "args.jsonl"), **settings)
            own = client.agent(agent.__wrapped__)
            own(QUERY)
            start = perf_counter()
            for _ in range(calls):
                own(QUERY)
            return perf_counter() - start

    times = [(seconds(), seconds(record_args=True)) for _ in range(rounds)]
    return Row(
        "recorded-arguments",
        floor=1e6 * median(traced for traced, _ in times) / calls,
        ours=1e6 * median(recorded for _, recorded in times) / calls,
        figure=Spread.of([recorded / traced for traced, recorded in times]),
        target=Target(2, "x"),
        note="an agent's call with its arguments recorded; floor: the same call, traced only",
    )


def by_hand(count: int) -> float:
    """Return the seconds of a loop written by hand."""

    async def main() -> None:
        semaphore = asyncio.Semaphore(PARALLEL)
        file = os.open("runs.jsonl", os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o600)

        async def one(number: int) -> None:
            async with semaphore:
                start = perf_counter()
                output = await target("question")
                row = {"run": number, "input": "question", "output": output, "seconds": perf_counter() - start}
                os.write(file, json.dumps(row).encode() + b"\n")

        await asyncio.gather(*(one(number) for number in range(count)))
        os.close(file)

    start = perf_counter()
    asyncio.run(main())
    return perf_counter() - start


def run(count: int) -> float:
    """Return the seconds of an experiment."""
    start = perf_counter()
    result = experiments.run(target, ["question"], iterations=count, parallel=PARALLEL)
    seconds = perf_counter() - start
    assert result.successful == count
    return seconds


def _growth(folder: Path) -> float:
    command = [sys.executable, "-m", "benchmarks.experiment_runs", "memory", folder]
    return float(
        subprocess.run(command, check=True, capture_output=True, text=True, cwd=Path(__file__).parents[1]).stdout
    )


def _memory(folder: str) -> None:
    """Print the megabytes by which the largest memory of this process grew after the first 1,000 runs."""
    with chdir(folder):
        sizes = []
        for count in (RUNS, MANY_RUNS):
            run(count)
            sizes.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
    print((sizes[1] - sizes[0]) / 1000)


if __name__ == "__main__":
    _memory(sys.argv[2])
