"""
The ``fluxloop`` command.

It needs the extra ``cli``; without it the command says how to install that. Each command reads its
arguments, calls one function and prints what that returns.
"""

from __future__ import annotations

import sys

__all__ = ["main"]

_EXTRA = {"packaging", "rich", "typer"}
"""What the extra ``cli`` brings."""


def main() -> int:
    """Run the command line, and return the exit code: 0 done, 1 the answer is no, 2 could not."""
    try:
        from .app import run
    except ModuleNotFoundError as missing:
        if (missing.name or "").partition(".")[0] not in _EXTRA:
            raise
        sys.stderr.write(f"The fluxloop command needs {missing.name!r}, which is not installed.\n")
        sys.stderr.write("    pip install 'fluxloop[cli]'\n")
        return 2
    return run()
