"""
``fluxloop run experiment`` as a real process, in projects as users have them.
"""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from xml.etree import ElementTree

import pytest
from experiments.projects import fluxloop_in, newest, project, rows, started, summary, wait_until

import fluxloop
from fluxloop.experiments import ExperimentFolder

SEED_MODULE = """
import fluxloop

fluxloop.configure(storage="file", base_path="./traces")

@fluxloop.tool()
def shout(text):
    return text.upper()

@fluxloop.agent()
def my_agent(prompt: str) -> str:
    return shout(prompt)
"""

SEED_YAML = """
runner:
  target: "my_module:my_agent"  # Your decorated function
  iterations: 10
"""


@pytest.fixture
def seed_project(tmp_path):
    """A fresh folder with the four lines of YAML of the SDK's introduction, and the module that they name."""
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs/simulation.yaml").write_text(SEED_YAML)
    (tmp_path / "my_module.py").write_text(SEED_MODULE)
    return tmp_path


def test_the_four_lines_of_yaml_alone_run(seed_project):
    """
    `runner.target` alone runs: with a default input, ten iterations, and the module of the working directory.
    """
    done = fluxloop_in(seed_project, "run", "experiment")

    assert done.code == 0, done.err
    assert "10 of 10 runs succeeded" in done.out
    assert f"results: experiments/{newest(seed_project).name}" in done.out
    assert "the input is 'Hello'" in done.err
    assert [row["output"] for row in rows(seed_project)] == ["HELLO"] * 10


def test_the_glob_of_the_guides_matches_one_folder(seed_project):
    """
    Two quick runs, under two names, are two folders; `experiments/latest_*/` is still one argument.
    """
    for name in ("one", "two", "two"):
        assert fluxloop_in(seed_project, "run", "experiment", "--name", name, "-i", 1).code == 0

    folders = [path for path in (seed_project / "experiments").iterdir() if not path.is_symlink()]
    links = [path.name for path in (seed_project / "experiments").glob("latest_*/")]
    assert (len(folders), links) == (3, ["latest_two"])
    assert ExperimentFolder.at(seed_project / "experiments" / "latest_one").path.name.startswith("one_")
    assert newest(seed_project) == max(
        (path for path in folders if path.name.startswith("two")), key=lambda p: (len(p.name), p.name)
    )


def test_the_records_of_a_run_are_ordinary_traces_with_its_trace_id(seed_project):
    """
    `artifacts/` has the agent and its tools, joined to the rows by trace id; nothing is written to ./traces.
    """
    fluxloop_in(seed_project, "run", "experiment", "-i", 2)

    outlines = {
        trace.trace_id: fluxloop.testing.outline(trace).splitlines()[1:]
        for trace in fluxloop.read_traces(newest(seed_project) / "artifacts")
    }
    assert outlines == {
        row["trace_id"]: ["  AGENT my_agent -> 'HELLO'", "    TOOL shout -> 'HELLO'"] for row in rows(seed_project)
    }
    assert rows(seed_project)[0]["conversation"][1]["metadata"]["actions"] == ["agent:my_agent", "tool:shout"]
    assert not (seed_project / "traces").exists()


def test_a_single_configuration_file_is_enough(tmp_path):
    """
    `--config config.yaml` runs one file; `ls experiments/<name>/artifacts/` shows observations.jsonl.
    """
    config = "runner:\n  target: app:agent\nname: demo\nbase_inputs: [a, b]\n"
    project(tmp_path, "import fluxloop\n\n@fluxloop.agent\nasync def agent(message): return message * 2", config)
    (tmp_path / "setting.yaml").rename(tmp_path / "config.yaml")

    done = fluxloop_in(tmp_path, "run", "experiment", "--config", "config.yaml")

    assert done.code == 0, done.err
    assert newest(tmp_path).name.startswith("demo_")
    assert sorted(path.name for path in (newest(tmp_path) / "artifacts").iterdir()) == [
        "observations.jsonl",
        "traces.jsonl",
    ]


