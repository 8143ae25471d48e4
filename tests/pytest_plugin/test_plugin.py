"""
The pytest plugin, in real sessions of pytest.
"""

from __future__ import annotations

import json
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


def test_a_traceback_has_the_frames_of_the_program_only(session, pytester: pytest.Pytester) -> None:
    """Also in repeated tests and of chained errors; ``--full-trace`` shows all, and so does a failure of FluxLoop."""
    tests = (
        "@fluxloop.agent\n"
        "def failing(text):\n"
        "    try:\n"
        "        book(where=text)\n"
        "    except ValueError as error:\n"
        "        raise RuntimeError('no room') from error\n"
        "def test_one(fluxloop_traces):\n    failing('x')\n"
        "@pytest.mark.fluxloop_repeat(2)\n"
        "def test_two(fluxloop_traces):\n    failing('x')\n"
        "def test_three(fluxloop_traces):\n"
        "    from fluxloop.replay import sources\n"
        "    sources.traces_in(5, None)\n"
    )
    result = session(tests, "-k", "not three")
    result.assert_outcomes(failed=2, deselected=1)
    result.stdout.fnmatch_lines(["E *RuntimeError: no room", "test_it.py:*: RuntimeError"])
    result.stdout.no_fnmatch_line("*fluxloop/tracing/*")

    session(tests, "-k", "one", "--full-trace").stdout.fnmatch_lines(["*fluxloop/tracing/*"])
    session(tests, "-k", "three").stdout.fnmatch_lines(["*fluxloop/replay/sources.py:*: TypeError"])


def test_errors_are_shown_with_their_texts(session) -> None:
    """A comparison of calls shows the calls, not all their fields."""
    result = session('def test_it(fluxloop_traces):\n    agent("x")\n    assert fluxloop_traces.trace.errors == []\n')

    result.stdout.fnmatch_lines(["E *[[]book(where='x')[]] == [[][]]*", "E *book: fully booked"])


def test_fixtures_that_record_during_set_up_are_captured(session) -> None:
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
    )

    result.assert_outcomes(passed=1)


# Limits


@pytest.mark.parametrize(
    ("mark", "message"),
    [
        ("budget_tokens=999", "the test used 1,000 tokens, its limit is 999"),
        ("max_model_calls=0", "the test used 1 model call, its limit is 0"),
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
        ("fluxloop_repeat(n=2)\nclass TestIt(__import__('unittest').TestCase)", "*needs a test function of pytest"),
        ("fluxloop_repeat(n=2, pass_at_least=3)", "*needs n=, and pass_at_least= from 1 to n, got *3*"),
    ],
)  # fmt: skip
def test_a_mark_with_a_wrong_argument_is_one_clear_line(session, mark: str, message: str) -> None:
    """The session ends before any test runs."""
    head = f"@pytest.mark.{mark}\n"
    result = session(
        f"{head[:-1]}:\n    def test_it(self):\n        pass\n"
        if "class" in mark
        else f"{head}def test_it():\n    pass\n"
    )

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: {message}"])


# The network


NETWORK = """
import _socket

def lookup():
    try:
        socket.gethostbyname("host.invalid")
    except OSError as error:
        return type(error).__name__

@pytest.fixture
def late():
    yield
    lookup()

@pytest.mark.fluxloop(no_network=True)
class TestBlocked:
    @pytest.mark.parametrize("attempt", [
        lambda: socket.create_connection(("192.0.2.1", 80)),
        lambda: _socket.socket().connect(("192.0.2.2", 80)),
        lambda: socket.socket().connect_ex(("192.0.2.3", 80)),
        lambda: asyncio.run(asyncio.open_connection("192.0.2.4", 80)),
        lambda: socket.socket(type=socket.SOCK_DGRAM).sendto(b"x", ("192.0.2.5", 53)),
        lambda: socket.socket(socket.AF_INET6).connect(("::ffff:192.0.2.6", 80)),
        lambda: _socket.getaddrinfo("host.invalid", 80),
        lambda: socket.gethostbyname_ex("host.invalid"),
    ])
    def test_attempt(self, attempt):
        with pytest.raises(ConnectionError, match="must not use the network"):
            attempt()

    def test_thread(self):
        thread = threading.Thread(target=lookup)
        thread.start()
        thread.join()

    def test_tear_down(self, late):
        pass

    @pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
    def test_local(self, host):
        with socket.create_server(("127.0.0.1", 0)) as server:
            socket.create_connection((host, server.getsockname()[1])).close()
        socket.getfqdn()

def test_free():
    assert lookup() == "gaierror"
"""


