"""
``fluxloop replay``, ``fluxloop context`` and ``fluxloop cassette``: what they print, and their exit codes.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import offline
import pytest
from cli.commands import completed

APP = """
import fluxloop

PROMPT = "You are kind."


@fluxloop.tool
def search(query: str) -> list[str]:
    return [query, "a page"]


@fluxloop.prompt
def ask(messages: list) -> str:
    return f"answer {len(messages)}"


@fluxloop.agent
def support(question: str) -> str:
    system = {"role": "system", "content": PROMPT}
    plan = ask([system, {"role": "user", "content": question}])
    page = {"role": "tool", "content": str(search(question))}
    return ask([system, {"role": "user", "content": question}, {"role": "assistant", "content": plan}, page])


if __name__ == "__main__":
    import shop

    with fluxloop.cassette("case.jsonl", "rewrite"):
        shop.support("Where is my parcel?")
"""


LOUD = """
print("shop was imported")


def is_kind(trace):
    print("checked")
    return True

"""


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the program and the cassette of one run of it."""
    folder = tmp_path_factory.mktemp("recorded")
    (folder / "shop.py").write_text(APP)
    root = Path(__file__).parent.parent.parent
    environment = {**os.environ, "PYTHONPATH": str(root)}
    subprocess.run([sys.executable, "shop.py"], cwd=folder, env=environment, timeout=60, check=True)
    return folder


@pytest.fixture
def case(recorded: Path, tmp_path: Path) -> Path:
    """A cassette of one run of a program, beside the program."""
    for name in ("shop.py", "case.jsonl"):
        shutil.copy(recorded / name, tmp_path)
    return tmp_path / "case.jsonl"


def change(case: Path, old: str, new: str) -> None:
    """Change the program."""
    program = case.parent / "shop.py"
    program.write_text(program.read_text().replace(old, new))


def test_the_same_code_has_the_same_trajectory(case):
    """
    The entry point and its arguments are in the trace; the exit code is 0.
    """
    done = completed("replay", case)
    assert done.code == 0
    assert done.out == "the same trajectory: 3 calls answered, 0 live\n"


def test_changed_code_has_another_trajectory(case):
    """
    The exit code is 1; the first divergence and the difference of the inputs are shown.
    """
    change(case, "You are kind.", "You are brief.")
    done = completed("replay", case)
    assert done.code == 1
    assert "another trajectory" in done.out
    assert "You are kind." in done.out
    assert "You are brief." in done.out
    assert completed("replay", case, "--match", "loose").code == 0


def test_a_mismatch_that_the_program_swallows_fails_the_command(case):
    """
    The agent answers something else after any exception; the exit code is 1, also as JSON.
    """
    change(case, '    plan = ask([system, {"role": "user", "content": question}])', SWALLOWING)
    done = completed("replay", case)
    assert done.code == 1
    assert "no recorded answer for GENERATION ask" in done.out

    found = json.loads((done := completed("replay", case, "--json")).out)
    assert (done.code, found["same"]) == (1, False)
    assert len(found["misses"]) >= 1


SWALLOWING = """
    try:
        plan = ask([system, {"role": "user", "content": question + "?"}])
    except Exception:
        plan = "answer 2"
"""


def test_json_is_for_other_programs(case):
    """
    One object with the report and both trees.
    """
    change(case, "str(search(question))", '"nothing"')
    done = completed("replay", case, "--target", "shop:support", "--match", "loose", "--json")
    found = json.loads(done.out)
    assert done.code == 1
    assert (found["same"], found["hits"], found["target"]) == (False, 2, "shop:support")
    assert found["unused"] == ['TOOL search({"query": "Where is my parcel?"})']
    assert "-   TOOL search -> ['Where is my parcel?', 'a page']" in found["diff"]


