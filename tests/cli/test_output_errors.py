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
