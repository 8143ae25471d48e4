"""
The pytest plugin, in real sessions of pytest.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest


def test_a_test_has_its_own_traces_and_asserts_on_them(session) -> None:
    """What one test records is not in the next, with threads, tasks, classes and parameters."""
    result = session(
        """
        def test_first(fluxloop_traces):
            agent("Rome")
            trace = fluxloop_traces.trace
            assert trace.tools("search").called_once_with(query=ANY)
            assert trace.calls == ["search", "book"]
            assert trace.tool_calls.before("search", "book")
            assert [call.name for call in trace.errors] == ["book"]
            assert trace.unfinished == []
            assert trace.usage.total_tokens == 1000
            assert trace.models == ["gpt-4o-mini"]
            assert trace.cost < 0.01
            assert trace.output == "sorry"

        @pytest.mark.parametrize("city", ["Oslo", "Bern"])
        class TestCities:
            async def test_async(self, fluxloop_traces, city):
                await asyncio.gather(asyncio.to_thread(agent, city), asyncio.to_thread(agent, city))
                assert [trace.input["query"] for trace in fluxloop_traces] == [city, city]

        def test_thread(fluxloop_traces):
            thread = threading.Thread(target=agent, args=("x",))
            thread.start()
            thread.join()
            assert len(fluxloop_traces) == 1
        """.replace("\n        ", "\n")
    )

    result.assert_outcomes(passed=4)
    result.stdout.fnmatch_lines(["FluxLoop: 4 tests recorded 6 traces, 6 model calls, 6,000 tokens*"])


def test_a_failing_test_shows_the_tree_of_its_traces(session) -> None:
    """The reason is in the assertion, and the traces are below it."""
    result = session(
        "def test_it(fluxloop_traces):\n"
        '    agent("Rome")\n'
        '    assert fluxloop_traces.trace.tools("search").called_once_with(query="Oslo")\n'
    )

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "E *no call with query='Oslo': [[]search(query='Rome', limit=3)[]]*",
            "*FluxLoop traces*",
            "AGENT agent({'query': 'Rome'}) -> 'sorry'",
            "  TOOL book({'where': 'Rome'}) [[]error: fully booked[]]",
        ]
    )


def test_errors_are_shown_with_their_texts(session) -> None:
    """A comparison of calls shows the calls, not all their fields."""
    result = session('def test_it(fluxloop_traces):\n    agent("x")\n    assert fluxloop_traces.trace.errors == []\n')

    result.stdout.fnmatch_lines(["E *[[]book(where='x')[]] == [[][]]*", "E *book: fully booked"])


@pytest.mark.parametrize("options", [(), ("-n2",)])
def test_fixtures_that_record_during_set_up_are_captured(session, options: tuple[str, ...]) -> None:
    """Fixtures that use the traces are recorded before and after the test."""
    result = session(
        "@pytest.fixture\n"
        "def answered(fluxloop_traces):\n"
        '    agent("before")\n'
        "    yield\n"
        '    agent("after")\n'
        "    assert len(fluxloop_traces) == 3\n"
        "def test_it(answered, fluxloop_traces):\n"
        '    agent("test")\n'
        "    assert len(fluxloop_traces) == 2\n",
        *options,
    )

    result.assert_outcomes(passed=1)


# Limits


@pytest.mark.parametrize(
    ("mark", "message"),
    [
        ("budget_tokens=999", "the test used 1,000 tokens, its limit is 999"),
        ("max_model_calls=0", "the test used 1 model calls, its limit is 0"),
        ("budget_cost=0.000001", "the test cost $0.000*, its limit is $0.000001"),
    ],
)
def test_a_test_over_its_budget_fails(session, mark: str, message: str) -> None:
    """The budget is checked after the test, which needs no fixture."""
    result = session(f'@pytest.mark.fluxloop({mark})\ndef test_it():\n    agent("x")\n')

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines([f"*{message}*"])


def test_a_test_within_its_budget_passes(session) -> None:
    """Limits are inclusive, and those of a class and a test are joined."""
    result = session(
        "@pytest.mark.fluxloop(budget_tokens=1)\n"
        "class TestIt:\n"
        "    @pytest.mark.fluxloop(budget_tokens=1000, max_model_calls=1, budget_cost=1)\n"
        '    def test_it(self):\n        agent("x")\n'
    )

    result.assert_outcomes(passed=1)


def test_an_unknown_price_is_not_a_price_of_zero(session) -> None:
    """A budget in dollars fails if the price of a model is unknown, and says what to do."""
    result = session(
        '@fluxloop.prompt(model="house-model-1")\n'
        "def other(text):\n"
        '    return {"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 1, "total_tokens": 10}}\n'
        "@fluxloop.agent\ndef asks():\n    other('x')\n"
        "@pytest.mark.fluxloop(budget_cost=1)\ndef test_it():\n    asks()\n"
    )

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*no price of house-model-1 is known*tool.fluxloop.prices*"])


@pytest.mark.parametrize(
    ("mark", "message"),
    [
        ("fluxloop(budget_token=1)", "*test_it: @pytest.mark.fluxloop has no argument 'budget_token'; it has *"),
        ("fluxloop(5)", "*takes arguments by name only: budget_tokens*"),
        ("fluxloop(budget_tokens='5')", "*budget_tokens of @pytest.mark.fluxloop is '5', expected a number"),
        ("fluxloop(no_network=1)", "*no_network of @pytest.mark.fluxloop is 1, expected True or False"),
        ("fluxloop_repeat()", "*@pytest.mark.fluxloop_repeat needs n=*"),
        ("fluxloop_repeat(n=2, pass_at_least=3)", "*needs n=, and pass_at_least= from 1 to n, got *3*"),
    ],
)  # fmt: skip
def test_a_mark_with_a_wrong_argument_is_one_clear_line(session, mark: str, message: str) -> None:
    """The session ends before any test runs."""
    result = session(f"@pytest.mark.{mark}\ndef test_it():\n    pass\n")

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: {message}"])


# The network


@pytest.mark.parametrize("how", ["mark", "option"])
def test_connections_to_other_machines_fail_the_test_even_if_caught(session, how: str) -> None:
    """The address is in the message; the socket module is as before afterwards."""
    before = socket.socket.connect, socket.getaddrinfo
    result = session(
        ("@pytest.mark.fluxloop(no_network=True)\n" if how == "mark" else "")
        + "def test_it():\n"
        + "    for connect in (lambda: socket.create_connection(('192.0.2.1', 80)),\n"
        + "                    lambda: socket.getaddrinfo('host.invalid', 80)):\n"
        + "        with pytest.raises(ConnectionError, match='must not use the network'):\n"
        + "            connect()\n",
        *(["--fluxloop-block-network"] if how == "option" else []),
    )

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*must not use the network, and tried to connect to 192.0.2.1:80, host.invalid:80"])
    assert (socket.socket.connect, socket.getaddrinfo) == before


def test_connections_to_this_machine_are_allowed(session) -> None:
    """A local server can be used, by address and by name."""
    result = session(
        "@pytest.mark.fluxloop(no_network=True)\n"
        "@pytest.mark.parametrize('host', ['127.0.0.1', 'localhost'])\n"
        "def test_it(host):\n"
        "    with socket.create_server(('127.0.0.1', 0)) as server:\n"
        "        socket.create_connection((host, server.getsockname()[1])).close()\n"
    )

    result.assert_outcomes(passed=2)


# Repeats


@pytest.mark.parametrize(("least", "outcome"), [(3, "passed"), (4, "failed")])
def test_a_repeated_test_passes_if_enough_runs_pass(session, least: int, outcome: str) -> None:
    """It is one test, with its pass rate and interval; async tests repeat too."""
    result = session(
        "RUNS = []\n"
        f"@pytest.mark.fluxloop_repeat(n=5, pass_at_least={least})\n"
        "async def test_it(fluxloop_traces):\n"
        "    RUNS.append(1)\n"
        '    agent("x")\n'
        "    assert len(RUNS) % 2 == 1\n"
    )

    result.assert_outcomes(**{outcome: 1})
    result.stdout.fnmatch_lines(["FluxLoop: 1 test recorded 5 traces*"])
    if outcome == "failed":
        result.stdout.fnmatch_lines(
            ["3 of 5 runs passed (95 % interval: 23% to 88%), expected at least 4; the last failure:", "E *assert*"]
        )


def test_a_repeated_test_can_be_skipped(session) -> None:
    """A skip is a skip, not a failed run."""
    session("@pytest.mark.fluxloop_repeat(n=3)\ndef test_it():\n    pytest.skip('not now')\n").assert_outcomes(
        skipped=1
    )


# Golden outlines

GOLDEN = """
def test_it(fluxloop_traces, outline_snapshot):
    agent("x")
    assert fluxloop_traces.trace == outline_snapshot
