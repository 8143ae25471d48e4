"""
The pytest plugin: what tests record, limits on it, golden outlines and reports.

`fluxloop_pytest`, which pytest loads, registers `Plugin` when the first test uses it.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pytest

from ..testing import Captured
from . import cassettes, network, outlines, recording, repeating, reports
from .cassettes import TestCassette
from .experiment_results import FluxLoopTestError, FluxLoopTestResult
from .experiments import CommandRunner, ExperimentRunner
from .limits import check_limits, limits_of
from .names import test_name
from .outlines import OutlineSnapshot
from .reports import add_summary_row, join_report, totals_line

__all__ = [
    "Captured",
    "CommandRunner",
    "ExperimentRunner",
    "FluxLoopTestError",
    "FluxLoopTestResult",
    "OutlineSnapshot",
    "Plugin",
    "TestCassette",
    "add_summary_row",
    "cassettes",
    "join_report",
    "recording",
    "totals_line",
]


class Plugin:
    """The hooks of a session in which FluxLoop is used."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._collected: dict[str, set[str]] = {}
        if path := config.getoption("fluxloop_report"):
            reports.start_report(path, is_worker=hasattr(config, "workerinput"))

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Remember the names of all tests, before any is deselected, and check the marks."""
        for item in items:
            self._collected.setdefault(str(item.path), set()).add(test_name(item))
            cassettes.cassette_mark(item)
            limits_of(item)
            repeating.repeats_of(item)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, Any, Any]:
        blocks = self._config.getoption("fluxloop_block_network") or limits_of(item).no_network
        try:
            with network.blocked(item) if blocks else network.allowed():
                return (yield)
        finally:
            cassettes.forget(item)
            recording.forget(item)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Generator[None, Any, Any]:
        __tracebackhide__ = True
        result = yield
        network.check(item)
        cassettes.check(item)
        check_limits(item, recording.of(item))
        return result

    @pytest.hookimpl(tryfirst=True)
    def pytest_pyfunc_call(self, pyfuncitem: pytest.Function) -> object | None:
        return repeating.call(self, pyfuncitem)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        captured = recording.of(item)
        traces = captured.traces() if captured is not None else []
        if call.when == "call" and captured is not None:
            item.user_properties += recording.facts(traces)
        report = yield
        if captured is not None and report.failed and traces:
            report.sections.append(("FluxLoop traces", recording.drawn(traces)))
        if report.failed and call.when == "call" and (note := cassettes.note_of(item, report.longreprtext)):
            report.sections.append(("FluxLoop cassette", note))
        if call.when == "call" and (path := self._config.getoption("fluxloop_report")):
            reports.add_to_report(path, report, traces)
        return report

    def pytest_assertrepr_compare(self, op: str, left: object, right: object) -> list[str] | None:
        return outlines.explain(left, right) if op == "==" else None

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        if any("::" in argument for argument in self._config.args):
            return  # only some tests of a file were collected
        for path in outlines.stale(self._collected):
            if self._config.getoption("fluxloop_update"):
                path.unlink()
                terminalreporter.write_line(f"removed stale outline {path}")
            else:
                terminalreporter.write_line(f"stale outline {path}: its test is gone; --fluxloop-update removes it")
