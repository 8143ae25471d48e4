"""
Measure reading: one large trace by `fluxloop.read_traces`, compared with `orjson.loads` of the same lines.
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from time import process_time

import orjson

import fluxloop

from .registry import report
from .results import Row, Spread, Target

OBSERVATIONS = 100_000
QUICK_OBSERVATIONS = 2_000


@report("reading")
def reading(is_quick: bool) -> Row:
    """Read one trace of many observations from its files; figures are per observation."""
    count = QUICK_OBSERVATIONS if is_quick else OBSERVATIONS
    with TemporaryDirectory() as name:
        folder = Path(name)
        _write(folder, count)
        rounds = [(decode_seconds(folder), *_read(folder)) for _ in range(3 if is_quick else 7)]
    found = rounds[0][2]
    return Row(
        "reading",
        floor=1e6 * min(floor for floor, _, _ in rounds) / count,
        ours=1e6 * min(ours for _, ours, _ in rounds) / count,
        figure=Spread.of([ours / floor for floor, ours, _ in rounds]),
        target=Target(6, "x"),
        faults=() if found == count else (f"{count - found:,} lost",),
        note=f"{count:,} observations in one trace; floor: orjson.loads",
    )


def _write(folder: Path, count: int) -> None:
    """Write a trace of *count* tool calls, as FluxLoop records them."""
    with fluxloop.testing.capture() as captured, fluxloop.instrument("root"):
        for _ in range(count - 1):
            with fluxloop.observe("search", "tool", input={"query": "trains from Paris to Lyon"}) as observation:
                observation.output = {"answer": "The 07:58 does.", "score": 0.87}
    lines: dict[str, list[bytes]] = {"observations": [], "traces": []}
    for record in captured.storage.read():
        lines["observations" if "parent_id" in record else "traces"].append(orjson.dumps(record) + b"\n")
    for kind, written in lines.items():
        (folder / f"{kind}_20260117.jsonl").write_bytes(b"".join(written))


def decode_seconds(folder: Path) -> float:
    """Return the seconds that `orjson.loads` takes for all lines."""
    started = process_time()
    for path in folder.glob("*.jsonl"):
        with path.open("rb") as file:
            for line in file:
                orjson.loads(line)
    return process_time() - started


def _read(folder: Path) -> tuple[float, int]:
    """Return the seconds that `read_traces` takes, and the number of observations it yields."""
    started = process_time()
    found = sum(len(trace.observations) for trace in fluxloop.read_traces(folder))
    return process_time() - started, found
