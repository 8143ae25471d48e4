"""
Measure `parse` and `evaluate`, compared with decoding the same files and writing the same results.
"""

from __future__ import annotations

import shutil
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from time import process_time

import orjson

import fluxloop
from fluxloop import experiments

from .registry import report
from .results import Row, Spread, Target

RUNS = 10_000
QUICK_RUNS = 100

OBSERVATIONS = 10
"""Observations of each run."""

MOST_GROWTH_BYTES = 20
"""The most that memory may grow with each further run."""

RULES = ["success", "output_not_empty", {"tool_called": {"tool": "search"}}, {"contains": {"keywords": ["trains"]}}]


@report("parse")
def parse(is_quick: bool) -> Row:
    """Write the documents of an experiment; figures are per run."""
    return _measured("parse", is_quick, lambda folder: experiments.parse(folder).output)


@report("evaluate")
def evaluate(is_quick: bool) -> Row:
    """Evaluate an experiment that is parsed, with four rules and both reports; figures are per run."""
    return _measured("evaluate", is_quick, lambda folder: experiments.evaluate(folder, rules=RULES).output)


def _measured(name: str, is_quick: bool, work: Callable[[Path], Path]) -> Row:
    count = QUICK_RUNS if is_quick else RUNS
    with TemporaryDirectory() as place:
        folder = Path(place) / "bench_20260117_143000"
        _write(folder, count)
        if name == "evaluate":
            experiments.parse(folder)
        rounds = [_round(folder, work) for _ in range(1 if is_quick else 3)]
        lines = sum(1 for _ in (rounds[0][2] / "per_trace.jsonl").open("rb"))
        sizes = 4 * count // 10, 5 * count // 10
        peaks = [_peak(Path(place) / f"{size}_20260117_143000", size, work) for size in sizes]
    growth = (peaks[1] - peaks[0]) / (sizes[1] - sizes[0])
    return Row(
        name,
        floor=1e6 * min(floor for floor, _, _ in rounds) / count,
        ours=1e6 * min(ours for _, ours, _ in rounds) / count,
        figure=Spread.of([ours / floor for floor, ours, _ in rounds]),
        target=Target(3, "x"),
        faults=(
            *(() if lines == count else (f"{count - lines:,} lost",)),
            *(() if is_quick or growth <= MOST_GROWTH_BYTES else (f"memory grows by {growth:,.0f} bytes per run",)),
        ),
        note=f"{count:,} runs of {OBSERVATIONS} observations; floor: orjson.loads, and writing the results; "
        f"memory {growth:,.0f} bytes more per run",
    )


def _round(folder: Path, work: Callable[[Path], Path]) -> tuple[float, float, Path]:
    """Return the seconds of processor time of the floor and of *work*, and the folder of the results."""
    started = process_time()
    output = work(folder)
    ours = process_time() - started
    results = [path.read_bytes() for path in output.iterdir()]
    target = folder.parent / "written"
    started = process_time()
    for path in (folder / "trace_summary.jsonl", *(folder / "artifacts").glob("*.jsonl")):
        with path.open("rb") as lines:
            for line in lines:
                orjson.loads(line)
    target.mkdir()
    for number, content in enumerate(results):
        (target / str(number)).write_bytes(content)
    floor = process_time() - started
    shutil.rmtree(target)
    return floor, ours, output


def _peak(folder: Path, count: int, work: Callable[[Path], Path]) -> int:
    """Return the most bytes that *work* holds at a time for an experiment of *count* runs."""
    _write(folder, count)
    work(folder)  # modules and caches are loaded
    tracemalloc.start()
    work(folder)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


def _write(folder: Path, count: int) -> None:
    """Write an experiment of *count* runs that all did what one recorded run did, each with ids of its own."""
    with fluxloop.testing.capture() as captured:
        _agent()
    recorded = list(captured.storage.read())
    (folder / "artifacts").mkdir(parents=True)
    with (
        open(folder / "artifacts/observations.jsonl", "wb") as observations,
        open(folder / "artifacts/traces.jsonl", "wb") as traces,
        open(folder / "trace_summary.jsonl", "wb") as rows,
    ):
        for number in range(count):
            trace_id = f"{number:08d}-0000-8000-9000-000000000000"
            for record in recorded:
                ids = {name: f"{number:08d}{record[name][8:]}" for name in ("id", "parent_id") if record.get(name)}
                own = {**record, **ids, "trace_id": trace_id}
                (observations if "parent_id" in record else traces).write(orjson.dumps(own) + b"\n")
            rows.write(orjson.dumps(_row(number, trace_id)) + b"\n")
    (folder / "summary.json").write_bytes(orjson.dumps({"folder_version": 1, "name": "bench", "state": "finished"}))


def _agent() -> None:
    with fluxloop.instrument("agent", observation_type="agent"):
        for step in range((OBSERVATIONS - 1) // 2):
            with fluxloop.observe("gpt-4o", "generation", input=[{"role": "user", "content": "Which train?"}]) as call:
                call.output = {"role": "assistant", "content": "Let me look that up."}
            with fluxloop.observe("search", "tool", input={"query": f"trains {step}"}) as call:
                call.output = {"answer": "The 07:58 does.", "score": 0.87}
        fluxloop.event("done")


def _row(number: int, trace_id: str) -> dict[str, object]:
    return {
        "trace_id": trace_id,
        "run": number,
        "iteration": 0,
        "persona": None,
        "input_id": f"input-{number}",
        "input": f"Which trains go to Lyon, number {number}?",
        "output": f"These trains go to Lyon: {number}.",
        "duration_ms": 12.5 + number % 50,
        "success": True,
        "status": "success",
        "error": None,
        "token_usage": {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120},
        "cost": 0.0021,
    }
