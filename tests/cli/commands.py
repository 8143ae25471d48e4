"""
Run the command, in this process or as a real one.
"""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios
from collections.abc import Callable, Mapping
from pathlib import Path

import offline
import pytest
from prepared_python import Done, PreparedPython

from fluxloop.cli import main

PREPARED = PreparedPython(
    *(
        f"fluxloop.cli.{name}"
        for name in ("app", "view", "list_traces", "stats", "replay", "compare", "cassette", "run")
    ),
    *("fluxloop.llm.prices", "fluxloop.reading.lazy", "fluxloop.reading.catalog.query", "fluxloop.storage.file"),
)
"""Has loaded what most commands load, which takes them a third of a second."""


def runner(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Done]:
    """Return a function that runs ``fluxloop`` with arguments in this process, 100 columns wide."""
    monkeypatch.setenv("COLUMNS", "100")

    def run(*arguments: object) -> Done:
        monkeypatch.setattr(sys, "argv", ["fluxloop", *map(str, arguments)])
        try:
            code = main()
        except SystemExit as end:
            code = end.code or 0
        return Done(code, *capsys.readouterr())

    return run


def process(*arguments: object, **environment: str) -> subprocess.Popen[str]:
    """Start ``python -m fluxloop`` with *arguments*, its output in pipes."""
    command = [sys.executable, "-m", "fluxloop", *map(str, arguments)]
    return subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding=environment.get("PYTHONIOENCODING", "utf-8"),
        env=offline.environment(is_measured=True, **environment),
    )


def completed(*arguments: object, **environment: str) -> Done:
    """Run ``fluxloop`` with *arguments* to its end, in a process of its own."""
    if not is_prepared(environment):
        with process(*arguments, **environment) as started:
            try:
                out, err = started.communicate(timeout=120)
            finally:
                started.kill()  # it has ended, unless the time was over
        return Done(started.returncode, out, err)
    return PREPARED.run("fluxloop", *arguments, environment=offline.environment(is_measured=True, **environment))


def is_prepared(environment: Mapping[str, str]) -> bool:
    """Whether a copy of a prepared process has all that Python reads in *environment* when it starts."""
    return not any(name.startswith("PYTHON") and name != "PYTHONIOENCODING" for name in environment)


def in_terminal(*arguments: object, columns: int = 120, rows: int = 200, **environment: str) -> str:
    """Run the command in a terminal of its own, of so many *columns* and *rows*; return everything it printed."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    variables = offline.environment(is_measured=True, TERM="xterm-256color", **environment)
    for name in ("COLUMNS", "LINES"):  # the size is that of the terminal
        variables.pop(name, None)
    if "NO_COLOR" not in environment:
        del variables["NO_COLOR"]
    if is_prepared(environment):
        files = [os.ttyname(theirs)] * 3
        run = PREPARED.start("fluxloop", *arguments, environment=variables, files=files, folder=Path.cwd())
        os.close(theirs)
        shown = everything(ours)
        code = run.wait(timeout=120)
    else:
        command = [sys.executable, "-m", "fluxloop", *map(str, arguments)]
        with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=variables) as running:
            os.close(theirs)
            shown = everything(ours)
        code = running.returncode
    assert code == 0, shown
    return shown


def everything(terminal: int) -> str:
    """Return what is left to read from a terminal whose other end is closed."""
    shown = b""
    try:
        while piece := os.read(terminal, 65536):
            shown += piece
    except OSError:  # the other end is closed
        pass
    os.close(terminal)
    return shown.decode()