def test_other_machines_are_refused_to_a_marked_test(session) -> None:
    """
    Also to the C module, datagrams, look-ups, threads, tear-down, and if the program caught the error. This machine and
    other tests are not affected.

    The session has a process of its own: in this one, connections are refused for other reasons as well.
    """
    result = session(NETWORK, "-pno:asyncio", "-Wignore", in_process=False)

    result.assert_outcomes(passed=4, failed=9, errors=1)
    prefix = "the test must not use the network, and tried to connect to "
    found = sorted(line.removeprefix(prefix) for line in result.stdout.lines if line.startswith(prefix))
    addresses = [f"192.0.2.{number}:80" for number in range(1, 5)]
    assert found == [*addresses, "192.0.2.5:53", "::ffff:192.0.2.6:80", *["host.invalid"] * 3, "host.invalid:80"]


def test_the_option_refuses_them_to_all_tests(session) -> None:
    """The address is in the message."""
    result = session(
        "def test_it():\n"
        "    with pytest.raises(ConnectionError, match='must not use the network.*to h.invalid'):\n"
        "        socket.gethostbyname('h.invalid')\n",
        "--fluxloop-block-network",
    )

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["the test must not use the network, and tried to connect to h.invalid"])


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


def test_each_run_of_a_repeated_test_sees_its_own_traces(session) -> None:
    """Also a golden outline is the same file for all runs; limits and reports count all of them."""
    tests = (
        "@pytest.mark.fluxloop(max_model_calls=LIMIT)\n"
        "@pytest.mark.fluxloop_repeat(n=3)\n"
        "def test_it(fluxloop_traces, outline_snapshot):\n"
        '    agent("x")\n'
        "    assert fluxloop_traces.trace == outline_snapshot\n"
    )
    session(tests.replace("LIMIT", "3"), "--fluxloop-update").assert_outcomes(passed=1)
    passes = session(tests.replace("LIMIT", "3"))
    passes.assert_outcomes(passed=1)
    passes.stdout.fnmatch_lines(["FluxLoop: 1 test recorded 3 traces*"])
    passes.stdout.no_fnmatch_line("stale*")

    session(tests.replace("LIMIT", "2")).stdout.fnmatch_lines(["the test used 3 model calls, its limit is 2"])


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
    missing.stdout.fnmatch_lines(["E *golden outline not found: *test_it.txt; pytest --fluxloop-update writes it"])

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
    session(renamed, "--lf", "-p", "cacheprovider").stdout.no_fnmatch_line("stale outline*")
    session(renamed, "test_it.py::test_new").stdout.no_fnmatch_line("stale outline*")
    session(renamed, "--fluxloop-update").stdout.fnmatch_lines(["removed stale outline *test_it.txt"])

    assert [path.name for path in pytester.path.glob("__outlines__/*/*")] == ["test_new.txt"]


def test_tests_with_one_name_have_different_outlines(session, pytester: pytest.Pytester) -> None:
    """Methods of two classes, and parameters whose file names would be equal."""
    tests = (
        "class TestA:\n"
        "    def test_it(self, fluxloop_traces, outline_snapshot):\n"
        "        short(type(self).__name__)\n"
        "        assert fluxloop_traces.trace == outline_snapshot\n"
        "class TestB(TestA):\n    pass\n"
        "@pytest.mark.parametrize('text', ['a/b', 'a:b', 'x' * 300])\n"
        "def test_text(fluxloop_traces, outline_snapshot, text):\n"
        "    short(text)\n"
        "    assert fluxloop_traces.trace == outline_snapshot\n"
    )
    session(tests, "--fluxloop-update").assert_outcomes(passed=5)
    session(tests).assert_outcomes(passed=5)

    assert len([*pytester.path.glob("__outlines__/test_it/*.txt")]) == 5


