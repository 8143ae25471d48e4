"""
The fixtures ``fluxloop_runner`` and ``fluxloop_cli``, in real sessions of pytest.
"""

from __future__ import annotations

from pathlib import Path

import pytest

import fluxloop

UPSTREAM_TEMPLATE = '''\
"""FluxLoop Pytest smoke test generated via `fluxloop init pytest-template`."""

from pathlib import Path


PROJECT_ROOT = Path(__file__).resolve().parents[1]
SIMULATION_CONFIG = PROJECT_ROOT / "configs/simulation.yaml"


def test_fluxloop_smoke(fluxloop_runner):
    result = fluxloop_runner(
        project_root=PROJECT_ROOT,
        simulation_config=SIMULATION_CONFIG,
        env={"PYTHONPATH": str(PROJECT_ROOT)},
    )
    result.require_success(label="fluxloop smoke")
'''
"""What ``fluxloop init pytest-template`` of the published packages wrote (fluxloop-cli 0.2.30, Apache-2.0)."""

AGENT = """
import fluxloop

@fluxloop.agent
def run(input):
    if "bad" in input:
        raise ValueError(f"cannot answer {input}")
    return "NAME"
"""

SIMULATION = """
iterations: 2
runner:
  target: my_agent:run
personas:
  - {name: expert, description: knows}
  - {name: novice, description: asks}
base_inputs:
  - input: hello
"""


def project(folder: Path, name: str = "answer") -> Path:
    """Create a project in the layout of the published packages, whose agent answers *name*."""
    (folder / "configs").mkdir(parents=True)
    (folder / "my_agent.py").write_text(AGENT.replace("NAME", name))
    (folder / "configs/simulation.yaml").write_text(SIMULATION)
    return folder


def test_the_template_of_the_published_packages_runs_as_it_is(pytester: pytest.Pytester) -> None:
    """The fixture is found without an edit of conftest.py."""
    project(pytester.path)
    (pytester.mkdir("tests") / "test_fluxloop_smoke.py").write_text(UPSTREAM_TEMPLATE)

    pytester.runpytest_inprocess().assert_outcomes(passed=1)


def test_documented_and_real_signatures_are_accepted(session, pytester: pytest.Pytester) -> None:
    """Also in a coroutine, with two projects that have modules of the same name."""
    project(pytester.path / "one", "first")
    project(pytester.path / "two", "second")
    result = session(
        "from pathlib import Path\n"
        "import json\n"
        "async def test_two_projects(fluxloop_runner, fluxloop_traces):\n"
        "    for name, answer in (('one', 'first'), ('two', 'second'), ('one', 'first')):\n"
        "        result = fluxloop_runner(Path(name), Path('configs/simulation.yaml'), {'iterations': 3})\n"
        "        assert (result.total_runs, result.failed_runs, result.success_rate) == (6, 0, 1.0)\n"
        "        assert {trace.output for trace in result.traces} == {answer}\n"
        "        assert (result.output_dir / 'artifacts/observations.jsonl').is_file()\n"
        "        assert result.output_dir.parent == Path(name).resolve() / 'experiments'\n"
        "    assert list(fluxloop_traces) == []\n"
        "def test_superset(fluxloop_runner, monkeypatch):\n"
        "    monkeypatch.chdir('one')\n"
        "    result = fluxloop_runner(project_root='.', config_path='configs/simulation.yaml', iterations=5,\n"
        "                             input_text='hi', overrides={'personas': ['expert']}, require_inputs_file=False)\n"
        "    assert result.total_runs == 5\n"
        "    assert result.experiment_dir == result.output_dir\n"
        "    assert result.avg_duration_ms >= 0 and result.succeeded\n"
        "    assert (result.stdout_path, result.stderr_path, result.cli_command) == (None, None, None)\n"
        "    rows = [json.loads(line) for line in result.trace_summary_path.read_text().splitlines()]\n"
        "    assert {row['persona'] for row in rows} == {'expert'}\n"
        "    assert json.loads(result.summary_path.read_text())['results']['total_runs'] == 5\n"
        "    result.require_success(threshold=0.9, message='Agent quality below 90%')\n"
        "    result.require_min_runs(min_runs=5)\n"
        "    result.require_max_duration(max_ms=60_000)\n"
        "def test_multi_turn(fluxloop_runner_multi_turn):\n"
        "    result = fluxloop_runner_multi_turn(\n"
        "        project_root=Path('one'), overrides={'iterations': 1, 'personas': ['novice'], 'multi_turn': {\n"
        "            'max_turns': 2,\n"
        "            'supervisor': {'provider': 'mock', 'metadata': {'scripted_questions': ['and?']}}}})\n"
        "    assert [len(trace.find(type='agent')) for trace in result.traces] == [2]\n"
    )

    result.assert_outcomes(passed=3)


