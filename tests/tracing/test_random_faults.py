"""Programs that are interrupted, forked, cancelled and abandoned at random: nothing is lost, nothing is misplaced."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from fluxloop import Trace, read_traces

PROGRAM = Path(__file__).parent / "faulty_program.py"
ROOT = PROGRAM.parent.parent.parent

SEED = int(os.environ.get("FLUXLOOP_TEST_SEED") or random.SystemRandom().randrange(10**9))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork and POSIX timers")
@pytest.mark.parametrize(
    ("number", "steps"), [(0, 40), *(pytest.param(number, 200, marks=pytest.mark.slow) for number in range(1, 5))]
)
def test_signals_forks_threads_and_cancellations_lose_nothing_and_misplace_nothing(
    number: int, steps: int, tmp_path: Path
) -> None:
    """Each exception from outside reaches the program, children of a fork end, and every record is under its caller."""
    seed = SEED + number
    command = [sys.executable, str(PROGRAM), str(seed), str(steps), str(tmp_path)]
    result = subprocess.run(
        command, capture_output=True, text=True, timeout=300, check=False, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    assert result.returncode == 0, f"seed {seed}: {result.stderr[-3_000:]}"

    traces = list(read_traces(tmp_path))
    assert len(traces) > steps / 2
    for trace in traces:
        assert [one for one in trace.observations if one.status is None] == [], f"an open observation (seed {seed})"
        assert misplaced(trace) == [], f"a misplaced observation (seed {seed})"


def misplaced(trace: Trace) -> list[str]:
    """Return the observations that are not under a call on the way to them."""
    found = []
    for depth, one in trace.walk():
        parent = next((other for other in trace.observations if other.id == one.parent_id), None)
        own, above = way(one), way(parent) if parent else []
        if own is not None and above is not None and own[: len(above)] != above:
            found.append(f"{'  ' * depth}{one.name} {own} under {above}")
    return found


def way(observation: object) -> list[str] | None:
    """Return the way to the call as it recorded it; None if an interruption came before."""
    for values in (getattr(observation, "input", None), getattr(observation, "metadata", None)):
        if isinstance(values, dict) and isinstance(values.get("way"), list):
            return values["way"]
    return None
