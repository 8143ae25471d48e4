"""
Find out what the terminal, or whatever stands in its place, can show.
"""

from __future__ import annotations

import os
import sys

from rich.console import Console

from . import formatting

WIDTH_OF_PIPES = 120
"""Columns where there is no terminal and ``COLUMNS`` is not set."""


def console(*, color: bool = True, stderr: bool = False) -> Console:
    """Return a console on stdout or stderr that never fails for what a program recorded."""
    stream = sys.stderr if stderr else sys.stdout
    if hasattr(stream, "reconfigure"):
        stream.reconfigure(errors="backslashreplace")
    width = None if stream.isatty() or os.environ.get("COLUMNS", "").isdecimal() else WIDTH_OF_PIPES
    return Console(stderr=stderr, color_system="auto" if color else None, highlight=False, width=width)


def signs(of: Console) -> formatting.Signs:
    """Return the characters to draw with."""
    return formatting.UNICODE if of.encoding.lower().startswith("utf") else formatting.ASCII