def test_failing_runs_are_rows_and_traces_with_their_status(tmp_path):
    """
    A run that raises, one that exits and one that times out are in every file, and do not end the others.
    """
    agent = """
    import asyncio, sys
    async def agent(input):
        if input == "raise": raise ValueError("broken")
        if input == "exit": sys.exit(3)
        if input == "sleep": await asyncio.sleep(60)
        return "fine"
    """
    project(tmp_path, agent, "base_inputs: [raise, exit, sleep, good]")

    done = fluxloop_in(tmp_path, "run", "experiment", "--timeout", 0.3, "--parallel", 4)

    assert done.code == 0, done.err
    assert [(row["status"], (row["error"] or {}).get("type"), row["output"]) for row in rows(tmp_path)] == [
        ("error", "ValueError", None),
        ("error", "TargetExitedError", None),
        ("timeout", "RunTimeoutError", None),
        ("success", None, "fine"),
    ]
    statuses = {trace.trace_id: trace.status.value for trace in fluxloop.read_traces(newest(tmp_path) / "artifacts")}
    assert [statuses[row["trace_id"]] for row in rows(tmp_path)] == ["error", "error", "error", "success"]
    errors = json.loads((newest(tmp_path) / "errors.json").read_text())
    assert sorted(error["input"] for error in errors) == ["exit", "raise", "sleep"]
    assert "run 0 error: ValueError: broken" in done.out


@pytest.mark.parametrize(
    ("options", "code"),
    [((), 0), (("--fail-under", 0.5), 0), (("--fail-under", 0.9), 1), (("--strict",), 1), (("--input", "1"), 1)],
)
def test_the_exit_code_tells_whether_runs_succeeded(tmp_path, options, code):
    """
    One success is enough, unless a gate is set; no success is 1.
    """
    project(tmp_path, "def agent(input):\n    return {'good': 1}[input]", "base_inputs: [good, bad]")

    assert fluxloop_in(tmp_path, "run", "experiment", *options).code == code


def test_junit_and_json_are_valid(tmp_path):
    """
    `--json` prints one object and nothing else; `--junit` has a case per run, also with characters that are not XML.
    """
    project(tmp_path, "def agent(input):\n    raise ValueError('\\x00\\x1b]]>' + input)", "base_inputs: ['<a>', b]")

    done = fluxloop_in(tmp_path, "run", "experiment", "--json", "--junit", "out/junit.xml")

    assert json.loads(done.out)["failed"] == 2
    (suite,) = ElementTree.parse(tmp_path / "out/junit.xml").getroot()
    assert (suite.get("tests"), suite.get("errors")) == ("2", "2")
    assert [case.find("error").get("message") for case in suite] == ["\ufffd\ufffd]]><a>", "\ufffd\ufffd]]>b"]


def test_a_dry_run_imports_the_target_and_writes_nothing(tmp_path):
    """
    `--dry-run` finds a mistake in the target, and otherwise prints the plan; no folder is created.
    """
    project(tmp_path, "def agent(input): return 1", "base_inputs: [a, b]\niterations: 3")

    done = fluxloop_in(tmp_path, "run", "experiment", "--dry-run", "--json")
    wrong = fluxloop_in(
        tmp_path, "run", "experiment", "--dry-run", "--config", project(tmp_path / "x", "def agnt(i): 0")
    )

    assert json.loads(done.out)["runs"] == 6
    assert wrong.code == 2
    assert "has no 'agent', did you mean 'agnt'" in wrong.err
    assert not (tmp_path / "experiments").exists()


