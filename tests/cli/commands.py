"""
Run the command, in this process or as a real one.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import NamedTuple

import offline
import pytest

from fluxloop.cli import main


class Done(NamedTuple):
    """The exit code and the output of a run of the command."""

    code: int
    out: str
    err: str


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
        env=offline.environment(**environment),
    )


def completed(*arguments: object, **environment: str) -> Done:
    """Run ``python -m fluxloop`` with *arguments* to its end."""
    started = process(*arguments, **environment)
    out, err = started.communicate(timeout=30)
    return Done(started.returncode, out, err)
