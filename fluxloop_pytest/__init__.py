"""
What pytest loads in every session: options, marks and fixtures of `fluxloop.pytest_plugin`.

FluxLoop itself is imported when the first test uses it, so that other sessions start as quickly as without it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from fluxloop.pytest_plugin import Captured, OutlineSnapshot

MARKS = {
    "fluxloop": "fluxloop(budget_tokens=, budget_cost=, max_model_calls=, no_network=): limits on what a test records",
    "fluxloop_repeat": "fluxloop_repeat(n, pass_at_least=): run the test n times; it passes if so many runs pass",
}


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("fluxloop", "FluxLoop: what agents did in tests")
    group.addoption("--fluxloop-update", action="store_true", help="rewrite the golden outlines, and remove stale ones")
    group.addoption("--fluxloop-report", metavar="FILE", help="write the traces of all tests to one HTML page")
    group.addoption(
        "--fluxloop-summary", metavar="FILE", help="write a table of the tests and their costs, in Markdown"
    )
    group.addoption("--fluxloop-block-network", action="store_true", help="fail tests that connect to other machines")


def pytest_configure(config: pytest.Config) -> None:
    for line in MARKS.values():
        config.addinivalue_line("markers", line)
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(Totals(config), "fluxloop_totals")
    if any(config.getoption(name) for name in ("fluxloop_report", "fluxloop_summary", "fluxloop_block_network")):
        use(config)


def pytest_itemcollected(item: pytest.Item) -> None:
    """Record the tests that have one of the marks, and all tests if they are reported."""
    names = getattr(item, "fixturenames", None)
    if names is None:
        return
    marked = any(mark.name in MARKS for mark in item.iter_markers())
    reported = item.config.getoption("fluxloop_report") or item.config.getoption("fluxloop_summary")
    if (marked or reported) and "fluxloop_traces" not in names:
        names.insert(0, "fluxloop_traces")
    if "fluxloop_traces" in names or "outline_snapshot" in names:
        use(item.config)


def use(config: pytest.Config) -> None:
    """Load the plugin, unless it is loaded."""
    if not config.pluginmanager.has_plugin("fluxloop_plugin"):
        from fluxloop.pytest_plugin import Plugin

        config.pluginmanager.register(Plugin(config), "fluxloop_plugin")


@pytest.fixture
def fluxloop_traces(request: pytest.FixtureRequest) -> Iterator[Captured]:
    """The traces that this test records, in memory; see `fluxloop.testing.Captured`."""
    from fluxloop.pytest_plugin import recording

    with recording.recording(request.node) as captured:
        yield captured


@pytest.fixture
def outline_snapshot(request: pytest.FixtureRequest) -> OutlineSnapshot:
    """The golden outline of this test: ``assert trace == outline_snapshot``."""
    from fluxloop.pytest_plugin import OutlineSnapshot

    return OutlineSnapshot.of_test(request.node)


class Totals:
    """The sums over all tests, also of other workers; shown in one line if any test recorded something."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.sums: dict[str, float] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when != "call" or not report.user_properties:
            return
        facts: dict[str, Any] = {str(key): value for key, value in report.user_properties}
        if "fluxloop_traces" in facts:
            self.sums["tests"] = self.sums.get("tests", 0) + 1
            for key, value in facts.items():
                if key.startswith("fluxloop_") and isinstance(value, int | float):
                    self.sums[key] = self.sums.get(key, 0) + value
            if path := self.config.getoption("fluxloop_summary"):
                from fluxloop.pytest_plugin import add_summary_row

                add_summary_row(path, report, facts, first=self.sums["tests"] == 1)

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        if self.sums:
            from fluxloop.pytest_plugin import totals_line

            terminalreporter.write_line(totals_line(self.sums))
        if path := self.config.getoption("fluxloop_report"):
            from fluxloop.pytest_plugin import join_report

            terminalreporter.write_line(join_report(path))