# Reports

MIXED = """
def test_good(fluxloop_traces):
    agent("</script><b>")

def test_bad(fluxloop_traces):
    agent("x")
    assert 0
"""


def test_one_page_has_the_traces_of_all_tests(session, pytester: pytest.Pytester) -> None:
    """Failed tests come first; hostile text is escaped; the parts of the page are removed."""
    result = session(MIXED, "--fluxloop-report=report.html", "--fluxloop-summary=summary.md")

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


def test_subtests_are_one_test(session, pytester: pytest.Pytester) -> None:
    """The reports of subtests are not counted; hostile names and long errors are one line each."""
    result = session(
        '@fluxloop.tool(name="evil\\x1b[31m\\nname")\n'
        "def evil():\n    raise ValueError('z' * 5000)\n"
        "@fluxloop.agent\n"
        "def calls():\n    evil()\n"
        "def test_it(fluxloop_traces, subtests):\n"
        "    for number in range(3):\n"
        "        with subtests.test(number=number):\n"
        "            agent('x')\n"
        "    calls()\n",
        "--fluxloop-report=report.html",
        "--fluxloop-summary=summary.md",
    )

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            r"  TOOL evil\x1b[[]31m\nname*z…",
            "FluxLoop: 1 test recorded 4 traces*",
            "FluxLoop report: * (1 failed, 0 other tests)",
        ]
    )
    assert len((pytester.path / "summary.md").read_text().splitlines()) == 3


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
    """The plugin costs nothing where it is not used, and experiments are loaded for their fixtures only."""
    head = "import sys\n\ndef test_it({}):\n    assert 'fluxloop_pytest' in sys.modules\n"
    (tmp_path / "test_unused.py").write_text(head.format("") + "    assert 'fluxloop' not in sys.modules\n")
    (tmp_path / "test_used.py").write_text(
        head.format("fluxloop_traces")
        + "    assert 'fluxloop' in sys.modules\n"
        + "    assert not {'fluxloop.experiments', 'httpx', 'rich', 'jinja2', 'ruamel'} & set(sys.modules)\n"
    )
    for file in ("test_unused.py", "test_used.py"):
        plugins = [f"-pno:{name}" for name in ("langsmith_plugin", "hypothesispytest", "anyio", "syrupy", "xdist")]
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", *plugins, file], cwd=tmp_path, capture_output=True, text=True
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


def test_workers_share_one_report_and_a_crash_loses_only_its_test(session, pytester: pytest.Pytester) -> None:
    """With ``pytest-xdist``: fixtures, cassettes and stale outlines work, and the crashed test is in the report."""
    stale = pytester.path / "__outlines__/test_it/test_gone.txt"
    stale.parent.mkdir(parents=True)
    stale.write_text("AGENT gone\n")
    result = session(
        "import os\n"
        "@pytest.fixture\n"
        "def answered(fluxloop_traces):\n"
        '    agent("before")\n'
        "@pytest.mark.fluxloop_cassette\n"
        "def test_crash():\n"
        '    agent("x")\n'
        "    os._exit(9)\n"
        "@pytest.mark.fluxloop_cassette\n"
        "def test_good(answered, fluxloop_traces):\n"
        '    agent("x")\n'
        "    assert len(fluxloop_traces) == 2\n",
        "-n1",
        "--fluxloop-report=report.html",
        "--fluxloop-summary=summary.md",
    )

    result.assert_outcomes(failed=1, passed=1)
    result.stdout.fnmatch_lines(
        [
            "worker 'gw0' crashed while running 'test_it.py::test_crash'",
            "FluxLoop: 1 test recorded 2 traces, 2 model calls, 2,000 tokens*",
            "FluxLoop report: report.html (1 failed, 1 other tests)",
            f"stale outline {stale}: its test is gone; --fluxloop-update removes it",
        ]
    )
    page = (pytester.path / "report.html").read_text()
    assert page.index("test_crash") < page.index("test_good")
    assert not (pytester.path / "report.html.parts").exists()
    assert "| test_it.py::test_good | passed | 2 | 2 | 2000 |" in (pytester.path / "summary.md").read_text()
    assert [path.name for path in pytester.path.glob("cassettes/*/*")] == ["test_good.jsonl"]


