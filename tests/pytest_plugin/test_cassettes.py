"""
The mark ``fluxloop_cassette``, in real sessions of pytest.
"""

from __future__ import annotations

from pathlib import Path

import pytest

AGENTS = """
import os

CALLS = []

@fluxloop.tool
def look_up(word):
    CALLS.append(word)
    return [word, len(CALLS)]

@fluxloop.agent
def reader(*words):
    return [look_up(word) for word in words]

@fluxloop.agent
def careless(word):
    try:
        return look_up(word)
    except Exception:
        return "sorry"
"""
"""Agents whose tool notes each call that runs for real."""


def test_a_cassette_is_recorded_once_and_answers_afterwards(session, pytester: pytest.Pytester) -> None:
    """With threads, tasks, classes, parameters, and fixtures that record before and after; one file per test."""
    tests = AGENTS + (
        "RECORDS = not os.path.exists('cassettes')\n"
        "@pytest.fixture\n"
        "def around():\n"
        "    reader('before')\n"
        "    yield\n"
        "    reader('after')\n"
        "@pytest.mark.fluxloop_cassette\n"
        "class TestReader:\n"
        "    @pytest.mark.parametrize('word', ['a', 'b/c', 'b:c'])\n"
        "    def test_words(self, around, word, fluxloop_traces):\n"
        "        reader(word)\n"
        "        assert [trace.calls for trace in fluxloop_traces] == [['look_up'], ['look_up']]\n"
        "@pytest.mark.fluxloop_cassette('shared.v1', match='fifo')\n"
        "async def test_at_once(fluxloop_cassette):\n"
        "    await asyncio.gather(*(asyncio.to_thread(reader, word) for word in 'xyz'))\n"
        "    thread = threading.Thread(target=reader, args=('t',))\n"
        "    thread.start()\n"
        "    thread.join()\n"
        "    assert (fluxloop_cassette.report() is None) is RECORDS\n"
        "def test_last():\n"
        "    assert bool(CALLS) is RECORDS\n"
    )

    session(tests).assert_outcomes(passed=5)
    session(tests, "--fluxloop-record=none").assert_outcomes(passed=5)

    names = sorted(str(path.relative_to(pytester.path)) for path in pytester.path.glob("cassettes/**/*.jsonl"))
    assert len(names) == 4
    assert names[0] == "cassettes/shared.v1.jsonl"
    assert "cassettes/test_it/TestReader.test_words[a].jsonl" in names


ONE = "\n@pytest.mark.fluxloop_cassette\ndef test_it():\n    {}\n"


def test_a_missing_cassette_in_ci_is_one_line(session, pytester: pytest.Pytester, monkeypatch) -> None:
    """It names the file, the reason, and the command that records it; nothing ran."""
    monkeypatch.setenv("CI", "true")
    result = session(AGENTS + ONE.format("reader('a')"))

    result.assert_outcomes(errors=1)
    start = "cassette not found: cassettes/test_it/test_it.jsonl; none is recorded because CI is set. "
    result.stdout.fnmatch_lines([f"{start}*: pytest --fluxloop-record=once 'test_it.py::test_it'"])
    assert not (pytester.path / "cassettes").exists()


@pytest.mark.parametrize(
    ("now", "lines"),
    [
        ("reader('b')", ["E *ReplayMismatch: no recorded answer for TOOL look_up*", "*FluxLoop cassette*"]),
        (
            "careless('b')",
            [
                'no recorded answer for TOOL look_up({"word": "b"}), called in the start of the run',
                "  the program caught the error",
            ],
        ),
        ("reader()", ["1 calls of the cassette cassettes/test_it/test_it.jsonl were not made:", "  TOOL look_up(*"]),
    ],
)
def test_another_run_than_the_recorded_one_fails_the_test(session, now: str, lines: list[str]) -> None:
    """A call without an answer, also one whose error was caught, and a call that was not made; each says what to do."""
    session(AGENTS + ONE.format("reader('a')")).assert_outcomes(passed=1)
    result = session(AGENTS + ONE.format(now))

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(lines)
    result.stdout.fnmatch_lines(["To record cassettes/* again: pytest --fluxloop-record=rewrite 'test_it.py::test_it'"])


