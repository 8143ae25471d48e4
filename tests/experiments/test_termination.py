"""
SIGTERM, as CI systems and containers send it: the commands end as after Ctrl-C, with exit code 143.
"""

from __future__ import annotations

import json
import signal
import sys
import threading
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from experiments.projects import fluxloop_in, newest, project, rows, started, summary, wait_until

HANGING = """
    import os, pathlib, time
    def agent(input):
        if input == "slow":
            pathlib.Path(f"pid_{os.getpid()}").touch()
            time.sleep(600)
        return input
"""

PEER = """
    import json, os, pathlib, subprocess, sys, time
    for line in sys.stdin:
        if json.loads(line)["input"] == "slow":
            child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
            pathlib.Path(f"pid_{child.pid}").touch()
            pathlib.Path(f"pid_{os.getpid()}").touch()
            time.sleep(600)
        print(json.dumps({"type": "final", "output": "done"}), flush=True)
"""


def pids(folder):
    return [int(path.name.partition("_")[2]) for path in folder.glob("pid_*")]


def is_running(pid):
    """Whether the process runs; one that has ended and is not waited for, such as an orphan, does not."""
    with suppress(OSError), open(f"/proc/{pid}/stat") as file:
        return file.read().rpartition(")")[2].split()[0] != "Z"
    return False


@pytest.mark.parametrize("kind", ["thread", "processes", "process"])
def test_a_terminated_experiment_leaves_no_process(tmp_path, kind):
    """
    Runs that finished are kept, the message names ``--resume``, and the processes of the other runs have ended.
    """
    config = {
        "thread": "runner: {target: app:agent}",
        "processes": "runner: {target: app:agent, processes: true}",
        "process": f"runner: {{process: {{command: [{sys.executable}, peer.py]}}}}",
    }
    inputs = "base_inputs: [a, slow, b, c, d]\nparallel_runs: 2\n"
    project(tmp_path, HANGING, inputs + config[kind], peer__py=PEER)
    process = started(tmp_path, "run", "experiment")
    wait_until(lambda: pids(tmp_path) and len(rows(tmp_path)) == 4)
    wait_until(lambda: len(pids(tmp_path)) == (2 if kind == "process" else 1))
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=30)

    assert process.returncode == 143, err
    assert "fluxloop: terminated; finished runs are kept. Go on with: fluxloop run experiment --resume" in err
    assert "Traceback" not in err
    assert not [pid for pid in pids(tmp_path) if pid != process.pid and is_running(pid)]
    assert [row["input"] for row in rows(tmp_path) if row["status"] == "success"] == ["a", "b", "c", "d"]
    assert summary(tmp_path)["state"] == "interrupted"


@pytest.fixture
def endpoint():
    """An endpoint that does not answer ``slow``: its address, and whether it was asked."""
    asked, ended = threading.Event(), threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            if b"slow" in self.rfile.read(int(self.headers["content-length"])):
                asked.set()
                ended.wait(60)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b'{"output": "done"}')

        def log_message(self, *arguments):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/", asked
        ended.set()
        server.shutdown()


def test_a_terminated_experiment_closes_its_requests(tmp_path, endpoint):
    """
    A request that waits for its answer is cancelled, and the run is a row with that status.
    """
    address, asked = endpoint
    project(tmp_path, "", f"runner: {{http: {{url: '{address}'}}}}\nbase_inputs: [a, slow]")
    process = started(tmp_path, "run", "experiment")
    assert asked.wait(30)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=30)

    assert process.returncode == 143, err
    assert [row["status"] for row in rows(tmp_path)] == ["success", "cancelled"]


EVALUATOR = """
    import pathlib, time
    def waits(output):
        pathlib.Path("judging").touch()
        time.sleep(600)
"""


def test_a_terminated_evaluation_leaves_earlier_results(tmp_path):
    """
    An evaluation that is terminated writes nothing; the message states that.
    """
    evaluators = json.dumps({"evaluators": [{"type": "python", "target": "judge:waits"}]})
    project(tmp_path, "def agent(input): return input", "base_inputs: [a]", judge__py=EVALUATOR)
    (tmp_path / "waits.yaml").write_text(evaluators)
    assert fluxloop_in(tmp_path, "run", "experiment").code == 0
    assert fluxloop_in(tmp_path, "evaluate", "experiment", newest(tmp_path)).code == 0
    before = {path: path.read_bytes() for path in newest(tmp_path).rglob("*") if path.is_file()}

    process = started(tmp_path, "evaluate", "experiment", newest(tmp_path), "--config", "waits.yaml")
    wait_until((tmp_path / "judging").exists)
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=30)

    assert (process.returncode, out) == (143, "")
    assert err == "fluxloop: terminated; no results were written, and earlier ones are unchanged\n"
    assert {path: path.read_bytes() for path in newest(tmp_path).rglob("*") if path.is_file()} == before


def test_a_command_that_ignores_ctrl_c_can_be_terminated(tmp_path):
    """
    A background job of a shell ignores Ctrl-C, and ends after SIGTERM as any other command.
    """
    project(tmp_path, HANGING.replace("def", "async def", 1).replace("time.sleep", "await __import__('asyncio').sleep"))
    (tmp_path / "setting.yaml").write_text("runner: {target: app:agent}\nbase_inputs: [a, slow]\n")
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        process = started(tmp_path, "run", "experiment")
    finally:
        signal.signal(signal.SIGINT, before)
    wait_until(lambda: pids(tmp_path))
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=30)

    assert process.returncode == 143, err
    assert "Traceback" not in err
    assert [row["status"] for row in rows(tmp_path)] == ["success", "cancelled"]


FORKING = """
    import os, pathlib, signal, time
    def agent(input):
        pid = os.fork()
        if not pid:
            time.sleep(600)
            os._exit(0)
        os.kill(pid, signal.SIGTERM)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
"""


def test_processes_that_a_target_forks_end_as_without_the_command(tmp_path):
    """
    SIGTERM to a process that the target forked kills it, as `multiprocessing` expects.
    """
    project(tmp_path, FORKING, "base_inputs: [a]")

    done = fluxloop_in(tmp_path, "run", "experiment")

    assert done.code == 0, done.err
    assert rows(tmp_path)[0]["output"] == -signal.SIGTERM
