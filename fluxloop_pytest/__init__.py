"""
What pytest loads in every session: options, marks and fixtures of `fluxloop.pytest_plugin`.

FluxLoop itself is imported when the first test uses it, so that other sessions start as quickly as without it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from fluxloop.pytest_plugin import Captured, ExperimentRunner, OutlineSnapshot, TestCassette

MARKS = {
    "fluxloop": "fluxloop(budget_tokens=, budget_cost=, max_model_calls=, no_network=): limits on what a test records",
    "fluxloop_cassette": "fluxloop_cassette(name, match=, live=): answer calls from cassettes/<name>.jsonl",
    "fluxloop_repeat": "fluxloop_repeat(n, pass_at_least=): run the test n times; it passes if so many runs pass",
}

FIXTURES = frozenset({"fluxloop_traces", "fluxloop_cassette", "outline_snapshot"})


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("fluxloop", "FluxLoop: what agents did in tests")
    group.addoption("--fluxloop-update", action="store_true", help="rewrite the golden outlines, and remove stale ones")
    group.addoption("--fluxloop-report", metavar="FILE", help="write the traces of all tests to one HTML page")
    group.addoption(
        "--fluxloop-summary", metavar="FILE", help="write a table of the tests and their costs, in Markdown"
    )
    group.addoption(
        "--fluxloop-record",
        choices=("once", "none", "new_episodes", "rewrite"),
        help="how cassettes are used: record those that are missing (once, the default), record nothing (none, the "
        "default where CI is set), add calls that are missing (new_episodes), or record all again (rewrite)",
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
    if getattr(item, "fixturenames", None) is None:  # a doctest of a text file, or a test of another plugin
        return
    marks = {mark.name for mark in item.iter_markers()}
    reported = item.config.getoption("fluxloop_report") or item.config.getoption("fluxloop_summary")
    if "fluxloop_cassette" in marks:
        _add_fixture(item, "fluxloop_cassette")
    if reported or not marks.isdisjoint(MARKS):
        _add_fixture(item, "fluxloop_traces")
    if not FIXTURES.isdisjoint(item.fixturenames):  # type: ignore[attr-defined]
        use(item.config)


def _add_fixture(item: Any, name: str) -> None:
    """Let *item* use a fixture, set up before its others of the same scope."""
    names, known = item.fixturenames, getattr(getattr(item, "_fixtureinfo", None), "name2fixturedefs", {})
    if name not in names:
        wider = [one for one in names if one in known and known[one][-1].scope != "function"]
        # A new list: the tests of one function, whose marks may differ, share the old one.
        item.fixturenames = [*wider, name, *(one for one in names if one not in wider)]


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
def fluxloop_cassette(request: pytest.FixtureRequest, fluxloop_traces: Captured) -> Iterator[TestCassette]:
    """The cassette of this test, which answers its model and tool calls; see `fluxloop.cassette`."""
    from fluxloop.pytest_plugin import cassettes

    with cassettes.opened(request.node, fluxloop_traces) as cassette:
        yield cassette


@pytest.fixture
def outline_snapshot(request: pytest.FixtureRequest) -> OutlineSnapshot:
    """The golden outline of this test: ``assert trace == outline_snapshot``."""
    from fluxloop.pytest_plugin import OutlineSnapshot

    return OutlineSnapshot(request.node)


@pytest.fixture
def fluxloop_runner(request: pytest.FixtureRequest) -> ExperimentRunner:
    """Runs the experiment of a project in this process: ``fluxloop_runner(project_root=".").require_success()``."""
    return _runner("ExperimentRunner", request)


@pytest.fixture
def fluxloop_runner_multi_turn(request: pytest.FixtureRequest) -> ExperimentRunner:
    """As ``fluxloop_runner``, with conversations of several turns."""
    return _runner("ExperimentRunner", request, {"multi_turn.enabled": True})


@pytest.fixture
def fluxloop_cli(request: pytest.FixtureRequest) -> ExperimentRunner:
    """As ``fluxloop_runner``, with the commands ``fluxloop run`` and ``fluxloop parse`` in processes of their own."""
    return _runner("CommandRunner", request)


def _runner(kind: str, request: pytest.FixtureRequest, values: dict[str, Any] | None = None) -> ExperimentRunner:
    try:
        from fluxloop.pytest_plugin import experiments
    except ModuleNotFoundError as error:
        missing = f"{request.fixturename} needs {error.name!r}, which is not installed"
        pytest.fail(f"{missing}: pip install 'fluxloop[experiments]'", pytrace=False)
    runner: ExperimentRunner = getattr(experiments, kind)(request.config.rootpath, values)
    return runner


class Totals:
    """What a session reports over all its tests, also those of other workers."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.sums: dict[str, float] = {}
        self.stale: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when not in PHASES:  # of a worker that crashed
            if path := self.config.getoption("fluxloop_report"):
                from fluxloop.pytest_plugin import add_to_report

                add_to_report(path, report, [])
            return
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

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """Take what a worker of ``pytest-xdist`` found; each of them collects all tests."""
        self.stale = getattr(node, "workeroutput", {}).get("fluxloop_stale", self.stale)

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        if self.sums:
            from fluxloop.pytest_plugin import totals_line

            terminalreporter.write_line(totals_line(self.sums))
        if path := self.config.getoption("fluxloop_report"):
            from fluxloop.pytest_plugin import join_report

            terminalreporter.write_line(join_report(path))
        if self.stale or self.config.pluginmanager.has_plugin("fluxloop_plugin"):
            from fluxloop.pytest_plugin import stale_lines

            remove = self.config.getoption("fluxloop_update")
            for line in stale_lines(self.config, self.stale, remove=remove):
                terminalreporter.write_line(line)


PHASES = ("setup", "call", "teardown")
"""The reports of a test that has run."""
