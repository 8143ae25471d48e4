"""
``fluxloop init``, ``config``, ``record`` and ``status``, in a project as they create it.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import offline
import pytest
from cli.commands import completed, in_terminal

from fluxloop.cli.templates import AGENTS


@pytest.fixture
def project(fluxloop_):
    """A new project in the working directory."""
    assert fluxloop_("init", "project", "--name", "shop").code == 0


def test_a_new_project_runs_and_passes(project, fluxloop_):
    """
    Without a terminal and without a key: all runs succeed, and the variables of the shell stay.
    """
    done = fluxloop_("run", "experiment", "--strict")

    assert done.code == 0, done.err
    assert "4 of 4 runs succeeded" in done.out
    assert "OPENAI_API_KEY=\n" in Path(".env").read_text()
    assert all(line.startswith("#") for line in Path(".env").read_text().splitlines())


def test_existing_files_are_kept_unless_forced(project, fluxloop_):
    """
    A second `init` changes nothing, and lists the kept files.
    """
    Path("configs/input.yaml").write_text("base_inputs: [mine]\n")

    done = fluxloop_("init", "project")
    assert "kept     configs/input.yaml" in done.out
    assert Path("configs/input.yaml").read_text() == "base_inputs: [mine]\n"

    fluxloop_("init", "project", "--force", "--no-example")
    assert "rome" in Path("configs/input.yaml").read_text()


@pytest.mark.parametrize("name", ["class", "json", "Types", "fluxloop"])
def test_an_agent_cannot_have_the_name_of_a_module_or_keyword(fluxloop_, name):
    """
    ``class.py`` could not be imported, and ``json.py`` would take the place of Python's module.
    """
    done = fluxloop_("init", "agent", name)

    assert done.code == 2
    assert f"the name {name.lower()!r} is taken by Python or FluxLoop. Use another one, such as" in done.err
    assert not [*Path().glob("*.py")]


@pytest.mark.parametrize("template", AGENTS)
def test_every_template_of_an_agent_runs(fluxloop_, template):
    """
    Each is a file that runs offline as it is, under the given name.
    """
    assert fluxloop_("init", "agent", "My Planner", "--template", template).code == 0

    done = completed("run", "experiment", "--config", config("my_planner:my_planner"), "--json")

    assert done.code == 0, done.err
    assert json.loads(done.out)["successful"] == 1
    assert fluxloop_("init", "agent", "My Planner").code == 2


@pytest.mark.parametrize("command", [["pytest"], ["pytest-template", "--tests-dir", "checks/agents"]])
def test_the_tests_that_are_created_pass(fluxloop_, command):
    """
    Without a project, and in a project, whose experiment they run; an existing file is kept, and errors are one line.
    """
    passed = []
    for preparation in (["init", "project"], []):
        done = fluxloop_("init", *command, *(["--force"] if not preparation else []))
        assert done.code == 0, done.err
        file = done.out.split()[1]
        run = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-pno:langsmith_plugin", "-pno:asyncio", file],
            capture_output=True,
            text=True,
            env=offline.environment(),
        )
        assert run.returncode == 0, run.stdout
        passed.append(run.stdout.splitlines()[-1].split()[0])
        if preparation:
            fluxloop_(*preparation)

    assert passed == ["3", "4"]
    assert fluxloop_("init", *command).code == 2
    assert "outside of the project" in fluxloop_("init", "pytest", "--tests-dir", "../x").err
    assert "pytest does not collect 'x.py'" in fluxloop_("init", "pytest", "--filename", "x.py").err


def config(target):
    Path("setting.yaml").write_text(f"runner: {{target: '{target}'}}\nbase_inputs: ['Is it sunny in Rome?']\n")
    return "setting.yaml"


def test_config_set_changes_the_right_file_and_keeps_comments(project, fluxloop_):
    """
    A key is set where it is, or where it belongs; a mistake changes nothing.
    """
    fluxloop_("config", "set", "runner.timeout_seconds", "5")
    fluxloop_("config", "set", "description", "a shop")
    fluxloop_("config", "set", "input_template", "'{input}?'")
    simulation = Path("configs/simulation.yaml").read_text()
    wrong = [fluxloop_("config", "set", key, value) for key, value in [("runer.x", "1"), ("iterations", "many")]]

    assert "  timeout_seconds: 5\n" in simulation
    assert "# module:function" in simulation
    assert Path("configs/project.yaml").read_text().startswith('name: "shop"\ndescription: "a shop"\n')
    assert "input_template" in Path("configs/input.yaml").read_text()
    assert [done.code for done in wrong] == [2, 2]
    assert "unknown key 'runer', did you mean 'runner'?" in wrong[0].err
    assert Path("configs/simulation.yaml").read_text() == simulation


def test_config_show_and_validate_are_json_on_request(project, fluxloop_):
    """
    `show` prints the configuration with secrets masked; `validate` counts the runs that `run` would execute.
    """
    fluxloop_("config", "set", "multi_turn.supervisor.api_key", "sk-123")
    shown = fluxloop_("config", "show")
    data = json.loads(fluxloop_("config", "show", "--json").out)
    valid = json.loads(fluxloop_("config", "validate", "--json").out)

    assert "sk-123" not in shown.out
    assert data["multi_turn"]["supervisor"]["api_key"] == "[redacted]"
    assert valid == {"valid": True, "config": "configs", "inputs": 2, "iterations": 2, "runs": 4}


def test_a_broken_configuration_does_not_validate(project, fluxloop_):
    """
    The exit code is 2, and the message has file and line.
    """
    Path("configs/input.yaml").write_text("base_inputs:\n  - input: [\n")

    done = fluxloop_("config", "validate")

    assert (done.code, done.out) == (2, "")
    assert "configs/input.yaml, line 3" in done.err


def test_recording_a_call_and_replaying_it(project, fluxloop_):
    """
    `record enable`, a run of the program, `run experiment`: the recorded call with the inputs; comments survive.
    """
    Path(".env").write_text("# keep me\nOTHER=1 # and me\n")
    assert fluxloop_("record", "enable").code == 0
    program = "import fluxloop; fluxloop.load_env()\nfrom examples.simple_agent import run; run('recorded in Rome')"
    subprocess.run([sys.executable, "-c", program], check=True, env=offline.environment())
    status = json.loads(fluxloop_("record", "status", "--json").out)
    done = fluxloop_("run", "experiment", "--json")
    fluxloop_("record", "disable")

    assert (status["recording"], status["replaying"], status["targets"]) == (
        True,
        True,
        {"examples.simple_agent:run": 1},
    )
    assert json.loads(done.out)["successful"] == 4, done.err
    assert Path(".env").read_text().startswith("# keep me\nOTHER=1 # and me\n")
    assert "# Calls of the agent that were recorded" in Path("configs/simulation.yaml").read_text()
    after = json.loads(fluxloop_("record", "status", "--json").out)
    assert (after["recording"], after["replaying"], after["calls"]) == (False, False, 1)


def test_status_shows_configuration_recording_and_experiments(project, fluxloop_):
    """
    The experiments with their rate and state, newest first, without links.
    """
    fluxloop_("run", "experiment")
    fluxloop_("run", "experiment", "--name", "other", "--limit", "1")
    text = fluxloop_("status").out
    data = json.loads(fluxloop_("status", "--json").out)

    assert [(each["finished"], each["success_rate"]) for each in data["experiments"]] == [(2, 1.0), (4, 1.0)]
    assert data["experiments"][0]["folder"].startswith("other_")
    assert data["configuration"]["runs"] == 4
    assert "latest" not in text
    assert "100%" in text


def test_status_of_an_empty_folder_says_what_is_missing(fluxloop_):
    """
    No configuration is not an error of `status`.
    """
    done = fluxloop_("status")

    assert done.code == 0
    assert "no configuration found in" in done.out


def test_the_live_display_ends_with_the_result(project):
    """
    In a terminal, a failed run is printed as it happens, and the bar is removed at the end.
    """
    Path("app.py").write_text("def agent(input):\n    return {'a': 1}[input]")
    Path("setting.yaml").write_text("runner: {target: app:agent}\nbase_inputs: [a, b]\n")

    shown = in_terminal("run", "experiment", "--config", "setting.yaml")

    assert "run 1 error: KeyError: 'b'" in shown
    assert "1 of 2 runs succeeded (50.0%)" in shown
