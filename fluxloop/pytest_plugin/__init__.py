"""
The pytest plugin: what tests record, limits on it, golden outlines and reports.

`fluxloop_pytest`, which pytest loads, registers `Plugin` when the first test uses it.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Any

import pytest

from ..models import Trace
from ..testing import Captured
from . import cassettes, network, outlines, recording, repeating, reports, tracebacks
from .cassettes import TestCassette
from .limits import check_limits, limits_of
from .outlines import OutlineSnapshot
from .reports import add_summary_row, add_to_report, join_report, totals_line
from .stale import STALE, Collected, stale_lines

if TYPE_CHECKING:
    from .experiments import ExperimentRunner as ExperimentRunner

__all__ = [
    "Captured",
    "OutlineSnapshot",
    "Plugin",
    "TestCassette",
    "add_summary_row",
    "add_to_report",
    "cassettes",
    "join_report",
    "recording",
    "stale_lines",
    "totals_line",
]


_ENDED = pytest.StashKey[bool]()
"""Whether the function of a test has ended."""


class Plugin:
    """The hooks of a session in which FluxLoop is used."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._collected = Collected()
        if path := config.getoption("fluxloop_report"):
            reports.start_report(path, is_worker=hasattr(config, "workerinput"))

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Remember the names of all tests, before any is deselected, and check the marks."""
        for item in items:
            self._collected.add(item, cassettes.cassette_mark(item).path)
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
        try:
            result = yield
        finally:
            item.stash[_ENDED] = True
        network.check(item)
        cassettes.check(item)
        check_limits(item, recording.of(item))
        return result

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_teardown(self, item: pytest.Item) -> Generator[None, Any, Any]:
        __tracebackhide__ = True
        result = yield
        network.check(item)
        return result

    @pytest.hookimpl(tryfirst=True)
    def pytest_pyfunc_call(self, pyfuncitem: pytest.Function) -> object | None:
        return repeating.call(self, pyfuncitem)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        is_recorded = recording.of(item) is not None
        traces: list[Trace] = []
        is_call = call.when == "call" and item.stash.get(_ENDED, False)  # else it is the report of a subtest
        if is_call and is_recorded:
            traces = recording.all_traces(item)
            earlier = [fact for fact in item.user_properties if not str(fact[0]).startswith("fluxloop_")]
            own = [fact for fact in item.user_properties if fact[0] == repeating.PASS_RATE]
            item.user_properties[:] = [*earlier, *own, *recording.facts(traces)]  # once, also if the test is run again
        with tracebacks.hidden(call.excinfo.value if is_recorded and call.excinfo is not None else None):
            report = yield
        if report.failed:
            traces = traces or recording.all_traces(item)
            self._explain(item, report, traces)
        is_last = is_call or (call.when != "call" and report.failed)
        if is_last and (path := self._config.getoption("fluxloop_report")):
            reports.add_to_report(path, report, traces)
        return report

    @staticmethod
    def _explain(item: pytest.Item, report: pytest.TestReport, traces: list[Trace]) -> None:
        """Add to the report of a failure what the test did, and why something may be missing in it."""
        if traces:
            report.sections.append(("FluxLoop traces", recording.drawn(traces)))
        if recording.is_replaced(item) and recording.REPLACED not in report.longreprtext:
            report.sections.append(("FluxLoop", recording.REPLACED))
        if report.when == "call" and (note := cassettes.note_of(item, report.longreprtext)):
            report.sections.append(("FluxLoop cassette", note))

    def pytest_assertrepr_compare(self, op: str, left: object, right: object) -> list[str] | None:
        return outlines.explain(left, right) if op == "==" else None

    def pytest_sessionfinish(self) -> None:
        """Look for stale files; a worker of ``pytest-xdist`` sends them to the process that reports."""
        options = self._config.option
        only_some = any("::" in argument for argument in self._config.args) or getattr(options, "lf", False)
        if not only_some:
            found = [str(path) for path in self._collected.stale()]
            getattr(self._config, "workeroutput", {})["fluxloop_stale"] = found
            self._config.stash[STALE] = found
