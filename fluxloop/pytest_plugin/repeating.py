"""The mark ``fluxloop_repeat``: one test that runs several times, and passes if enough of the runs pass."""

from __future__ import annotations

from math import sqrt
from typing import Any
from unittest import TestCase

import pytest

from . import recording, tracebacks
from .outlines import OutlineSnapshot

PASS_RATE = "fluxloop_pass_rate"
"""The property of a report."""
Z = 1.959964
"""The quantile of the normal distribution for an interval of 95 %."""


def repeats_of(item: pytest.Item) -> tuple[int, int] | None:
    """
    Return how often *item* runs, and how many runs must pass; None without the mark.

    Raises:
        pytest.UsageError: If the mark has unknown or impossible arguments.
    """
    mark = item.get_closest_marker("fluxloop_repeat")
    if mark is None:
        return None
    given: dict[str, object] = {**dict(zip(("n", "pass_at_least"), mark.args, strict=False)), **mark.kwargs}
    if not isinstance(item, pytest.Function) or (item.cls is not None and issubclass(item.cls, TestCase)):
        raise pytest.UsageError(f"{item.nodeid}: @pytest.mark.fluxloop_repeat needs a test function of pytest")
    n, least = given.get("n"), given.get("pass_at_least", given.get("n"))
    known = given.keys() <= {"n", "pass_at_least"} and len(mark.args) <= 2
    if not (known and isinstance(n, int) and isinstance(least, int) and 1 <= least <= n):
        raise pytest.UsageError(
            f"{item.nodeid}: @pytest.mark.fluxloop_repeat needs n=, and pass_at_least= from 1 to n, got {given}"
        )
    return n, least


def call(plugin: object, item: pytest.Function) -> object | None:
    """Run the function of *item* as often as its mark says; None leaves an unmarked test to pytest."""
    repeats = repeats_of(item)
    if repeats is None:
        return None
    n, least = repeats
    run: Any = item.config.pluginmanager.subset_hook_caller("pytest_pyfunc_call", [plugin])
    failures: list[BaseException] = []
    for _ in range(n):
        _start_run(item)
        try:
            run(pyfuncitem=item)
        except (Exception, pytest.fail.Exception) as failure:  # pytest's skips and exits pass through
            failures.append(failure)
    passed = n - len(failures)
    low, high = interval(passed, n)
    item.user_properties.append((PASS_RATE, f"{passed}/{n}"))
    if passed < least:
        message = f"{passed} of {n} runs passed (95 % interval: {low:.0%} to {high:.0%}), expected at least {least}"
        pytest.fail(f"{message}; the last failure:\n\n{_shown(failures[-1], item)}", pytrace=False)
    return True


def _start_run(item: pytest.Function) -> None:
    """Let the fixtures of the next run of *item* see what it records and compares, not what earlier runs did."""
    recording.hide_earlier(item)
    if isinstance(snapshot := item.funcargs.get("outline_snapshot"), OutlineSnapshot):
        snapshot.used = 0


def _shown(failure: BaseException, item: pytest.Function) -> str:
    """Return the traceback of *failure* from the test on."""
    info = pytest.ExceptionInfo.from_exception(failure)
    info.traceback = info.traceback.cut(path=item.path)
    with tracebacks.hidden(failure):
        return str(info.getrepr())


def interval(passed: int, n: int) -> tuple[float, float]:
    """Return the Wilson interval of a pass rate, at 95 %."""
    rate, spread = passed / n, Z * Z / n
    middle = (rate + spread / 2) / (1 + spread)
    half = Z * sqrt(rate * (1 - rate) / n + spread / (4 * n)) / (1 + spread)
    return max(0.0, middle - half), min(1.0, middle + half)