@pytest.mark.parametrize("command", [["replay"], ["blame", "--check", "shop:is_kind", "--rest", "offline"]], ids=str)
def test_what_the_program_prints_stays_out_of_the_json(case, command):
    """
    It goes to standard error.
    """
    (case.parent / "shop.py").write_text(LOUD + APP)
    done = subprocess.run(
        [sys.executable, "-m", "fluxloop", command[0], case, *command[1:], "--json"],
        cwd=case.parent,
        env=offline.environment(is_measured=True),
        timeout=60,
        capture_output=True,
        text=True,
    )
    assert "trace_id" in json.loads(done.stdout) or "same" in json.loads(done.stdout)
    assert "shop was imported" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("nothing.jsonl",), "nothing.jsonl"),
        (("case.jsonl", "--target", "shop"), "--target: a target has the form module:function, got 'shop'"),
        (("case.jsonl", "--target", "shop:refund"), "module 'shop' has no 'refund'"),
        (("case.jsonl", "--target", "nowhere:support"), "module 'nowhere' not found"),
        (("case.jsonl", "--match", "exact"), "match must be one of strict, fifo, loose"),
    ],
)
def test_what_cannot_run_is_said_in_one_line(case, arguments, message):
    """
    The exit code is 2, without a traceback.
    """
    done = completed("replay", *arguments)
    assert done.code == 2
    assert message in done.err
    assert "Traceback" not in done.err


def test_context_shows_what_each_call_was_given(case):
    """
    The messages of the first call, and what was added for the second.
    """
    done = completed("context", case)
    assert done.code == 0
    assert done.out.splitlines() == [
        "call 1  ask    2 messages, 0 tools",
        "    system: You are kind.",
        "    user: Where is my parcel?",
        "call 2  ask    4 messages, 0 tools",
        "  since call 1:",
        "    + assistant: answer 2",
        "    + tool: ['Where is my parcel?', 'a page']",
    ]
    facts = json.loads(completed("context", case, "--call", "2", "--json").out)
    assert len(facts["messages"]) == 4
    assert len(facts["changes"]["added"]) == 2
    assert completed("context", case, "--call", "9").code == 1


def test_cassettes_are_listed_shown_checked_and_pruned(case):
    """
    Each subcommand on one cassette; prune without a trace to keep empties it.
    """
    assert "1 trace, 3 answers" in completed("cassette", "list", case).out
    assert "GENERATION ask" in completed("cassette", "show", case).out
    assert completed("cassette", "check", case).out.strip() == f"{case}: ok"
    assert completed("cassette", "prune", case, "--keep", "case-1").out.strip() == f"{case}: 0 traces removed"
    before = case.read_bytes()
    misspelled = completed("cassette", "prune", case, "--keep", "case-7")
    assert (misspelled.code, case.read_bytes()) == (2, before)
    assert "found 'case-7'; nothing was removed. List the ids with: fluxloop cassette show" in misspelled.err
    (case.parent / "empty.jsonl").write_text("")
    assert completed("cassette", "check", case.parent / "empty.jsonl").code == 1
    assert completed("cassette", "check", "nowhere").code == 2


def forked(case: Path) -> Path:
    """Return the file of a fork of the run: its tool gets another answer."""

    program = """
import fluxloop, shop
from pathlib import Path
step = next(one for one in next(fluxloop.read_traces("case.jsonl")).observations if one.name == "search")
with fluxloop.cassette("fork.jsonl", "rewrite"), fluxloop.replay("case.jsonl", fork_at=step.id, output=["late"]):
    shop.support("Where is my parcel?")
"""
    root = Path(__file__).parent.parent.parent
    environment = {**os.environ, "PYTHONPATH": str(root)}
    subprocess.run([sys.executable, "-c", program], cwd=case.parent, env=environment, timeout=60, check=True)
    return case.parent / "fork.jsonl"


def test_compare_shows_a_fork_and_what_it_was_forked_from(case):
    """
    The changed step is marked, and the line above the difference says where the fork is.
    """
    fork = forked(case)

    done = completed("compare", case, fork)
    assert done.code == 0
    assert "forked from case-1 at TOOL search, changed: output" in done.out
    assert "-   TOOL search({'query': 'Where is my parcel?'}) -> ['Where is my parcel?', 'a page']" in done.out
    assert "+   TOOL search({'query': 'Where is my parcel?'}) -> ['late']" in done.out
    assert completed("compare", case, fork, "--strict").code == 1
    assert completed("compare", case, case, "--strict").code == 0
    facts = json.loads(completed("compare", case, fork, "--json").out)
    assert facts["forked_from"]["changed"] == "output"
    assert not facts["same"]