"""


def test_a_golden_outline_is_written_compared_and_shown(session, pytester: pytest.Pytester) -> None:
    """Missing: the test fails; written: it passes; changed: the difference is shown as a diff of trees."""
    missing = session(GOLDEN)
    missing.assert_outcomes(failed=1)
    missing.stdout.fnmatch_lines(["E *there is no golden outline *test_it.txt; pytest --fluxloop-update writes it"])

    session(GOLDEN, "--fluxloop-update").assert_outcomes(passed=1)
    session(GOLDEN).assert_outcomes(passed=1)

    changed = session(GOLDEN.replace('agent("x")', 'agent("x"); search("y")').replace(".trace", "[0]"))
    changed.assert_outcomes(passed=1)
    (golden,) = pytester.path.glob("__outlines__/test_it/test_it.txt")
    golden.write_text(golden.read_text().replace("TOOL book", "TOOL find"))
    differs = session(GOLDEN)
    differs.assert_outcomes(failed=1)
    differs.stdout.fnmatch_lines(["E *rewrites it", "E *-  TOOL find*", "E *+  TOOL book*"])


def test_ids_and_times_in_values_do_not_matter(session) -> None:
    """Two runs with other ids and times are equal."""
    tests = (
        "import datetime, uuid\n"
        "@fluxloop.agent\n"
        "def stamped():\n"
        "    return f'{uuid.uuid4()} at {datetime.datetime.now().isoformat()} {object()}'\n"
        "def test_it(fluxloop_traces, outline_snapshot):\n"
        "    stamped()\n"
        "    assert fluxloop_traces.trace == outline_snapshot\n"
    )
    session(tests, "--fluxloop-update").assert_outcomes(passed=1)

    session(tests).assert_outcomes(passed=1)


def test_inputs_are_compared_on_request(session) -> None:
    """``outline_snapshot(inputs=True)`` compares inputs; ``outputs=False`` leaves outputs out."""
    tests = GOLDEN.replace("== outline_snapshot", "== outline_snapshot(inputs=True, outputs=False)")
    tests = tests.replace("agent(", "short(")
    session(tests, "--fluxloop-update").assert_outcomes(passed=1)

    differs = session(tests.replace('"x"', '"y"'))

    differs.assert_outcomes(failed=1)
    differs.stdout.fnmatch_lines(["E *-AGENT short({'query': 'x'})", "E *+AGENT short({'query': 'y'})"])


def test_stale_outlines_are_reported_and_removed(session, pytester: pytest.Pytester) -> None:
    """An outline whose test is gone; not if only some tests were collected."""
    session(GOLDEN, "--fluxloop-update")
    renamed = GOLDEN.replace("test_it(", "test_new(")

    session(renamed).stdout.fnmatch_lines(
        ["stale outline *test_it.txt: its test is gone; --fluxloop-update removes it"]
    )
    session(renamed, "test_it.py::test_new").stdout.no_fnmatch_line("stale outline*")
    session(renamed, "--fluxloop-update").stdout.fnmatch_lines(["removed stale outline *test_it.txt"])

    assert [path.name for path in pytester.path.glob("__outlines__/*/*")] == ["test_new.txt"]


# Reports

MIXED = """
def test_good(fluxloop_traces):
    agent("</script><b>")

