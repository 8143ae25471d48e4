"""
The command on a real terminal: a question before a large experiment, and the display while it runs.
"""

from __future__ import annotations

import os
import select
import subprocess
import sys
import time

import offline
import pytest
from experiments.projects import project, rows

pty = pytest.importorskip("pty", reason="this system has no pseudo-terminals")

AGENT = "def agent(input): return input"
MANY = "base_inputs: [a]\niterations: 101"


def on_terminal(folder, *arguments, answer="", **environment):
    """Run ``fluxloop`` on a terminal, answer its question, and return its exit code and what it showed."""
    ours, theirs = pty.openpty()
    outside_ci = {name: value for name, value in offline.environment().items() if name != "CI"}
    process = subprocess.Popen(
        [sys.executable, "-m", "fluxloop", *arguments],
        cwd=folder,
        env={**outside_ci, "TERM": "xterm", "COLUMNS": "100", "LINES": "30", **environment},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    shown, is_answered, end = b"", not answer, time.monotonic() + 60
    try:
        while time.monotonic() < end:
            if not select.select([ours], [], [], 1)[0]:
                continue
            try:
                piece = os.read(ours, 65_536)
            except OSError:  # the other end is closed
                break
            if not piece:
                break
            shown += piece
            if not is_answered and b"Continue?" in shown:
                os.write(ours, answer.encode())
                is_answered = True
    finally:
        os.close(ours)
    return process.wait(30), shown.decode("utf-8", "replace")


@pytest.mark.parametrize(
    ("answer", "code", "count", "environment"), [("\n", 0, 101, {}), ("n\n", 2, 0, {"CI": "false"})]
)
def test_a_person_is_asked_before_more_than_100_runs(tmp_path, answer, code, count, environment):
    """
    The question names the number and the target; no means that nothing is written. ``CI=false`` is not CI.
    """
    project(tmp_path, AGENT, MANY)

    done, shown = on_terminal(tmp_path, "run", "experiment", answer=answer, **environment)

    assert done == code, shown
    assert "101 runs of app:agent. Continue? [Y/n]" in shown
    assert (len(rows(tmp_path)) if (tmp_path / "experiments").exists() else 0) == count


@pytest.mark.parametrize(
    ("options", "environment"),
    [
        ((), {"CI": "true"}),
        pytest.param(("--yes",), {}, marks=pytest.mark.slow),
        pytest.param(("--iterations", "100"), {}, marks=pytest.mark.slow),
    ],
    ids=["CI", "--yes", "100 runs"],
)
def test_nobody_is_asked_where_the_answer_is_known(tmp_path, options, environment):
    """
    ``--yes``, CI and small experiments: the command runs at once, with a bar that is gone at the end.
    """
    project(tmp_path, AGENT, MANY)

    done, shown = on_terminal(tmp_path, "run", "experiment", *options, **environment)

    assert done == 0, shown
    assert "Continue?" not in shown
    assert " runs succeeded" in shown