def test_compare_needs_a_second_trace_unless_the_first_is_a_fork(case):
    """
    One line says what is missing; the exit code is 2.
    """
    done = completed("compare", case)
    assert done.code == 2
    assert "is not a fork" in done.err
    assert "Traceback" not in done.err


@pytest.mark.parametrize(
    ("options", "changed", "line"),
    [
        (("case-1/1.2", "--output", '["late"]'), "output", "+   TOOL search -> ['late']"),
        (("case-1/1.2", "--output", "late"), "output", "+   TOOL search -> 'late'"),
        (
            ("case-1/1.2", "--input", '{"query": "hi"}', "--rest", "recorded"),
            "input",
            "TOOL search -> ['hi', 'a page']",
        ),
        (("case-1/1.1", "--model", "large"), "model", "+   GENERATION ask -> 'large answer 2'"),
    ],
)
def test_a_step_is_changed_from_the_command_line(case, options, changed, line):
    """
    The tree shows the step, and the saved trace knows what it was forked from; the exit code is 1.
    """
    change(case, "def ask(messages: list) -> str:", 'def ask(messages: list, model: str = "a") -> str:')
    change(case, 'f"answer {', 'f"{model} answer {')

    done = completed("replay", case, "--match", "loose", "--fork-at", *options, "--save", "fork.jsonl")

    assert done.code == 1, done.err
    assert line in done.out
    assert f"changed: {changed}" in completed("compare", case, case.parent / "fork.jsonl").out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--fork-at", "nope", "--output", "1"), "case-1/1.2  TOOL search"),
        (
            ("--fork-at", "case-1/1.2", "--output", "1", "--model", "x"),
            "a fork changes one thing, got output and model",
        ),
        (("--fork-at", "case-1/1.2", "--rest", "never"), "rest must be one of live, recorded, offline"),
        (("--output", "1"), "--output changes a recorded step: name the step with --fork-at ID"),
        (("--live", "serch"), "no call is named 'serch', recorded or made. The recording has ask, search;"),
    ],
)
def test_a_fork_or_a_live_name_that_does_not_exist_is_said_with_what_does(case, options, message):
    """
    The exit code is 2, and nothing is written.
    """
    done = completed("replay", case, *options, "--save", "fork.jsonl")

    assert done.code == 2
    assert message in done.err
    assert "Traceback" not in done.err
    assert not (case.parent / "fork.jsonl").exists()


def test_a_masked_secret_comes_from_the_environment(case, monkeypatch):
    """
    ``--secret NAME=VARIABLE``; the tree and the saved trace have none of it, and a variable that is not set is named.
    """
    key = "sk-abcdefghijklmnopqrstuvwxyz0123456789"
    case.write_text(case.read_text().replace('"a page"', '"[redacted]"').replace('"redacted":0', '"redacted":1'))
    change(case, "return [query", 'raise SystemExit("it ran")\n    return [query')
    monkeypatch.setenv("PAGE", key)

    done = completed("replay", case, "--match", "loose", "--secret", "search=PAGE", "--save", "new.jsonl", "--json")

    assert done.code in (0, 1), done.err
    assert json.loads(done.out)["masked"] == []
    assert key not in done.out + (case.parent / "new.jsonl").read_text()
    assert "[redacted]" in (case.parent / "new.jsonl").read_text()
    for option, message in {"search=NOWHERE": "variable NOWHERE, it is not set", "search": "NAME=VARIABLE"}.items():
        done = completed("replay", case, "--secret", option)
        assert done.code == 2
        assert message in done.err


def test_view_shows_where_a_trace_was_forked(case):
    """
    The metadata is above the tree.
    """
    assert "forked from case-1 at TOOL search" in completed("view", forked(case)).out


CHECKS = """
def is_short(trace):
    assert len(str(trace.output)) < 9
"""


