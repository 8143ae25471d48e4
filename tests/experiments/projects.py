"""
Projects for tests: files in a folder, and the command run in it as a real process.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent
from typing import Any

import offline
from cli.commands import PREPARED
from prepared_python import Done


def project(folder: Path, agent: str, config: str = "", **files: str) -> Path:
    """Write ``app.py`` and ``setting.yaml`` with the target ``app:agent``, and other files by name."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "app.py").write_text(dedent(agent))
    if "runner:" not in config:
        config = "runner:\n  target: app:agent\n" + dedent(config)
    (folder / "setting.yaml").write_text(dedent(config))
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(dedent(text))
    return folder


def started(folder: Path, *arguments: object, is_measured: bool = True, **environment: str) -> subprocess.Popen[str]:
    """Start ``fluxloop`` with *arguments* in *folder*, as the leader of a process group."""
    return subprocess.Popen(
        [sys.executable, "-m", "fluxloop", *map(str, arguments)],
        cwd=folder,
        env=offline.environment(is_measured=is_measured, **environment),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def fluxloop_in(folder: Path, *arguments: object, is_measured: bool = True, **environment: str) -> Done:
    """Run ``fluxloop`` with *arguments* in *folder* to its end."""
    if is_measured:
        variables = offline.environment(is_measured=True, **environment)
        return PREPARED.run("fluxloop", *arguments, environment=variables, folder=folder, timeout=60)
    process = started(folder, *arguments, is_measured=False, **environment)
    out, err = process.communicate(timeout=60)
    return Done(process.returncode, out, err)


def newest(folder: Path) -> Path:
    """Return the folder of the newest experiment of a project, by its link."""
    (link,) = (folder / "experiments").glob("latest_*")
    return link.resolve()


def rows(folder: Path) -> list[dict[str, Any]]:
    """Return the rows of the newest experiment of the project in *folder*, by the number of the run."""
    lines = (newest(folder) / "trace_summary.jsonl").read_text().splitlines()
    return sorted(map(json.loads, lines), key=lambda row: row["run"])


def summary(folder: Path) -> dict[str, Any]:
    """Return summary.json of the newest experiment of the project in *folder*."""
    found: dict[str, Any] = json.loads((newest(folder) / "summary.json").read_text())
    return found


def wait_until(condition: Callable[[], object], seconds: float = 30) -> None:
    """Wait until *condition* is true."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "the condition did not become true"
        time.sleep(0.01)
