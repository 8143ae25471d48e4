"""
The engine ray, on a real Ray of this machine: records of several workers in one folder, killed workers, Ctrl-C.
"""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from pathlib import Path

import offline
import pytest
from experiments.projects import Done, newest, project, rows, summary, wait_until
from experiments.projects import started as started_offline
from experiments.test_engines import check_settings_reach_workers

import fluxloop

pytest.importorskip("ray", reason="the engine ray needs Ray: pip install 'fluxloop[ray]'")

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

AGENT = """
import asyncio, os, pathlib, signal
import fluxloop

@fluxloop.tool
def look(text):
    return text

@fluxloop.agent
async def agent(input):
    if input == "kill" or (input == "kill once" and not os.path.exists("killed")):
        open("killed", "w").close()
        os.kill(os.getpid(), signal.SIGKILL)
    if input == "fail":
        raise ValueError("no")
    if input == "wait":
        open("waiting", "w").close()
        await asyncio.sleep(60)
    if input == "meet":
        pathlib.Path(f"{os.getpid()}.met").touch()
        while len(list(pathlib.Path().glob("*.met"))) < 2:
            await asyncio.sleep(0.01)
    while input == "spin":
        pass
    return [look(input), os.getpid()]
"""

ROOT = str(Path(fluxloop.__file__).parent.parent)


def started(folder: Path, *arguments: object, **environment: str) -> subprocess.Popen[str]:
    """Start ``fluxloop`` without the block of connections: a local Ray uses the address of this machine."""
    return started_offline(folder, *arguments, PYTHONPATH=ROOT, **environment)


def fluxloop_in(folder: Path, *arguments: object, **environment: str) -> Done:
    """Run ``fluxloop`` to its end."""
    return ended(started(folder, *arguments, **environment))


def ended(process: subprocess.Popen[str]) -> Done:
    """Wait for *process*."""
    out, err = process.communicate(timeout=90)
    return Done(process.returncode, out, err)


def test_two_workers_bring_their_records_to_one_folder_and_a_killed_one_is_replaced(tmp_path):
    """
    With two Ray workers, the run of a killed worker is executed again, once; all records are in the one folder.
    """
    config = "runner: {target: app:agent}\nparallel_runs: 2\nbase_inputs: [kill once, kill, meet, meet, fail, c]"
    project(tmp_path, AGENT, config)

    done = fluxloop_in(tmp_path, "run", "experiment", "--engine", "ray")

    assert done.code == 0, done.err
    statuses = [(row["input"], row["status"], (row["error"] or {}).get("type")) for row in rows(tmp_path)]
    assert statuses == [
        ("kill once", "success", None),
        ("kill", "error", "WorkerLost"),
        ("meet", "success", None),
        ("meet", "success", None),
        ("fail", "error", "ValueError"),
        ("c", "success", None),
    ]
    assert "Ray worker died" in rows(tmp_path)[1]["error"]["message"]
    traces = {trace.trace_id: trace for trace in fluxloop.read_traces(newest(tmp_path) / "artifacts")}
    finished = [row for row in rows(tmp_path) if row["input"] != "kill"]
    assert {*traces} == {row["trace_id"] for row in finished}
    assert [len(traces[row["trace_id"]].observations) for row in finished] == [3, 3, 3, 2, 3]
    assert "run progress 6/6" in done.out
    assert len({row["output"][1] for row in rows(tmp_path) if row["input"] == "meet"}) == 2


def test_the_settings_of_the_program_reach_the_workers(tmp_path):
    """
    What `configure` sets in the program that starts the experiment holds for the records of Ray workers.
    """
    check_settings_reach_workers(tmp_path, "ray", PYTHONPATH=ROOT)


def test_a_run_that_never_gives_up_the_processor_is_ended_at_the_timeout(tmp_path):
    """
    A worker that cannot answer is killed and its run tried once more; the other runs go on.
    """
    config = "runner: {target: app:agent, timeout_seconds: 1}\nbase_inputs: [spin, a]"
    project(tmp_path, AGENT, config)

    done = fluxloop_in(tmp_path, "run", "experiment", "--engine", "ray")

    assert done.code == 0, done.err
    found = [(row["status"], (row["error"] or {}).get("message")) for row in rows(tmp_path)]
    assert found == [("error", "the Ray worker did not answer within 6 s"), ("success", None)]


