"""
Targets that end their process: finished runs are kept, the exit code is not 0, and resuming goes on.
"""

from __future__ import annotations

import signal

import pytest
from experiments.projects import fluxloop_in, newest, project, rows, summary

INPUTS = "runner: {target: app:agent}\nbase_inputs: [a, b, bad, d, e]"

ENDINGS = {
    "os._exit": "os._exit(0)",
    "async": "os._exit(0)",
    "sys.exit": "sys.exit(0)",
    "memory": "raise MemoryError",
}


FORKS = """
    pid = os.fork()
    if not pid:
        os._exit(3)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 3
""".strip()


@pytest.mark.parametrize("how", ENDINGS)
def test_a_target_that_exits_fails_its_run_only(tmp_path, how):
    """
    ``os._exit(0)`` in a run neither ends the experiment nor makes it a success, and a forked process exits as it asks.
    """
    keyword = "async def" if how == "async" else "def"
    body = f"{FORKS}\n    if input == 'bad':\n        {ENDINGS[how]}\n    return input"
    project(tmp_path, f"import os, sys\n{keyword} agent(input):\n    {body}", INPUTS)

    done = fluxloop_in(tmp_path, "run", "experiment", "--strict", is_measured=False)

    assert done.code == 1, done.err
    assert [row["status"] for row in rows(tmp_path)] == ["success", "success", "error", "success", "success"]
    assert summary(tmp_path)["state"] == "finished"
    message = {"memory": "MemoryError", "sys.exit": "the target called sys.exit(0)"}
    assert rows(tmp_path)[2]["error"]["message"] == message.get(how, "the target called os._exit(0)")


SLOW = [pytest.param(how, marks=pytest.mark.slow) for how in ("kill", "crash")]


@pytest.mark.parametrize("how", ["exit", *SLOW])
def test_an_experiment_whose_process_ends_goes_on_in_worker_processes(tmp_path, how):
    """
    After a crash each command says what is missing, and ``--engine processes`` gets past the run that crashes.
    """
    endings = {
        "exit": "threading.Thread(target=os._exit, args=(0,)).start(); threading.Event().wait()",
        "kill": "os.kill(os.getpid(), signal.SIGKILL)",
        "crash": "ctypes.string_at(0)",
    }
    agent = f"import ctypes, os, signal, threading\ndef agent(input):\n    if input == 'bad':\n        {endings[how]}"
    project(tmp_path, agent + "\n    return input", INPUTS)

    ended = fluxloop_in(tmp_path, "run", "experiment", is_measured=False)

    assert ended.code == {"exit": 2, "kill": -signal.SIGKILL, "crash": -signal.SIGSEGV}[how]
    if how == "exit":
        assert (
            "a thread of the target called os._exit(0), which ends this process. Finished runs are kept." in ended.err
        )
    if how == "crash":
        assert "app.py" in ended.err  # the stack
    assert [row["input"] for row in rows(tmp_path)] == ["a", "b"]
    parsed = fluxloop_in(tmp_path, "parse", "experiment", newest(tmp_path))
    assert (parsed.code, "2 of 5 runs are finished; its process ended early. Go on with" in parsed.err) == (0, True)
    evaluated = fluxloop_in(tmp_path, "evaluate", "experiment", newest(tmp_path), "--strict")
    assert evaluated.code == 1
    assert "FAILED: the experiment is interrupted" in evaluated.out

    resumed = fluxloop_in(tmp_path, "run", "experiment", "--resume", newest(tmp_path), "--engine", "processes")

    assert resumed.code == 0, resumed.err
    assert [row["status"] for row in rows(tmp_path)] == ["success", "success", "error", "success", "success"]
    assert rows(tmp_path)[2]["error"]["type"] == "WorkerLost"
    assert "not complete" not in fluxloop_in(tmp_path, "evaluate", "experiment", newest(tmp_path), "--strict").err
