"""
The engine with worker processes: parallel computing, lost and frozen workers, and the contract of engines.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import offline
import pytest
from experiments.projects import fluxloop_in, newest, project, rows, started, wait_until

import fluxloop
from fluxloop import experiments
from fluxloop.errors import ConfigError

AGENT = """
import os, signal, time
import fluxloop

@fluxloop.tool
def look(text):
    return text

@fluxloop.agent
def agent(input):
    if input == "kill" or (input == "kill once" and not os.path.exists("killed")):
        open("killed", "w").close()
        os.kill(os.getpid(), signal.SIGKILL)
    while input == "spin":
        pass
    return [look(input), os.getpid()]
"""


def test_workers_are_processes_whose_records_come_to_one_folder(tmp_path):
    """
    With `processes`, runs are executed outside the experiment's process, and all records are in its folder.
    """
    config = "runner: {target: app:agent, processes: true}\nparallel_runs: 2\nbase_inputs: [a, b, c, d]"
    project(tmp_path, AGENT, config)

    done = fluxloop_in(tmp_path, "run", "experiment")

    assert done.code == 0, done.err
    assert [row["output"][0] for row in rows(tmp_path)] == ["a", "b", "c", "d"]
    traces = {trace.trace_id: trace for trace in fluxloop.read_traces(newest(tmp_path) / "artifacts")}
    assert {*traces} == {row["trace_id"] for row in rows(tmp_path)}
    assert all(len(trace.observations) == 3 for trace in traces.values())


CONFIGURED = """
import fluxloop
from fluxloop import experiments

def masked(value):
    return value.replace("plain", "hooked") if isinstance(value, str) else value

@fluxloop.tool
def look(text, password):
    return text

@fluxloop.agent
def agent(input):
    return [look(input, "p4ss"), look("order 12345", "p4ss")]

if __name__ == "__main__":
    import app
    fluxloop.configure(redact_patterns=[r"order \\d+"], redact_hook=app.masked, max_leaf_bytes=64, environment="tests")
    experiments.run("app:agent", ["plain " + 200 * "x"], name="configured", engine={engine!r})
"""


def check_settings_reach_workers(folder: Path, engine: str, **environment: str) -> None:
    """Run an experiment of a program with settings of its own, and check that its records follow them."""
    folder.mkdir(exist_ok=True)
    (folder / "app.py").write_text(CONFIGURED.replace("{engine!r}", repr(engine)))
    command = [sys.executable, "app.py"]

    done = subprocess.run(
        command, cwd=folder, env=offline.environment(**environment), capture_output=True, text=True, timeout=120
    )

    assert done.returncode == 0, done.stderr
    (trace,) = fluxloop.read_traces(newest(folder) / "artifacts")
    first, second = trace.tools("look")
    assert first.input["text"].startswith("hooked xxx")
    assert len(first.input["text"]) < 200
    assert "12345" not in f"{second.input} {second.output}"
    assert trace.metadata["environment"] == "tests"


def test_the_settings_of_the_program_reach_worker_processes(tmp_path):
    """
    What `configure` sets in the program holds for the records of its workers: masking, limits and metadata.
    """
    check_settings_reach_workers(tmp_path, "processes")


def test_a_setting_that_cannot_be_sent_to_workers_is_an_error(tmp_path, monkeypatch):
    """
    A hook that masks secrets is never left out silently.
    """
    monkeypatch.chdir(tmp_path)
    fluxloop.configure(redact_hook=lambda value: value)
    try:
        with pytest.raises(ConfigError, match="the setting redact_hook cannot be sent to workers"):
            experiments.run(os.path.basename, ["a"], engine="processes")
    finally:
        fluxloop.reset_config()


def test_the_run_of_a_lost_worker_is_executed_again_once(tmp_path):
    """
    A run whose worker is killed is given to another worker; if that dies too, the run failed. The others go on.
    """
    config = "runner: {target: app:agent}\nparallel_runs: 2\nbase_inputs: [kill once, kill, a, b]"
    project(tmp_path, AGENT, config)

    done = fluxloop_in(tmp_path, "run", "experiment", "--engine", "processes")

    assert done.code == 0, done.err
    statuses = [(row["input"], row["status"], (row["error"] or {}).get("type")) for row in rows(tmp_path)]
    assert statuses == [
        ("kill once", "success", None),
        ("kill", "error", "WorkerLost"),
        ("a", "success", None),
        ("b", "success", None),
    ]
    assert rows(tmp_path)[1]["error"]["message"].startswith("the worker process was killed by SIGKILL, as the system")
    crashed = [t for t in fluxloop.read_traces(newest(tmp_path) / "artifacts") if t.status.value == "crashed"]
    assert rows(tmp_path)[1]["trace_id"] in {trace.trace_id for trace in crashed}


def test_a_worker_that_computes_for_ever_is_ended_at_the_timeout(tmp_path):
    """
    A run that never gives up the processor times out, and its process does not live on.
    """
    config = "runner: {target: app:agent, timeout_seconds: 1}\nbase_inputs: [spin, a]"
    project(
        tmp_path,
        AGENT.replace("while input ==", "open('pid', 'w').write(str(os.getpid()))\n    while input =="),
        config,
    )

    done = fluxloop_in(tmp_path, "run", "experiment", "--engine", "processes")

    assert done.code == 0, done.err
    assert [row["status"] for row in rows(tmp_path)] == ["timeout", "success"]


def test_workers_end_with_a_killed_experiment(tmp_path):
    """
    After `kill -9` of the experiment, no worker is left.
    """
    config = "runner: {target: app:agent, processes: true}\nparallel_runs: 2\nbase_inputs: [a, b]"
    agent = "import os, time\ndef agent(input):\n    open(f'{os.getpid()}.pid', 'w').close()\n    time.sleep(0.5)"
    project(tmp_path, agent, config + "\niterations: 1000")
    process = started(tmp_path, "run", "experiment")
    wait_until(lambda: len(list(tmp_path.glob("*.pid"))) == 2)
    process.kill()
    process.communicate()

    pids = [int(path.stem) for path in tmp_path.glob("*.pid")]
    wait_until(lambda: not any(map(is_running, pids)))


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (ProcessLookupError, FileNotFoundError):
        return False


def test_a_target_that_cannot_be_sent_is_an_error():
    """
    A local function cannot be imported by a worker; the message says what can.
    """
    with pytest.raises(ConfigError, match="cannot be sent to worker processes"):
        experiments.run(lambda input: input, ["x"], engine="processes")

    assert list(Path("experiments").glob("*")) == []


def test_any_object_with_the_method_of_an_engine_is_one():
    """
    An engine executes the runs as it likes, and reports each row.
    """

    class Backwards:
        async def run(self, job, runs, finished):
            for planned in reversed(list(runs)):
                finished(await job.executor.execute(planned))

    experiment = experiments.run(lambda input: input, ["a", "b", "c"], engine=Backwards())

    assert [row.data["output"] for row in experiment.rows()] == ["c", "b", "a"]