def test_a_test_that_does_not_pass_writes_nothing(session, pytester: pytest.Pytester) -> None:
    """Failed, skipped and expected failures; the report of a failure has a note."""
    result = session(
        AGENTS
        + ONE.format("reader('a'); assert 0")
        + ONE.format("reader('a'); pytest.skip('not now')").replace("test_it", "test_skipped")
        + ("\n@pytest.mark.xfail" + ONE.format("reader('a'); assert 0")).replace("test_it", "test_xfail")
    )

    result.assert_outcomes(failed=1, skipped=1, xfailed=1)
    result.stdout.fnmatch_lines(["cassettes/test_it/test_it.jsonl was not written, because the test did not pass"])
    assert not (pytester.path / "cassettes").exists()


def test_a_test_that_records_nothing_fails(session) -> None:
    """It would pass for ever without testing anything."""
    result = session(AGENTS + ONE.format("look_up('a')"))

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["no call was recorded into the cassette cassettes/test_it/test_it.jsonl: *"])


def test_modes_add_and_replace_episodes(session, pytester: pytest.Pytester) -> None:
    """``new_episodes`` adds what is missing, ``rewrite`` records again, and both leave equal runs as they are."""
    file: Path = pytester.path / "cassettes/test_it/test_it.jsonl"

    def run(body: str, mode: str) -> str:
        session(AGENTS + ONE.format(body), f"--fluxloop-record={mode}").assert_outcomes(passed=1)
        return file.read_text()

    first = run("reader('a')", "once")
    assert run("reader('a')", "rewrite") == first
    assert run("reader('a')", "new_episodes") == first
    added = run("reader('a', 'b'); assert CALLS == ['b']", "new_episodes")
    assert '"b"' in added
    assert '"a"' in added
    run("assert reader('a', 'b') == [['a', 1], ['b', 1]]; assert CALLS == []", "none")
    assert '"a"' not in run("reader('b')", "rewrite")


def test_live_calls_run_for_real(session) -> None:
    """``live`` names calls, or groups of them."""
    mark = "\n@pytest.mark.fluxloop_cassette(live='tools')\ndef test_it():\n    {}\n"
    session(AGENTS + mark.format("reader('a')")).assert_outcomes(passed=1)
    session(AGENTS + mark.format("reader('b'); assert CALLS == ['b']")).assert_outcomes(passed=1)


def test_a_damaged_cassette_is_one_line(session, pytester: pytest.Pytester) -> None:
    """Not a traceback of the reader."""
    pytester.mkdir("cassettes")
    (pytester.path / "cassettes/x.jsonl").write_text("not a cassette")
    result = session(AGENTS + "\n@pytest.mark.fluxloop_cassette('x')\ndef test_it():\n    reader('a')\n")

    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["the cassette cassettes/x.jsonl cannot be used: expected a trace in *found none*"])


@pytest.mark.parametrize(
    ("mark", "message"),
    [
        ("fluxloop_cassette(mode='none')", "has no argument 'mode'; it has name, match, live"),
        ("fluxloop_cassette('a', 'strict', (), 5)", "has no argument 5; it has name, match, live"),
        ("fluxloop_cassette(match='exact')", "has match='exact', expected one of strict, fifo, loose"),
        ("fluxloop_cassette(live=True)", "has live=True, expected the name of a call*"),
        ("fluxloop_cassette('../../etc')", "has name='../../etc', which is not inside */cassettes"),
        ("fluxloop_cassette('')", "has name='', expected the name of a file"),
        ("fluxloop_cassette('a')\n@pytest.mark.fluxloop_cassette('b')", "it has 2 marks fluxloop_cassette that*"),
    ],
)  # fmt: skip
def test_a_wrong_mark_ends_the_session(session, mark: str, message: str) -> None:
    """One line, before any test runs."""
    result = session(f"@pytest.mark.{mark}\ndef test_it():\n    pass\n")

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: test_it.py::test_it: *{message}"])


def test_a_cassette_that_cannot_be_written_is_one_line(session, pytester: pytest.Pytester) -> None:
    """The folder's name is taken by a file."""
    (pytester.path / "cassettes").write_text("not a folder")
    result = session(AGENTS + ONE.format("reader('a')"))

    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["cannot write the cassette *cassettes/test_it/test_it.jsonl: Not a directory"])


def test_a_mark_on_one_parameter_does_not_affect_the_others(session) -> None:
    """The tests of one function share their fixtures in pytest, but not their marks."""
    session(
        AGENTS
        + "@pytest.mark.parametrize('word', ['a', pytest.param('b', marks=pytest.mark.fluxloop_cassette)])\n"
        + "def test_it(request, word):\n"
        + "    reader(word)\n"
        + "    assert ('fluxloop_cassette' in request.fixturenames) is (word == 'b')\n"
    ).assert_outcomes(passed=2)