def test_a_trace_left_open_is_one_line(session) -> None:
    """The test has its outcome; the warning names the test and the call, and the trace has it as unfinished."""
    tests = (
        "@fluxloop.agent\n"
        "def stream(text):\n"
        "    search(text)\n"
        "    yield text\n"
        "    yield text\n"
        "LEFT = []\n"
        "def test_it(fluxloop_traces):\n"
        "    LEFT.append(stream('x'))\n"
        "    next(LEFT[0])\n"
        "    assert [call.name for call in fluxloop_traces.trace.unfinished] == ['stream']\n"
        "def test_last():\n    LEFT[0].close()\n"
    )
    as_error = session(tests, "-Werror")
    as_error.assert_outcomes(passed=2, errors=1)
    as_error.stdout.fnmatch_lines(["test_it.py::test_it left open: AGENT stream of trace 'stream'"])
    as_error.stdout.no_fnmatch_line("*warn_explicit*")
    result = session(tests, "-Wdefault")

    result.assert_outcomes(passed=2, warnings=1)
    result.stdout.fnmatch_lines(["*FluxLoopWarning: test_it.py::test_it left open: AGENT stream of trace 'stream'"])


def test_two_recorders_that_disagree_are_one_line(session, pytester: pytest.Pytester) -> None:
    """What a fixture or the test redirects is not in the traces: limits and cassettes fail; others have a note."""
    result = session(
        "from fluxloop.testing import capture\n"
        "@pytest.fixture\n"
        "def mine():\n"
        "    with capture() as captured:\n"
        "        yield captured\n"
        "@pytest.mark.fluxloop(budget_tokens=5)\n"
        "def test_limits():\n"
        "    fluxloop.configure(storage='memory')\n"
        "    agent('x')\n"
        "@pytest.mark.fluxloop_cassette\n"
        "def test_cassette(mine):\n    agent('x')\n"
        "def test_traces(fluxloop_traces, mine):\n    agent('x')\n    assert fluxloop_traces.trace\n"
        "def test_passes(fluxloop_traces, mine):\n    agent('x')\n    assert mine.trace\n"
    )

    result.assert_outcomes(failed=3, passed=1)
    result.stdout.fnmatch_lines(
        [
            "the limits of the test cannot be checked: fluxloop.configure() or fluxloop.testing.capture() replaced *",
            "E *AssertionError: expected one trace, recorded 0",
            "fluxloop.configure() or fluxloop.testing.capture() replaced the recorder of fluxloop_traces during *",
        ]
    )
    result.stdout.fnmatch_lines(["the cassette cassettes/test_it/test_cassette.jsonl cannot be written: *replaced*"])


def test_doctests_unittest_and_failed_fixtures_are_in_the_report(session, pytester: pytest.Pytester) -> None:
    """``--fluxloop-report`` records everything that pytest runs; limits hold for methods of `unittest` too."""
    result = session(
        "import unittest\n"
        "@pytest.mark.fluxloop(max_model_calls=0)\n"
        "class TestUnit(unittest.TestCase):\n"
        "    def test_calls(self):\n        agent('u')\n"
        "def documented():\n"
        '    """\n    >>> short("doc")\n    \'doc\'\n    """\n'
        "@pytest.fixture\n"
        "def broken():\n    agent('before')\n    raise RuntimeError('broken')\n"
        "def test_broken(broken):\n    pass\n",
        "--doctest-modules",
        "--fluxloop-report=report.html",
    )

    result.assert_outcomes(passed=1, failed=1, errors=1)
    result.stdout.fnmatch_lines(["the test used 1 model call, its limit is 0"])
    page = (pytester.path / "report.html").read_text()
    assert all(name in page for name in ("TestUnit::test_calls", "test_it.documented", "test_broken"))


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
