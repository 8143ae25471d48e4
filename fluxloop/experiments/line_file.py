"""
Files to which whole lines are appended, each with one system call, so that a line is on disk when it is written.
"""

from __future__ import annotations

import os
from pathlib import Path

from ..storage.record_file import write_error

MODE = 0o600
"""Only the owner can read what an experiment writes, as it contains the inputs of users."""


class LineFile:
    """A file to which whole lines are appended, each with one system call."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._fd = self._opened()
        except OSError as exc:
            raise write_error(exc, f"open {path}") from exc

    def _opened(self) -> int:
        fd = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT, MODE)
        size = os.fstat(fd).st_size
        if size and os.pread(fd, 1, size - 1) != b"\n":  # a process was killed while it wrote
            os.write(fd, b"\n")
        return fd

    def write(self, line: bytes) -> None:
        """
        Append *line*.

        Raises:
            WriteError: If that is not possible, for example because the disk is full.
        """
        try:
            written = os.write(self._fd, line)
            while written < len(line):  # the disk filled up meanwhile, or the line is very long
                written += os.write(self._fd, memoryview(line)[written:])
        except OSError as exc:
            raise write_error(exc, f"write to {self.path}") from exc

    def close(self) -> None:
        """Close the file."""
        os.close(self._fd)