COUNTING = """
import asyncio, os
async def agent(input):
    with open("calls.txt", "a") as file:
        file.write(input + "\\n")
    if int(input) >= 5:
        await asyncio.sleep(float(os.environ.get("SLOW", 0)))
    return input
"""


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_an_interrupted_experiment_keeps_its_runs_and_goes_on(tmp_path, how):
    """
    After Ctrl-C, SIGTERM or `kill -9`, the finished runs are in the folder, and `--resume` runs only the others.
    """
    project(tmp_path, COUNTING, "base_inputs: ['0', '1', '2', '3', '4', '5', '6', '7']\nparallel_runs: 2")
    process = started(tmp_path, "run", "experiment", SLOW="60")
    calls = tmp_path / "calls.txt"
    wait_until(lambda: calls.exists() and len(calls.read_text().split()) == 7)
    os.kill(process.pid, how)
    _, err = process.communicate(timeout=20)

    assert process.returncode == {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGKILL: -9}[how], err
    kept = [row for row in rows(tmp_path) if row["status"] == "success"]
    assert [row["input"] for row in kept] == ["0", "1", "2", "3", "4"]
    if how != signal.SIGKILL:
        assert [row["status"] for row in rows(tmp_path)][5:] == ["cancelled", "cancelled"]
        assert summary(tmp_path)["state"] == "interrupted"
        assert "--resume" in err

    done = fluxloop_in(tmp_path, "run", "experiment", "--resume", "experiments/latest_*/")

    assert done.code == 0, done.err
    assert [row["input"] for row in rows(tmp_path)] == list("01234567")
    assert {row["status"] for row in rows(tmp_path)} == {"success"}
    assert calls.read_text().split()[7:] == ["5", "6", "7"]
    assert (summary(tmp_path)["state"], summary(tmp_path)["results"]["successful"]) == ("finished", 8)


def test_a_changed_experiment_cannot_be_resumed(tmp_path):
    """
    A folder is not continued with other inputs; the message says what to do.
    """
    project(tmp_path, "def agent(input): return 1", "base_inputs: [a, b]")
    fluxloop_in(tmp_path, "run", "experiment")
    project(tmp_path, "def agent(input): return 1", "base_inputs: [a, c]")

    done = fluxloop_in(tmp_path, "run", "experiment", "--resume", newest(tmp_path))

    assert done.code == 2
    assert "the inputs or iterations changed" in done.err


def test_runs_in_parallel_are_faster_and_do_not_mix(tmp_path):
    """
    Eight sync runs that wait for each other finish, each with its own tools under its own agent.
    """
    agent = """
    import threading
    import fluxloop
    barrier = threading.Barrier(8)

    @fluxloop.tool
    def look(text):
        barrier.wait(20)
        return text

    @fluxloop.agent
    def agent(input):
        return look(input)
    """
    project(tmp_path, agent, "base_inputs: [a, b, c, d, e, f, g, h]\nparallel_runs: 8")

    assert fluxloop_in(tmp_path, "run", "experiment").code == 0

    for trace in fluxloop.read_traces(newest(tmp_path) / "artifacts"):
        assert {observation.output for observation in trace.observations} == {trace.output}
        assert len(trace.observations) == 3


def test_secrets_are_not_written(tmp_path):
    """
    summary.json and the rows contain no keys of the configuration, of inputs or of outputs.
    """
    secret = "sk-proj-" + "a1B2c3D4e5F6" * 4
    config = f"""
    runner:
      target: app:agent
      environment_vars: {{MY_SETTING: hunter2hunter2, DEBUG: true}}
    multi_turn:
      supervisor: {{api_key: plainwordsecret, metadata: {{api_key: otherwordsecret}}}}
    metadata: {{password: passwordsecret}}
    base_inputs:
      - input: use {secret}
    """
    project(tmp_path, "import os\ndef agent(input): return [input, os.environ['DEBUG']]", config)

    assert fluxloop_in(tmp_path, "run", "experiment").code == 0

    written = "".join(path.read_text() for path in newest(tmp_path).rglob("*.json*"))
    assert rows(tmp_path)[0]["output"][1] == "true"
    found = [each for each in (secret, "hunter2", "plainword", "otherword", "passwordsecret") if each in written]
    assert found == []


def test_a_full_disk_ends_the_experiment_with_one_line(tmp_path):
    """
    If a row cannot be written, the experiment stops with a message; what was written before stays whole.
    """
    agent = """
    import resource, signal
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    def agent(input):
        resource.setrlimit(resource.RLIMIT_FSIZE, (2500, 2500))
        return "x" * 500
    """
    project(tmp_path, agent, "base_inputs: [a, b, c, d, e, f]")

    done = fluxloop_in(tmp_path, "run", "experiment", is_measured=False)  # coverage.py could not write either

    assert done.code == 2
    assert "cannot write to" in done.err
    assert "Traceback" not in done.err
    lines = (newest(tmp_path) / "trace_summary.jsonl").read_bytes().split(b"\n")
    assert [json.loads(line)["run"] for line in lines[:-1]] == list(range(len(lines) - 1))


