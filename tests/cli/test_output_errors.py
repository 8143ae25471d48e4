"""
An output that cannot be written: one line and the exit code 2, never a traceback.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import offline
import pytest
from reading_aids import observation, trace_line, written

FULL = Path("/dev/full")
UNREADABLE = Path("/proc/self/mem")
"""A regular file whose first bytes cannot be read."""


def fluxloop(*arguments: object, stdout: int) -> tuple[int, str]:
    """Return the exit code of the command, and its standard error."""
    done = subprocess.run(
        [sys.executable, "-m", "fluxloop", *map(str, arguments)],
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        timeout=60,
        env=offline.environment(is_measured=True),
    )
    return done.returncode, done.stderr


@pytest.mark.skipif(not FULL.exists(), reason="needs /dev/full")
@pytest.mark.parametrize("command", ["list", "view", "stats"])
def test_a_full_disk_is_one_line(tmp_path, command):
    """
    Also where the output is short, and so first written when the program exits.
    """
    written(tmp_path, observation("o", trace="t"), trace_line("t"))
    with FULL.open("wb") as full:
        code, error = fluxloop(command, tmp_path, stdout=full.fileno())

    assert (code, error) == (2, "fluxloop: the output cannot be written: No space left on device\n")


@pytest.mark.skipif(not UNREADABLE.exists(), reason="needs /proc")
@pytest.mark.parametrize("command", [["list"], ["view"], ["stats"], ["export", "csv"], ["export", "jsonl", "-o", "x"]])
def test_a_file_that_cannot_be_read_is_named(fluxloop_, tmp_path, monkeypatch, command):
    """
    The system reports a disk that fails while it is read by the same error as an output that fails.
    """
    monkeypatch.chdir(tmp_path)
    done = fluxloop_(*command, UNREADABLE)

    assert (done.code, done.out) == (2, "")
    assert done.err == f"fluxloop: {UNREADABLE}: cannot be read: Input/output error\n"
    assert not Path("x").exists()


def test_a_reader_that_has_gone_is_no_error(tmp_path):
    """
    As in ``fluxloop list | true``.
    """
    written(tmp_path, observation("o", trace="t"), trace_line("t"))
    reader, writer = os.pipe()
    os.close(reader)
    try:
        assert fluxloop("list", tmp_path, stdout=writer) == (1, "")
    finally:
        os.close(writer)


TARGETS = """
import os, sys

def closes_the_streams(x):
    sys.stdout.close()
    sys.stderr.close()
    return x

def closes_the_descriptors(x):
    for fd in (1, 2):
        try:
            os.close(fd)
        except OSError:  # by an earlier run
            pass
    return x

def echo(x):
    return x

def check(output):
    return bool(closes_the_descriptors(True))
"""


def closing(folder: Path, target: str) -> None:
    """Write an experiment with *target*, and an evaluator that closes the descriptors."""
    (folder / "app.py").write_text(TARGETS)
    (folder / "inputs.json").write_text('[{"input": 1}, {"input": 2}, {"input": 3}]')
    (folder / "e.yaml").write_text(f"name: closing\nrunner: {{target: 'app:{target}'}}\ninputs_file: inputs.json\n")
    (folder / "rules.yaml").write_text("evaluators:\n  - {name: check, type: python, target: 'app:check'}\n")


def in_folder(folder: Path, *arguments: str) -> tuple[int, str]:
    """Return the exit code and the output of an experiment command in *folder*."""
    done = subprocess.run(
        [sys.executable, "-m", "fluxloop", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=folder,
        env=offline.environment(is_measured=True),
    )
    return done.returncode, done.stdout


@pytest.mark.parametrize("target", ["closes_the_streams", "closes_the_descriptors"])
@pytest.mark.parametrize("options", [[], ["--json"]], ids=["text", "json"])
def test_an_agent_that_closes_the_output_hides_no_result(tmp_path, target, options):
    """
    All runs are made, their result is printed, and the exit code is that of the result.
    """
    closing(tmp_path, target)

    code, output = in_folder(tmp_path, "run", "experiment", "--config", "e.yaml", *options)

    assert code == 0
    assert ('"successful":3' if options else "3 of 3 runs succeeded") in output


def test_an_evaluator_that_closes_the_output_hides_no_result(tmp_path):
    """
    As for agents.
    """
    closing(tmp_path, "echo")
    in_folder(tmp_path, "run", "experiment", "--config", "e.yaml")

    code, output = in_folder(tmp_path, "evaluate", "experiment", "closing", "--config", "rules.yaml")

    assert code == 0
    assert "report.html" in output
