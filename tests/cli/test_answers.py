"""
What commands answer to a person who gives them something else than they expect, and the examples in their help.
"""

from __future__ import annotations

from pathlib import Path

import pytest

import fluxloop
from fluxloop.cli.app import COMMANDS, loaded


@fluxloop.tool
def search(query: str) -> list[str]:
    return [query]


@fluxloop.agent
def support(prompt: str) -> list[str]:
    return search(prompt)


@pytest.fixture
def traces(tmp_path, monkeypatch) -> Path:
    """A folder with the trace of an agent that calls a tool, and no model; also the configured one."""
    folder = tmp_path / "traces"
    monkeypatch.setenv("FLUXLOOP_BASE_PATH", str(folder))
    client = fluxloop.FluxLoopClient(storage="file", base_path=folder)
    client.agent(name="support")(lambda prompt: client.tool(name="search")(lambda query: [query])(prompt))("hi")
    client.shutdown()
    return folder


@pytest.fixture
def experiments(fluxloop_) -> list[str]:
    """Two experiments in the working directory, by their folders."""
    assert fluxloop_("init", "project", "--name", "shop").code == 0
    for _ in range(2):
        assert fluxloop_("run", "experiment", "--no-display").code == 0
    return [str(path) for path in sorted(Path("experiments").iterdir()) if not path.is_symlink()]


def commands(name: str) -> list[tuple[str, object]]:
    """The command *name*, or the group and its commands."""
    command = loaded(name)
    return [(name, command), *((f"{name} {inner}", each) for inner, each in getattr(command, "commands", {}).items())]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_and_group_has_examples_in_its_help(name):
    """
    Examples name the command; exit codes are listed.
    """
    for path, command in commands(name):
        if not command.hidden:
            assert f"fluxloop {name}" in command.epilog, path
            assert "[bold]Exit codes[/]" in command.epilog, path


def test_a_folder_of_experiments_means_its_newest(experiments, fluxloop_):
    """
    ``evaluate`` and ``parse`` take the newest, and name those that are there.
    """
    for command in ("evaluate", "parse"):
        done = fluxloop_(command, "experiment", "experiments")
        newest, oldest = (Path(path).name for path in reversed(experiments))

        assert done.code == 0, done.err
        assert f"experiments has 2 experiments, the newest is taken: {newest}, {oldest}" in done.err
        assert Path("experiments", newest, "evaluation").exists() or command == "parse"
    assert "is not an experiment" in fluxloop_("parse", "experiment", "configs").err


def test_one_experiment_is_compared_with_another_one(experiments, fluxloop_):
    """
    With one argument, the message has the command for both; the exit code is 2.
    """
    first, second = experiments
    done = fluxloop_("compare", second)

    assert done.code == 2
    assert f"needs two experiments, and {second} is one. For example: fluxloop compare {first} {second}" in done.err
    assert fluxloop_("compare", first, second).code == 0


def test_one_of_a_thing_has_no_plural(tmp_path, experiments, fluxloop_):
    """
    One input compared, one run parsed.
    """
    for number in range(2):
        assert (
            fluxloop_("run", "experiment", "--limit", "1", "-i", "1", "--name", f"one{number}", "--no-display").code
            == 0
        )

    assert fluxloop_("compare", "one0", "one1").out.startswith("1 input compared: ")
    assert fluxloop_("parse", "experiment", "one1").out.startswith("1 run parsed, ")


def test_the_context_of_a_trace_without_model_calls_names_the_next_step(traces, fluxloop_):
    """
    Exit code 1: the answer is no.
    """
    done = fluxloop_("context", trace_id(traces))

    assert (done.code, done.out) == (1, "")
    assert "has no model call (no GENERATION among 2 observations). Next step: fluxloop view" in done.err


def test_cassettes_of_a_file_of_tests(tmp_path, fluxloop_):
    """
    A file of tests means the cassettes of its tests; without any, the message has the folder; an empty folder is noted.
    """
    file = tmp_path / "test_shop.py"
    file.write_text("def test_it(): ...\n")
    done = fluxloop_("cassette", "check", file)
    assert done.code == 2
    assert f"got {file}, whose tests have none in {tmp_path / 'cassettes' / 'test_shop'}" in done.err

    folder = tmp_path / "cassettes" / "test_shop"
    folder.mkdir(parents=True)
    assert "no cassettes, which are .jsonl files" in fluxloop_("cassette", "check", folder).err
    (folder / "test_it.jsonl").write_text("")
    assert fluxloop_("cassette", "list", file).out.startswith(f"{folder / 'test_it.jsonl'}  0 traces")


@pytest.mark.parametrize("command", [["status"], ["record", "enable"], ["record", "status"], ["record", "disable"]])
def test_a_project_that_does_not_exist_is_not_created(tmp_path, fluxloop_, command):
    """
    A misspelled folder is an error.
    """
    done = fluxloop_(*command, "--project", tmp_path / "shpo")

    assert (done.code, done.out) == (2, "")
    assert "does not exist" in " ".join(done.err.split())
    assert not (tmp_path / "shpo").exists()


def trace_id(folder: Path) -> str:
    return next(fluxloop.read_traces(folder)).trace_id