LANGGRAPH = """
import os

from langchain.agents import create_agent
from langchain_core.language_models import GenericFakeChatModel
from langchain_core.messages import AIMessage
from langchain_core.tools import tool

fluxloop.install("langchain")

class Model(GenericFakeChatModel):
    def bind_tools(self, tools, **options):
        return self

@tool
def find(query: str) -> str:
    "Find something."
    assert "RECORDS" in os.environ, "it ran for real"
    return f"found {query}"

@pytest.mark.fluxloop_cassette
async def test_it(fluxloop_traces):
    call = {"name": "find", "args": {"query": "x"}, "id": "c1"}
    answers = [AIMessage("", tool_calls=[call]), AIMessage("done")] if "RECORDS" in os.environ else []
    agent = create_agent(Model(messages=iter(answers)), [find])
    found = await agent.ainvoke({"messages": [("user", os.environ["ASK"])]})
    assert found["messages"][-1].content == "done"
    assert fluxloop_traces.trace.calls == ["find"]
"""


@pytest.mark.slow  # workers of pytest-xdist
def test_workers_of_xdist_replay_their_tests(session, pytester: pytest.Pytester, monkeypatch) -> None:
    """Recorded and replayed with ``-n 2``: each test has its own answers, also of one cassette for several tests."""
    tests = AGENTS + (
        "RECORDS = bool(os.environ.get('RECORDS'))\n"
        "@pytest.mark.fluxloop_cassette\n"
        "@pytest.mark.parametrize('n', range(8))\n"
        "def test_own(n):\n"
        "    assert [found[0] for found in reader(*'ab', str(n))] == ['a', 'b', str(n)]\n"
        "    assert bool(CALLS) is RECORDS\n"
        "@pytest.mark.fluxloop_cassette('shared')\n"
        "@pytest.mark.parametrize('n', range(8))\n"
        "def test_shared(n):\n"
        "    CALLS.clear()\n"
        "    assert reader('x', 'x') == [['x', 1], ['x', 2]]\n"
        "    assert RECORDS or not CALLS\n"
        "@pytest.mark.fluxloop_cassette\n"
        "def test_swallowed():\n"
        "    careless('z' if RECORDS else 'another')\n"
    )
    monkeypatch.setenv("RECORDS", "1")
    session(tests, "-n2", in_process=False).assert_outcomes(passed=17)
    monkeypatch.delenv("RECORDS")

    result = session(tests, "-n2", "--fluxloop-record=none", in_process=False)
    result.assert_outcomes(passed=16, failed=1)
    result.stdout.fnmatch_lines(["no recorded answer for TOOL look_up(*another*"])
    assert len([*pytester.path.glob("cassettes/**/*.jsonl")]) == 10


@pytest.mark.slow  # two processes that import LangGraph
def test_an_agent_of_langgraph_needs_no_model_with_a_cassette(session, monkeypatch) -> None:
    """Its model and its tool are answered in a coroutine; another question fails the test."""
    monkeypatch.setenv("ASK", "hi")
    monkeypatch.setenv("RECORDS", "1")
    options = ("-Wignore", "-pno:xdist")
    session(LANGGRAPH, *options, in_process=False).assert_outcomes(passed=1)
    monkeypatch.delenv("RECORDS")
    session(LANGGRAPH, *options, in_process=False).assert_outcomes(passed=1)

    monkeypatch.setenv("ASK", "another")
    result = session(LANGGRAPH, *options, in_process=False)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["E *ReplayMismatch: no recorded answer for GENERATION Model(*another*"])


def test_a_cassette_whose_test_is_gone_is_reported(session, pytester: pytest.Pytester) -> None:
    """Not one that a mark names, and not if only some tests were collected; it is never removed."""
    tests = (
        AGENTS
        + "@pytest.mark.fluxloop_cassette\ndef test_it():\n    reader('a')\n"
        + "@pytest.mark.fluxloop_cassette('test_it/named')\ndef test_named():\n    reader('a')\n"
    )
    session(tests).assert_outcomes(passed=2)
    session(tests).stdout.no_fnmatch_line("stale*")
    renamed = tests.replace("test_it():", "test_new():")

    result = session(renamed, "--fluxloop-update")

    stale = pytester.path / "cassettes/test_it/test_it.jsonl"
    found = [line for line in result.outlines if line.startswith("stale")]
    assert found == [f"stale cassette {stale}: its test is gone; delete it, or give it the new name of the test"]
    assert stale.exists()
    session(renamed, "test_it.py::test_new").stdout.no_fnmatch_line("stale*")
