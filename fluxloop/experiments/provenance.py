"""
What an experiment ran on: versions, the commit of the project, the machine. For summary.json.
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

GIT_TIMEOUT_S = 5
"""Seconds for a git command: a large repository on a slow disk does not delay the experiment."""

FRAMEWORKS = {
    "langchain_core": "langchain-core",
    "langchain": "langchain",
    "langgraph": "langgraph",
    "agents": "openai-agents",
    "chatkit": "openai-chatkit",
    "openai": "openai",
    "anthropic": "anthropic",
    "google.genai": "google-genai",
    "pydantic_ai": "pydantic-ai-slim",
    "llama_index.core": "llama-index-core",
    "crewai": "crewai",
    "autogen_agentchat": "autogen-agentchat",
    "dspy": "dspy",
}
"""
Modules whose version is noted if the target imported them, and the distribution of each.

`packages_distributions` would read the file lists of all that is installed, and names several for one package.
"""


def versions() -> dict[str, str]:
    """Return the versions of Python, FluxLoop and the frameworks that are imported."""
    found = {"python": platform.python_version(), "fluxloop": _version("fluxloop") or "0+unknown"}
    loaded = [distribution for module, distribution in FRAMEWORKS.items() if module in sys.modules]
    return found | {distribution: known for distribution in loaded if (known := _version(distribution))}


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