def test_bad(fluxloop_traces):
    agent("x")
    assert 0
"""


@pytest.mark.parametrize("options", [(), ("-n2",)])
def test_one_page_has_the_traces_of_all_tests(session, pytester: pytest.Pytester, options: tuple[str, ...]) -> None:
    """Failed tests come first; hostile text is escaped; workers share one page, and leave no parts."""
    result = session(MIXED, "--fluxloop-report=report.html", "--fluxloop-summary=summary.md", *options)

    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["FluxLoop report: report.html (1 failed, 1 other tests)"])
    page = (pytester.path / "report.html").read_text()
    assert page.index("test_bad") < page.index("test_good")
    assert "&lt;/script&gt;&lt;b&gt;" in page
    assert "</script>" not in page
    assert not (pytester.path / "report.html.parts").exists()
    rows = (pytester.path / "summary.md").read_text().splitlines()
    assert rows[0] == "| test | outcome | traces | model calls | tokens | cost |"
    assert sorted(row.split(" | ")[1:5] for row in rows[2:]) == [
        ["failed", "1", "1", "1000"],
        ["passed", "1", "1", "1000"],
    ]


def test_junit_has_the_costs_as_properties(session, pytester: pytest.Pytester) -> None:
    """Tokens and model calls are properties of the test case."""
    session(MIXED, "--junitxml=junit.xml")

    cases = ET.parse(pytester.path / "junit.xml").iter("testcase")
    found = {case.get("name"): {one.get("name"): one.get("value") for one in case.iter("property")} for case in cases}
    assert found["test_good"]["fluxloop_tokens"] == "1000"
    assert found["test_good"]["fluxloop_model_calls"] == "1"


def test_a_report_that_cannot_be_written_is_one_line(session) -> None:
    """Said before the tests run."""
    result = session(MIXED, "--fluxloop-report=/proc/none/report.html")

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: --fluxloop-report: cannot write /proc/none/report.html: *"])


# What others notice


def test_a_session_without_it_does_not_import_fluxloop(tmp_path: Path) -> None:
    """The plugin costs nothing where it is not used."""
    (tmp_path / "test_it.py").write_text(
        "import sys\n\n"
        "def test_it():\n"
        "    assert 'fluxloop_pytest' in sys.modules\n"
        "    assert 'fluxloop' not in sys.modules\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-pno:langsmith_plugin", "-pno:syrupy", str(tmp_path)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )

    assert done.returncode == 0, done.stdout


def test_it_can_be_turned_off(pytester: pytest.Pytester) -> None:
    """``-p no:fluxloop`` removes the fixtures."""
    pytester.makepyfile("def test_it(fluxloop_traces): pass")

    pytester.runpytest_inprocess("-p", "no:fluxloop").stdout.fnmatch_lines(["*fixture 'fluxloop_traces' not found*"])


def test_passed_tests_leave_nothing_in_memory(session) -> None:
    """What a test recorded is freed when it has ended, also its cassette."""
    result = session(
        "import gc, weakref\n"
        "ALIVE = []\n"
        "@pytest.mark.fluxloop_cassette('x', match='fifo')\n"
        "@pytest.mark.parametrize('n', range(20))\n"
        "def test_it(fluxloop_traces, fluxloop_cassette, n):\n"
        '    agent("x")\n'
        "    for each in (fluxloop_traces, fluxloop_traces.storage, fluxloop_traces.trace, fluxloop_cassette):\n"
        "        ALIVE.append(weakref.ref(each))\n"
        "def test_last():\n"
        "    gc.collect()\n"
        "    assert [ref() for ref in ALIVE if ref() is not None] == []\n"
    )

    result.assert_outcomes(passed=21)


def test_a_crashed_worker_loses_only_its_test(session, pytester: pytest.Pytester) -> None:
    """The report has the other tests, and the outcome is right."""
    result = session(
        "import os\n"
        "def test_crash(fluxloop_traces):\n    os._exit(9)\n"
        'def test_good(fluxloop_traces):\n    agent("x")\n',
        "-n1",
        "--fluxloop-report=report.html",
    )

    result.assert_outcomes(failed=1, passed=1)
    assert "test_good" in (pytester.path / "report.html").read_text()


def test_facts_are_numbers(session, pytester: pytest.Pytester) -> None:
    """Reports in JSON can use the properties as they are."""
    result = session(
        "def pytest_runtest_logreport(report): pass\n" + MIXED,
        conftest=(
            "import json\n"
            "def pytest_runtest_logreport(report):\n"
            "    if report.when == 'call':\n"
            "        with open('facts.jsonl', 'a') as file:\n"
            "            file.write(json.dumps(report.user_properties) + '\\n')\n"
        ),
    )

    result.assert_outcomes(passed=1, failed=1)
    first = dict(json.loads((pytester.path / "facts.jsonl").read_text().splitlines()[0]))
    assert {key: first[key] for key in ("fluxloop_traces", "fluxloop_model_calls", "fluxloop_tokens")} == {
        "fluxloop_traces": 1,
        "fluxloop_model_calls": 1,
        "fluxloop_tokens": 1000,
    }
