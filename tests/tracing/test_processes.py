"""Real processes: killed, forked, many at once, leaving at once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

import fluxloop
from fluxloop.enums import Status

PRELUDE = """
import fluxloop, os, sys, time, threading
@fluxloop.tool
def tool(n): return n
@fluxloop.agent
def agent(n): return [tool(i) for i in range(n)]
"""


def start(source: str, **options: object) -> subprocess.Popen[str]:
    """Start *source* as a program in the working directory."""
    program = PRELUDE + textwrap.dedent(source)
    return subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_a_killed_process_loses_nothing_that_ended_and_shows_what_was_open():
    """Each acknowledged observation is in the file; the open ones read back as crashed, with their inputs."""
    process = start(
        """
        @fluxloop.agent(name="victim", metadata={"k": 1})
        def victim(question):
            with fluxloop.instrument("scope", session_id="s1", tags=["t"]):
                n = 0
                while True:
                    tool(n)
                    n += 1
                    print(n, flush=True)
        victim("how long?")
        """
    )
    lines = [process.stdout.readline() for _ in range(300)]
    process.send_signal(signal.SIGKILL)
    rest = process.stdout.read()
    process.communicate()
    acknowledged = int(((rest.rpartition("\n")[0].splitlines() or lines)[-1]).strip())

    (trace,) = fluxloop.read_traces("traces")

    tools = [o for o in trace.observations if o.name == "tool" and o.status is Status.SUCCESS]
    assert len(tools) >= acknowledged
    assert [o.output for o in tools] == list(range(len(tools)))
    opened = {o.name: o for o in trace.observations if o.status is Status.CRASHED}
    assert {"victim", "scope"} <= opened.keys() <= {"victim", "scope", "tool"}
    assert opened["victim"].input == {"question": "how long?"}
    assert opened["scope"].parent_id == opened["victim"].id
    assert trace.status is Status.CRASHED


def test_a_running_process_is_no_crash():
    """While the process lives, what is open has no ending yet."""
    process = start(
        """
        with fluxloop.instrument("busy"):
            tool(1)
            print("ready", flush=True)
            sys.stdin.read() if False else time.sleep(30)
        """
    )
    try:
        process.stdout.readline()
        (trace,) = fluxloop.read_traces("traces")
    finally:
        process.kill()
        process.communicate()

    assert trace.status is None
    assert {o.name: o.status for o in trace.observations} == {"busy": None, "tool": Status.SUCCESS}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_goes_on_under_what_was_current():
    """Both sides record, each observation once, all in one trace."""
    process = start(
        """
        @fluxloop.agent
        def forks():
            tool("before")
            pid = os.fork()
            tool("child" if pid == 0 else "parent")
            if pid:
                os.waitpid(pid, 0)
            return "done"
        forks()
        """
    )
    _, errors = process.communicate(timeout=60)

    assert (process.returncode, errors) == (0, "")
    (trace,) = fluxloop.read_traces("traces")
    assert sorted(str(o.output) for o in trace.observations) == ["before", "child", "done", "parent"]
    assert all(o.parent_id == trace.roots[0].id for o in trace.observations if o.name == "tool")


def test_several_processes_write_to_one_folder():
    """Nothing is torn, nothing is lost, no parent is mixed up."""
    processes = [start("for _ in range(50): agent(4)") for _ in range(4)]
    for process in processes:
        assert process.communicate(timeout=60) == ("", "")

    traces = list(fluxloop.read_traces("traces"))
    assert len(traces) == 200
    assert all(len(trace.observations) == 5 and trace.status is Status.SUCCESS for trace in traces)
    assert not list(Path("traces").glob(".inflight*"))


def test_a_program_leaves_no_thread_and_no_file_but_the_two():
    """Exit has nothing to wait for."""
    process = start("agent(2); print([t.name for t in threading.enumerate()], sorted(os.listdir('traces')))")

    output, errors = process.communicate(timeout=60)

    threads, _, files = output.strip().partition("] [")
    assert threads == "['MainThread'"
    assert [name.strip("' ]").rpartition("_")[0] for name in files.split(",")] == ["observations", "traces"] or (
        ".inflight" in files
    )
    assert errors == ""
    assert sorted(path.name.partition("_")[0] for path in Path("traces").iterdir()) == ["observations", "traces"]


def test_what_is_open_when_the_interpreter_exits_reads_back_as_crashed():
    """A daemon thread that never came back is not running for ever."""
    process = start(
        """
        inside = threading.Event()
        def work():
            with fluxloop.instrument("never ends"):
                inside.set()
                time.sleep(60)
        threading.Thread(target=work, daemon=True).start()
        inside.wait()
        """
    )
    began = time.monotonic()
    process.communicate(timeout=60)

    assert time.monotonic() - began < 30
    (trace,) = fluxloop.read_traces("traces")
    assert (trace.name, trace.status) == ("never ends", Status.CRASHED)


@pytest.mark.slow
def test_a_burst_of_two_hundred_thousand_loses_nothing_and_grows_nothing():
    """Every record is there and memory is flat."""
    process = start(
        """
        import resource
        agent(1_000)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        for _ in range(200):
            agent(1_000)
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
        """
    )
    output, errors = process.communicate(timeout=300)

    assert errors == ""
    assert int(output) < 20_000  # kB
    (path,) = Path("traces").glob("observations_*.jsonl")
    with path.open("rb") as file:
        assert sum(1 for _ in file) == 201 * 1_001
