"""
Targets and environments that misbehave: the experiment ends, keeps what was finished, and says what happened.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import offline
import pytest
from experiments.projects import fluxloop_in, newest, project, rows, started, summary, wait_until

from fluxloop import experiments

STUBBORN = """
import asyncio

async def agent(input):
    while input == "stubborn":
        try:
            open("waiting", "w").close()
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            pass
    return input
"""


@pytest.mark.slow
def test_a_target_that_ignores_its_cancellation_is_left_behind(tmp_path):
    """
    A run that swallows the cancellation of its timeout is a row, and neither the others nor the end wait for it.
    """
    project(tmp_path, STUBBORN, "runner: {target: app:agent, timeout_seconds: 0.2}\nbase_inputs: [stubborn, b]")

    done = fluxloop_in(tmp_path, "run", "experiment")

    assert done.code == 0, done.err
    assert [row["status"] for row in rows(tmp_path)] == ["timeout", "success"]
    assert rows(tmp_path)[0]["error"]["type"] == "RunTimeoutError"
    assert rows(tmp_path)[0]["error"]["message"].endswith("and did not end within 5 s after it was cancelled")
    assert "Task was destroyed" not in done.err


@pytest.mark.slow
def test_ctrl_c_ends_an_experiment_whose_target_ignores_it(tmp_path):
    """
    After Ctrl-C the experiment waits 5 s for a run, then it ends without it.
    """
    project(tmp_path, STUBBORN, "base_inputs: [a, stubborn]")
    process = started(tmp_path, "run", "experiment")
    wait_until((tmp_path / "waiting").exists)
    process.send_signal(signal.SIGINT)

    process.communicate(timeout=30)

    assert process.returncode == 130
    assert [row["input"] for row in rows(tmp_path)] == ["a"]
    assert summary(tmp_path)["state"] == "interrupted"


def test_a_target_that_raises_keyboard_interrupt_fails_its_run_only(tmp_path):
    """
    Only a real Ctrl-C interrupts an experiment.
    """
    agent = "def agent(input):\n    if input == 'a':\n        raise KeyboardInterrupt\n    return 1"
    project(tmp_path, agent, "base_inputs: [a, b]")

    assert fluxloop_in(tmp_path, "run", "experiment").code == 0
    assert [row["status"] for row in rows(tmp_path)] == ["error", "success"]


def test_a_target_that_raises_anything_or_never_waits_fails_its_run_only(tmp_path):
    """
    Exceptions that are no `Exception`, and an endless stream without a pause: rows, and the others go on.
    """
    agent = """
    import sys
    class Odd(BaseException): pass
    def fails(input):
        raise {"odd": Odd, "closing": GeneratorExit, "stop": StopIteration}[input]("no")
    async def flood():
        while True:
            yield "x"
    async def raises(): raise Odd("no")
    def agent(input):
        sys.stdout = sys.stderr = None
        return {"good": str, "endless": flood, "async": raises}.get(input, lambda: fails(input))()
    """
    config = (
        "runner: {target: app:agent, timeout_seconds: 0.5}\nbase_inputs: [odd, closing, stop, async, endless, good]"
    )
    project(tmp_path, agent, config)

    done = fluxloop_in(tmp_path, "run", "experiment")

    assert done.code == 0, done.err
    assert "1 of 6 runs succeeded" in done.out
    assert [row["status"] for row in rows(tmp_path)] == [*["error"] * 4, "timeout", "success"]
    messages = [row["error"]["message"] for row in rows(tmp_path)[:4]]
    assert messages == [f"the target raised {name}: no" for name in ("Odd", "GeneratorExit", "StopIteration", "Odd")]


@pytest.mark.parametrize(
    ("agent", "message"),
    [
        ("asyncio.get_running_loop().stop(); await asyncio.sleep(60)", "the target stopped the event loop"),
        ("[task.cancel() for task in asyncio.all_tasks()]; await asyncio.sleep(60)", "the target cancelled the tasks"),
    ],
    ids=["stop", "cancel"],
)
def test_a_target_that_ends_the_event_loop_ends_the_experiment_with_one_line(tmp_path, agent, message):
    """
    The finished runs are kept, and the line says how to go on.
    """
    agent = f"import asyncio\nasync def agent(input):\n    if input == 'bad':\n        {agent}\n    return input"
    project(tmp_path, agent, "base_inputs: [a, bad, c]\nparallel_runs: 1")

    done = fluxloop_in(tmp_path, "run", "experiment")

    assert done.code == 2, done.err
    assert f"fluxloop: {message} of the experiment. Finished runs are kept." in done.err
    assert "Traceback" not in done.err
    assert [row["input"] for row in rows(tmp_path) if row["status"] == "success"] == ["a"]
    assert summary(tmp_path)["state"] == "interrupted"


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_a_process_that_floods_its_output_times_out(tmp_path, stream):
    """
    Lines that never end hold up neither the timeout nor the end of the process.
    """
    script = f"import sys\nwhile True: sys.{stream}.write('log\\n' * 1000)"
    (tmp_path / "flood.py").write_text(script)
    config = f"runner: {{process: {{command: ['{sys.executable}', flood.py]}}, timeout_seconds: 0.5}}\nbase_inputs: [a]"
    project(tmp_path, "", config)

    done = fluxloop_in(tmp_path, "run", "experiment")

    assert done.code == 1, done.err
    assert [row["status"] for row in rows(tmp_path)] == ["timeout"]


def test_a_target_that_cancels_its_own_task_ends_its_run_only(tmp_path):
    """
    Further inputs are run even if there is only one place for them.
    """
    agent = """
    import asyncio
    async def agent(input):
        if input == "a":
            asyncio.current_task().cancel()
            await asyncio.sleep(60)
        return 1
    """
    project(tmp_path, agent, "base_inputs: [a, b, a, c]\nparallel_runs: 1")

    assert fluxloop_in(tmp_path, "run", "experiment").code == 0
    assert [row["status"] for row in rows(tmp_path)] == ["cancelled", "success", "cancelled", "success"]


PRINTS = """
import os, subprocess, sys
print("at import")
def agent(input):
    print("by Python")
    os.write(1, b"by the descriptor\\n")
    subprocess.run([sys.executable, "-c", "print('by a subprocess')"])
    return 1