def test_blame_ranks_the_model_calls(case):
    """
    The first call changes nothing that is checked; the second is the answer. Exit code 0: the outcome flipped.
    """
    (case.parent / "checks.py").write_text(CHECKS)
    change(case, 'f"answer {len(messages)}"', '"x" * len(messages) * 5')

    done = completed("blame", case, "--check", "checks:is_short", "--samples", "3")

    assert done.code == 0, done.err
    first, second = done.out.splitlines()[2:4]
    assert "3 of 3" in first
    assert "call" in second
    facts = json.loads(completed("blame", case, "--check", "checks:is_short", "--samples", "2", "--json").out)
    assert facts["outcome"] is True
    assert [step["samples"] for step in facts["steps"]] == [2, 2]
    assert facts["steps"][0]["interval"][0] > 0.3


def test_blame_without_a_flip_exits_with_1(case):
    """
    The same models, the same outcome.
    """
    (case.parent / "checks.py").write_text(CHECKS)
    done = completed("blame", case, "--check", "checks:is_short", "--samples", "1")
    assert done.code == 1
    assert "no run had another outcome" in done.out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("nothing.jsonl", "--check", "checks:is_short"), "nothing.jsonl"),
        (("case.jsonl", "--check", "checks"), "--check: a target has the form module:function"),
        (("case.jsonl", "--check", "shop:support", "--rest", "never"), "rest must be one of"),
        (("case.jsonl", "--check", "shop:support", "--target", "shop:refund"), "module 'shop' has no 'refund'"),
    ],
)
def test_blame_that_cannot_run_is_said_in_one_line(case, arguments, message):
    """
    The exit code is 2, without a traceback.
    """
    done = completed("blame", *arguments)
    assert done.code == 2
    assert message in done.err
    assert "Traceback" not in done.err


def test_the_doctor_names_the_line_that_makes_requests_differ(case):
    """
    Exit code 1 and the line, its kind and what to do; 0 without one; 2 if the function cannot be imported.
    """
    change(case, "import fluxloop", "import fluxloop, random")
    change(case, 'f"answer {len(messages)}"', '"fine"')
    change(
        case, '"role": "user", "content": question}', '"role": "user", "content": question + random.choice("abcdef")}'
    )

    done = completed("replay", case, "--doctor", "shop:support", "--runs", "2")

    assert done.code == 1, done.err
    assert "random numbers: GENERATION ask in support" in done.out
    assert 'random.choice("abcdef")' in done.out
    assert "seed them" in done.out
    assert completed("replay", "--doctor", "nowhere:support").code == 2
    assert "expected a trace to replay" in completed("replay").err


def test_git_bisect_finds_the_commit_that_changed_the_trajectory(case):
    """
    ``fluxloop replay`` is the command of ``git bisect run``, on a real repository.
    """
    import shutil

    if shutil.which("git") is None:
        pytest.skip("needs git")
    root, folder = Path(__file__).parent.parent.parent, case.parent

    def git(*arguments: str) -> str:
        identity = ["-c", "user.name=x", "-c", "user.email=x@example.org"]
        environment = {**os.environ, "PYTHONPATH": str(root), "PYTHONDONTWRITEBYTECODE": "1"}
        command = ["git", *identity, *arguments]
        return subprocess.run(
            command, cwd=folder, env=environment, check=True, capture_output=True, text=True, timeout=120
        ).stdout

    git("init", "-q")
    (folder / ".gitignore").write_text("case.jsonl")
    for number in range(5):
        if number == 3:
            change(case, "You are kind.", "You are brief.")
        (folder / "notes.txt").write_text(str(number))
        git("add", ".")
        git("commit", "-q", "-m", f"change {number}")
    git("bisect", "start", "HEAD", "HEAD~4")
    found = git("bisect", "run", sys.executable, "-m", "fluxloop", "replay", "case.jsonl", "--target", "shop:support")

    assert "is the first bad commit" in found
    assert "change 3" in found.rpartition("is the first bad commit")[2]


def test_check_finds_a_stale_cassette(case):
    """
    With ``--run``, the recorded entry point runs with today's code; without it, the file alone is checked.
    """
    assert completed("cassette", "check", case, "--run").code == 0
    change(case, "You are kind.", "You are brief.")
    assert completed("cassette", "check", case).code == 0
    done = completed("cassette", "check", case, "--run")
    assert done.code == 1
    assert "stale, today's code diverges" in done.out
    change(case, "def support", "def helpdesk")
    assert "has no 'support'" in completed("cassette", "check", case, "--run").out
