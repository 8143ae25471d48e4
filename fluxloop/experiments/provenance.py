"""
What an experiment ran on: versions, the commit of the project, the machine. For summary.json.
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from functools import cache
from importlib.metadata import PackageNotFoundError, packages_distributions, version
from pathlib import Path
from typing import Any

GIT_TIMEOUT_S = 5
"""Seconds for a git command: a large repository on a slow disk does not delay the experiment."""

FRAMEWORKS = (
    *("langchain_core", "langchain", "langgraph", "agents", "chatkit", "openai", "anthropic", "pydantic_ai"),
    *("llama_index", "crewai", "autogen", "dspy", "google.genai"),
)
"""Modules whose version is noted if the target imported them."""


def versions() -> dict[str, str]:
    """Return the versions of Python, FluxLoop and the frameworks that are imported."""
    found = {"python": platform.python_version(), "fluxloop": _version("fluxloop") or "0+unknown"}
    loaded = [name for name in FRAMEWORKS if name in sys.modules]
    if loaded:
        distributions = packages_distributions()
        for name in loaded:
            for distribution in distributions.get(name.partition(".")[0], [])[:1]:
                found[distribution] = _version(distribution) or "unknown"
    return found


@cache
def _version(distribution: str) -> str | None:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None


def git_state(folder: Path) -> dict[str, Any] | None:
    """Return commit, branch and whether there are uncommitted changes; None without git."""
    try:
        lines = _git(folder, "status", "--porcelain=v2", "--branch", "--untracked-files=no").splitlines()
    except (OSError, subprocess.SubprocessError):
        return None
    heads = dict(line[2:].split(" ", 1) for line in lines if line.startswith("# branch."))
    return {
        "commit": heads.get("branch.oid"),
        "branch": heads.get("branch.head"),
        "dirty": any(not line.startswith("#") for line in lines),
    }


def is_in_repository(folder: Path) -> bool:
    """Return whether *folder* is in a git repository."""
    return any((parent / ".git").exists() for parent in (folder, *folder.parents))


def _git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(folder), "--no-optional-locks", *arguments],
        capture_output=True,
        text=True,
        timeout=GIT_TIMEOUT_S,
        check=True,
    )
    return done.stdout


def machine() -> dict[str, Any]:
    """Return the operating system and the number of processors."""
    return {
        "system": platform.system(),
        "release": platform.release(),
        "machine": platform.machine(),
        "cpus": os.cpu_count(),
    }