def judge(inputs, outputs):
    print("by an evaluator")
    return True
"""


def test_json_is_all_of_stdout_whatever_the_code_of_the_user_prints(tmp_path):
    """
    With `--json`, what the target and evaluators print is on stderr.
    """
    evaluation = "evaluators: [{name: a, target: 'app:judge'}]"
    project(tmp_path, PRINTS, "base_inputs: [a]", evaluation__yaml=evaluation)

    plan = fluxloop_in(tmp_path, "run", "experiment", "--dry-run", "--json")
    run = fluxloop_in(tmp_path, "run", "experiment", "--json")
    evaluated = fluxloop_in(tmp_path, "evaluate", "experiment", newest(tmp_path), "--json")

    assert json.loads(plan.out)["runs"] == 1
    assert json.loads(run.out)["successful"] == 1
    assert json.loads(evaluated.out)["pass_rate"] == 1
    for text in ("at import", "by Python", "by the descriptor", "by a subprocess"):
        assert text in run.err
    assert "by an evaluator" in evaluated.err


def test_a_file_for_junit_that_cannot_be_written_is_known_before_the_first_run(tmp_path):
    """
    Nothing is run if the results could not be kept where they are wanted.
    """
    project(tmp_path, "def agent(input):\n    open('ran', 'w')", "base_inputs: [a]")
    (tmp_path / "file").touch()

    done = fluxloop_in(tmp_path, "run", "experiment", "--junit", "file/out.xml")

    assert done.code == 2
    assert done.err.endswith("A file has the name of the folder: move it, or choose another folder with --junit.\n")
    assert not (tmp_path / "ran").exists()


@pytest.mark.slow
def test_two_experiments_at_once_have_folders_of_their_own(tmp_path):
    """
    Two commands that start in the same second do not mix their runs.
    """
    project(tmp_path, "def agent(input): return input", "base_inputs: [a, b]\niterations: 20")

    processes = [started(tmp_path, "run", "experiment") for _ in range(3)]
    for process in processes:
        process.communicate(timeout=60)
        assert process.returncode == 0

    folders = [path for path in (tmp_path / "experiments").iterdir() if not path.is_symlink()]
    assert len(folders) == 3
    for folder in folders:
        lines = (folder / "trace_summary.jsonl").read_text().splitlines()
        assert sorted(json.loads(line)["run"] for line in lines) == [*range(40)]


@pytest.mark.slow
def test_an_experiment_is_resumed_by_one_process_only(tmp_path):
    """
    Of two commands that resume the same experiment, one goes on and the other stops; no run is executed twice.
    """
    agent = "import time\ndef agent(input):\n    open('runs', 'a').write('x')\n    time.sleep(0.1)\n    return input"
    project(tmp_path, agent, "base_inputs: [a]\niterations: 30")
    process = started(tmp_path, "run", "experiment")
    wait_until(lambda: (tmp_path / "runs").exists() and (tmp_path / "runs").stat().st_size > 2)
    process.kill()
    process.communicate()

    processes = [started(tmp_path, "run", "experiment", "--resume", newest(tmp_path)) for _ in range(2)]
    ended = [(process.communicate(timeout=60), process.returncode) for process in processes]

    assert sorted(code for _, code in ended) == [0, 2], ended
    assert len(rows(tmp_path)) == 30
    assert (tmp_path / "runs").stat().st_size <= 30 + 1  # the run that was killed is executed again


def test_a_dry_run_of_resume_writes_nothing(tmp_path):
    """
    `--resume DIR --dry-run` counts the missing runs and leaves the folder as it is.
    """
    project(tmp_path, STUBBORN.replace("pass", "raise"), "base_inputs: [a, stubborn]")
    process = started(tmp_path, "run", "experiment")
    wait_until((tmp_path / "waiting").exists)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)
    before = {path: path.read_bytes() for path in newest(tmp_path).rglob("*") if path.is_file()}

    done = fluxloop_in(tmp_path, "run", "experiment", "--resume", newest(tmp_path), "--dry-run", "--json")

    assert json.loads(done.out)["runs"] == 1
    assert {path: path.read_bytes() for path in newest(tmp_path).rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("command", ["parse", "evaluate"])
def test_a_full_disk_while_results_are_written_leaves_the_earlier_ones(tmp_path, command):
    """
    Where a file cannot grow, the command ends with one line and exit code 2, and earlier results stay.
    """
    project(tmp_path, "def agent(input): return input * 20_000", "base_inputs: [abc, def]")
    assert fluxloop_in(tmp_path, "run", "experiment").code == 0
    assert fluxloop_in(tmp_path, "evaluate", "experiment", newest(tmp_path)).code == 0
    before = {path: path.read_bytes() for path in newest(tmp_path).rglob("*") if path.is_file()}
    limit = 8_000

    process = subprocess.run(
        [sys.executable, "-m", "fluxloop", command, "experiment", newest(tmp_path)],
        cwd=tmp_path,
        env=offline.environment(),
        capture_output=True,
        text=True,
        timeout=60,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )

    assert process.returncode == 2, process.stderr
    assert process.stderr.count("\n") == 1, process.stderr
    assert "cannot be written" in process.stderr
    assert {path: path.read_bytes() for path in newest(tmp_path).rglob("*") if path.is_file()} == before


@pytest.fixture
def disk(tmp_path):
    """A folder with a file system of its own, of 600 KB, and a function that mounts it again with other options."""
    folder = tmp_path / "disk"
    folder.mkdir()

    def mount(*options):
        return subprocess.run(["mount", *options, str(folder)], capture_output=True).returncode

    if shutil.which("mount") is None or mount("-t", "tmpfs", "-o", "size=600k", "tmpfs"):
        pytest.skip("no file system can be mounted here")
    yield folder, lambda options: mount("-o", f"remount,{options}")
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.slow
def test_an_experiment_goes_on_after_a_full_disk_and_reads_from_one_that_cannot_be_written(disk):
    """
    Each command ends with one line and exit code 2; no finished run is lost, and none is executed twice.
    """
    folder, remount = disk
    project(folder, "def agent(input): return input * 3_000", "base_inputs: [a, b, c]\niterations: 60\nname: full")

    full = fluxloop_in(folder, "run", "experiment", "--yes", is_measured=False)

    assert full.code == 2
    assert "No space left on device" in full.err
    assert "Traceback" not in full.err
    assert f"finished runs are kept. Go on with: fluxloop run experiment --resume {newest(folder)}" in full.err
    for command in ("parse", "evaluate"):
        done = fluxloop_in(folder, command, "experiment", newest(folder), is_measured=False)
        assert (done.code, done.err.count("\n")) == (2, 1), done.err
    remount("size=30m")
    resumed = fluxloop_in(folder, "run", "experiment", "--resume", newest(folder), "--yes", is_measured=False)
    assert resumed.code == 0, resumed.err
    assert [row["run"] for row in rows(folder)] == list(range(180))

    remount("ro")

    path = newest(folder)
    for line in (("run", "experiment", "--yes"), ("parse", "experiment", path), ("evaluate", "experiment", path)):
        done = fluxloop_in(folder, *line, is_measured=False)
        assert (done.code, done.err.count("\n")) == (2, 1), done.err
        assert "Read-only file system" in done.err
    assert fluxloop_in(folder, "compare", path, path, is_measured=False).code == 0


def test_ctrl_c_while_results_are_written_leaves_the_earlier_ones(tmp_path):
    """
    `parse` and `evaluate` remove what they wrote so far; the command prints one line and exits with 130.
    """
    evaluation = "evaluators: [{name: slow, target: 'app:judge'}]"
    agent = """
    import pathlib, time
    def agent(input): return input
    def judge(inputs, outputs):
        pathlib.Path("judging").touch()
        time.sleep(60)
    """
    project(tmp_path, agent, "base_inputs: [a, b]", evaluation__yaml=evaluation)
    assert fluxloop_in(tmp_path, "run", "experiment").code == 0
    folder = newest(tmp_path)
    experiments.parse(folder)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    def interrupt(run):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        experiments.parse(folder, on_run=interrupt)
    process = started(tmp_path, "evaluate", "experiment", folder)
    wait_until((tmp_path / "judging").exists)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)

    assert (process.returncode, out) == (130, "")
    assert err == "fluxloop: interrupted; no results were written, and earlier ones are unchanged\n"
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    assert not (folder / "evaluation").exists()


def test_a_thread_that_outlives_its_experiment_writes_to_no_other_file(tmp_path):
    """
    The descriptor of a closed file may belong to another file: a late record is not written to it.
    """
    from fluxloop.errors import WriteError
    from fluxloop.experiments.line_file import LineFile

    file = LineFile(tmp_path / "lines")
    file.close()
    other = os.open(tmp_path / "other", os.O_WRONLY | os.O_CREAT)

    with pytest.raises(WriteError):
        file.write(b"late\n")

    os.close(other)
    assert Path(tmp_path / "other").read_bytes() == b""


def test_a_target_that_changes_the_working_directory_moves_no_results(tmp_path):
    """
    Paths of the command line start from where it was called, and so do those that it prints.
    """
    project(tmp_path, "import os\ndef agent(input):\n    os.chdir('/')\n    return 1", "base_inputs: [a]")

    done = fluxloop_in(tmp_path, "run", "experiment", "--junit", "runs.xml")

    assert done.code == 0, done.err
    assert "results: experiments/" in done.out
    assert (tmp_path / "runs.xml").is_file()