BAD = [
    ("runner: {target: nowhere:agent}", "module 'nowhere' not found in "),
    ("runner: {target: app:agnet}", "module 'app' has no 'agnet', did you mean 'agent'? It has: Agent, agent"),
    ("runner: {target: 'app:Agent.ask'}", "needs an instance of Agent, which takes model"),
    ("runner: {target: app:number}", "not a function, but of type int"),
    ("runner: {target: app:needy}", "app:needy needs database, which nothing provides"),
    ("runner: {target: app:nothing}", "has no parameter for the input"),
    ("runner: {target: 'app:'}", "has the form module:function"),
    ("runner: {target: broken:agent}", "broken.py, line 2: ZeroDivisionError"),
    ("runner: {target: app:agent, iterations: 0}", "runner.iterations must be greater than or equal to 1, got 0"),
    ("runner: {taget: app:agent}", "setting.yaml, line 1: unknown key 'taget' in runner, did you mean 'target'?"),
    ("runner: [", "line 1, column 10: this is not valid YAML"),
    ("runner: {target: app:agent}\nbase_inputs: []", "has no inputs"),
    ("runner: {target: app:agent}\nbase_inputs: ['']", "entry 1: the input is empty"),
    ("runner: {target: app:agent}\ninputs_file: no.jsonl", "no.jsonl does not exist"),
    ("runner: {target: app:agent}\ninputs_file: torn.jsonl", "torn.jsonl, line 2: this is not valid JSON"),
    ("runner: {target: app:agent}\nreplay_args: {enabled: true}", "without recording_file"),
    (
        "runner: {target: app:agent}\nreplay_args: {enabled: true, recording_file: e.jsonl}",
        "e.jsonl has no recorded call",
    ),
    ("runner: {target: app:agent}\nmulti_turn: {enabled: true}", "needs a key: set FLUXLOOP_SUPERVISOR_API_KEY or"),
    ("runner: {}", "runner.target is missing"),
    ("runner: {target: app:agent, http: {url: 'http://x'}}", "line 1: runner has target, http; keep one of them"),
    (
        "runner: {http: {url: 'file:///etc/passwd'}}",
        "url must begin with http:// or https://, got 'file:///etc/passwd'",
    ),
    ("runner: {target: exits:agent}", "importing 'exits' failed at "),
    (
        "runner: {target: './app.py:agent'}",
        "a target names a module, as in package.module:function, got './app.py:agent'",
    ),
    (
        "runner: {target: app:agent, environment_vars: {'A=B': 1}}",
        "line 1: runner.environment_vars must be names and values",
    ),
    ("runner: {process: {command: ''}}", "runner.process.command must be a command with a program"),
    ("runner: {process: {command: 'a \"b'}}", "runner.process.command must be a command with a program"),
    ("runner: {process: {command: a, ready_pattern: '('}}", "ready_pattern must be a regular expression (missing )"),
]


@pytest.mark.parametrize(("config", "message"), BAD)
def test_bad_input_is_one_clear_message(tmp_path, fluxloop_, config, message):
    """
    A mistake in the configuration, the target or the inputs is a message and exit code 2, and creates no folder.
    """
    agent = """
    class Agent:
        def __init__(self, model): ...
        def ask(self, input): ...
    number = 5
    def agent(input): ...
    def needy(input, database): ...
    def nothing(): ...
    """
    files = {"broken__py": "\n1/0\n", "exits__py": "raise SystemExit(0)\n", "e__jsonl": ""}
    project(Path(), agent, "runner:", torn__jsonl='{"input": "a"}\n{"inp', **files)
    Path("setting.yaml").write_text(config)

    done = fluxloop_("run", "experiment")

    assert (done.code, done.out) == (2, "")
    assert message in " ".join(done.err.split())
    assert "Traceback" not in done.err
    assert not Path("experiments").exists()