def test_ctrl_c_keeps_finished_and_cancelled_runs_and_resume_executes_the_others(tmp_path):
    """
    Ctrl-C ends the workers; the cancelled run is a trace with that status, and `--resume` executes it again.
    """
    project(tmp_path, AGENT, "runner: {target: app:agent}\nbase_inputs: [a, wait, b]")
    process = started(tmp_path, "run", "experiment", "--engine", "ray")
    wait_until((tmp_path / "waiting").exists, 60)
    process.send_signal(signal.SIGINT)
    done = ended(process)

    assert done.code == 130, done.err
    assert summary(tmp_path)["state"] == "interrupted"
    assert [row["status"] for row in rows(tmp_path)] == ["success", "cancelled"]
    statuses = {trace.status.value for trace in fluxloop.read_traces(newest(tmp_path) / "artifacts")}
    assert statuses == {"success", "cancelled"}

    (tmp_path / "app.py").write_text(AGENT.replace('if input == "wait"', "if False"))
    done = fluxloop_in(tmp_path, "run", "experiment", "--engine", "ray", "--resume", newest(tmp_path))

    assert done.code == 0, done.err
    assert [row["status"] for row in rows(tmp_path)] == ["success", "success", "success"]


SCRIPT = """
from fluxloop import experiments

def shout(input):
    return input.upper()

if __name__ == "__main__":
    experiments.run(shout, ["a", "b"], engine="ray", parallel=2)
"""


def test_a_function_of_the_running_script_is_sent_to_the_workers(tmp_path):
    """
    A target of the script itself, which no worker could import by name, runs on Ray.
    """
    (tmp_path / "script.py").write_text(SCRIPT)
    environment = offline.environment(PYTHONPATH=ROOT)
    subprocess.run([sys.executable, "script.py"], cwd=tmp_path, env=environment, check=True, timeout=90)

    assert [row["output"] for row in rows(tmp_path)] == ["A", "B"]


def test_a_project_is_sent_to_a_cluster(tmp_path, cluster):
    """
    With `--ray-address`, the workers have a copy of the project, without the folders of experiments.
    """
    agent = """
import os, helper
def agent(input):
    return [helper.X, sorted({*os.listdir()} - {"__pycache__"}), os.getcwd()]
"""
    project(tmp_path, agent, "base_inputs: [a]", helper__py="X = 1")
    (tmp_path / "experiments").mkdir()

    done = fluxloop_in(tmp_path, "run", "experiment", "--ray-address", cluster, RAY_AUTH_MODE="disabled")

    assert done.code == 0, done.err
    (row,) = rows(tmp_path)
    assert row["output"][:2] == [1, ["app.py", "helper.py", "setting.yaml"]]
    assert row["output"][2] != str(tmp_path)


@pytest.fixture
def cluster(tmp_path_factory):
    """A Ray that is already running, by its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = offline.environment(PYTHONPATH=ROOT, RAY_AUTH_MODE="disabled", RAY_USAGE_STATS_ENABLED="0")
    command = ["ray", "start", "--head", "--block", f"--port={port}", "--num-cpus=1", "--include-dashboard=false"]
    command = [sys.executable, "-c", "from ray.scripts.scripts import main; main()", *command[1:]]
    head = subprocess.Popen(command, cwd=tmp_path_factory.mktemp("head"), env=environment, stdout=subprocess.DEVNULL)
    try:
        wait_until(lambda: _listens(port), 60)
        yield f"127.0.0.1:{port}"
    finally:
        head.terminate()
        head.wait(30)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_a_cluster_that_does_not_answer_is_one_clear_error(tmp_path):
    """
    An address where nothing listens, and an address for another engine, end with exit code 2.
    """
    project(tmp_path, AGENT, "base_inputs: [a]")

    nothing = fluxloop_in(tmp_path, "run", "experiment", "--ray-address", "127.0.0.1:1")
    local = fluxloop_in(tmp_path, "run", "experiment", "--ray-address", "auto", "--engine", "local")

    assert (nothing.code, local.code) == (2, 2)
    assert nothing.err.startswith("fluxloop: cannot connect to Ray at 127.0.0.1:1: ")
    assert local.err == "fluxloop: --ray-address belongs to --engine ray, got --engine local\n"
    assert not list((tmp_path / "experiments").glob("*"))