def test_failed_runs_are_counted_and_fail_on_request(session, pytester: pytest.Pytester) -> None:
    """The message has the cause and the folder; a lower threshold accepts them."""
    project(pytester.path)
    result = session(
        "BAD = {'base_inputs': [{'input': 'a bad one'}, {'input': 'hello'}], 'personas': ['expert'], 'iterations': 1}\n"
        "def test_counts(fluxloop_runner):\n"
        "    result = fluxloop_runner(overrides=BAD)\n"
        "    assert (result.total_runs, result.failed_runs, result.success_rate) == (2, 1, 0.5)\n"
        "    [error] = result.errors\n"
        "    assert (error.iteration, error.persona, error.input_text) == (0, 'expert', 'a bad one')\n"
        "    result.require_success(0.5)\n"
        "def test_fails(fluxloop_runner):\n"
        "    fluxloop_runner(overrides=BAD).require_success(label='smoke')\n"
        "def test_runs(fluxloop_runner):\n"
        "    fluxloop_runner().require_min_runs(100)\n"
        "def test_duration(fluxloop_runner):\n"
        "    fluxloop_runner().require_max_duration(-1)\n"
    )

    result.assert_outcomes(passed=1, failed=3)
    result.stdout.fnmatch_lines(
        [
            "E *AssertionError: smoke failed (1 of 2 runs): ValueError: cannot answer a bad one",
            "E *in */experiments/*",
            "E *the experiment had 4 runs, expected at least 100",
            "E *the runs took * ms on average, expected at most -1 ms",
        ]
    )


def test_what_cannot_run_is_one_line(session, pytester: pytest.Pytester) -> None:
    """No frame of FluxLoop is shown, only the line of the test."""
    project(pytester.path)
    result = session(
        "import time\n"
        "def test_folder(fluxloop_runner):\n    fluxloop_runner('nowhere')\n"
        "def test_config(fluxloop_runner):\n    fluxloop_runner(config_path='other.yaml')\n"
        "def test_key(fluxloop_runner):\n    fluxloop_runner(overrides={'iteration': 1})\n"
        "def test_target(fluxloop_runner):\n    fluxloop_runner(overrides={'runner.target': 'nothing:run'})\n"
        "def test_args(fluxloop_runner):\n    fluxloop_runner(cli_args=['--yes'])\n"
        "async def slow(input):\n    await asyncio.sleep(60)\n"
        "def test_time(fluxloop_runner):\n"
        "    fluxloop_runner(overrides={'runner.target': 'test_it:slow'}, timeout=0.2)\n"
    )

    result.assert_outcomes(failed=6)
    result.stdout.fnmatch_lines(
        [
            "E *project_root must be a folder, found none at */nowhere",
            "E *configuration not found: */other.yaml*",
            "E *unknown key 'iteration', did you mean 'iterations'*",
            "E *nothing*",
            "E *cli_args are for the fixture fluxloop_cli; fluxloop_runner runs no command",
            "E *AssertionError: the experiment in * took longer than 0.2 s",
        ]
    )
    result.stdout.no_fnmatch_line("*pytest_plugin/experiments.py*")


@pytest.mark.slow  # imports LangChain
def test_adapters_and_variables_end_with_the_experiment(session, pytester: pytest.Pytester) -> None:
    """What the project switches on, and what the test sets, is as before afterwards."""
    project(pytester.path)
    agent = pytester.path / "my_agent.py"
    agent.write_text(
        agent.read_text() + "\nimport os\nassert os.environ['WHERE'] == '1'\nfluxloop.install('langchain')\n"
    )
    before = fluxloop.installed()
    session(
        "import os, sys\n"
        "def test_it(fluxloop_runner):\n"
        "    path = sys.path[:]\n"
        "    fluxloop_runner(env={'WHERE': 1, 'PYTHONPATH': '/nowhere'}).require_success()\n"
        "    assert 'WHERE' not in os.environ and sys.path == path and 'my_agent' not in sys.modules\n"
    ).assert_outcomes(passed=1)

    assert fluxloop.installed() == before


def test_the_command_is_run_in_processes_of_its_own(session, pytester: pytest.Pytester) -> None:
    """Its output is kept, failed runs have their causes, and the project is left clean."""
    project(pytester.path)
    result = session(
        "def test_it(fluxloop_cli):\n"
        "    result = fluxloop_cli(simulation_config='configs/simulation.yaml', input_text='bad', iterations=1,\n"
        "                          cli_args=['--parallel', '2'], env={'PYTHONPATH': '.'})\n"
        "    assert (result.total_runs, result.failed_runs) == (2, 2)\n"
        "    assert result.errors[0].message == 'ValueError: cannot answer bad'\n"
        "    assert len(result.per_trace_path.read_text().splitlines()) == 2\n"
        "    assert 'fluxloop run experiment' in result.cli_command\n"
        "    assert 'fluxloop parse experiment' in result.stdout_path.read_text()\n"
        "    assert result.stderr_path.is_file()\n"
    )

    result.assert_outcomes(passed=1)
    assert [path.name for path in pytester.path.glob(".cli_config*")] == []


@pytest.mark.slow  # three processes
def test_a_command_that_cannot_run_fails_the_test(session, pytester: pytest.Pytester) -> None:
    """The message has what the command printed, with the name of the project's configuration; also for a timeout."""
    project(pytester.path)
    result = session(
        "def test_error(fluxloop_cli):\n"
        "    fluxloop_cli(overrides={'runner.target': 'nothing:run'})\n"
        "def test_time(fluxloop_cli):\n"
        "    fluxloop_cli(timeout=0.01)\n"
    )

    result.assert_outcomes(failed=2)
    result.stdout.fnmatch_lines(
        [
            "E *AssertionError: fluxloop run experiment ended with exit code 2: *configs: module 'nothing' not found *",
            "E *AssertionError: the experiment in * took longer than 0.01 s",
        ]
    )
    assert [path.name for path in pytester.path.glob(".cli_config*")] == []
