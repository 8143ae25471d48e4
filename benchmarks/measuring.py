"""
Time the variants of a case.

The variants run in turn in every round, each round starting with a different one, and are compared within a round, so
that the load of the machine affects them equally. The measured time is the CPU time of the process, in all its threads
and in the kernel, which other programs affect little. No measured code waits.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from time import process_time_ns

import fluxloop

from .registry import WAYS, Case, Way, Ways
from .results import Row, Spread

MOST_KEPT_BYTES = 64_000_000
"""The most bytes of records in the folder; above this, its files are emptied between two rounds."""


@contextmanager
def prepared(case: Case) -> Iterator[tuple[Ways, Path]]:
    """Set up *case* in a new folder with default settings, and restore everything afterwards."""
    with TemporaryDirectory(prefix="fluxloop-benchmark-") as name:
        folder = Path(name)
        fluxloop.reset_config()
        try:
            with case.open(folder) as ways:
                yield ways, folder
        finally:
            fluxloop.shutdown()
            fluxloop.reset_config()


def compared(case: Case, *, is_quick: bool = False) -> Row:
    """Return the times of the variants of *case*, per call."""
    with prepared(case) as (ways, folder):
        rounds = 3 if is_quick else case.rounds
        by_name = {name: way for name in WAYS if (way := getattr(ways, name)) is not None}
        times = _interleaved(by_name, case.calls, rounds, folder)
        faults = ways.check() if ways.check is not None else None
    return _row(case, times, faults)


def _row(case: Case, times: Mapping[str, list[int]], faults: Sequence[str] | None) -> Row:
    bare = times["bare"]
    added = {
        name: [(own - base) / case.calls for own, base in zip(times[name], bare, strict=True)]
        for name in ("floor", "ours")
        if name in times
    }
    unit = case.target.unit if case.target is not None else "x" if "floor" in added else "ns"
    per = {
        "x": added.get("floor", []),
        "of bare": [base / case.calls for base in bare],
        "us": [1_000.0] * len(bare),
        "ns": [1.0] * len(bare),
    }
    figures = [ours / other for ours, other in zip(added["ours"], per[unit], strict=True)]
    us = {name: Spread.of(values).middle / 1_000 for name, values in added.items()}
    return Row(
        case.name,
        bare=Spread.of(bare).middle / case.calls / 1_000,
        floor=us.get("floor"),
        ours=us["ours"],
        figure=Spread.of(figures),
        figure_unit=unit,
        target=case.target,
        faults=tuple(faults or ()),
        note="all records read back: none lost, none under a wrong parent" if faults == [] else "",
    )


def _interleaved(ways: Mapping[str, Way], calls: int, rounds: int, folder: Path) -> dict[str, list[int]]:
    """Return the nanoseconds of each variant in each round, after one round that is not counted."""
    times: dict[str, list[int]] = {name: [] for name in ways}
    order = list(ways)
    gc.collect()
    for number in range(rounds + 1):
        for name in order:
            way = ways[name]
            begun = process_time_ns()
            way(calls)
            ended = process_time_ns()
            if number:
                times[name].append(ended - begun)
        order.append(order.pop(0))
        _keep_small(folder)
    return times


def _keep_small(folder: Path) -> None:
    """Empty the files in *folder* if they have grown large; an appending writer continues at the start of the file."""
    files = list(folder.glob("*.jsonl"))
    if sum(file.stat().st_size for file in files) > MOST_KEPT_BYTES:
        for file in files:
            os.truncate(file, 0)
