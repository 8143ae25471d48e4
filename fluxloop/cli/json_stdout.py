"""
Keep stdout for the JSON of ``--json``: what the user's code prints meanwhile goes to stderr.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout, suppress


@contextmanager
def stdout_to_stderr(enabled: bool) -> Iterator[None]:
    """
    Redirect stdout to stderr inside a block, if *enabled*: of Python, of C libraries and of subprocesses.
    """
    if not enabled:
        yield
        return
    own = sys.stdout
    with suppress(OSError, ValueError):  # closed
        own.flush()
    saved = _redirected()
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        if saved is not None:
            os.dup2(saved, 1)
            os.close(saved)


def _redirected() -> int | None:
    """Make file descriptor 1 a copy of 2, and return a copy of what it was; None where one of them is closed."""
    try:
        saved = os.dup(1)
    except OSError:
        return None
    try:
        os.dup2(2, 1)
    except OSError:
        os.close(saved)
        return None
    return saved
