"""
Where whole lines are appended: files, each line with one system call so that it is on disk when it is written; and
buffers in memory, for records that are sent to another process.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Protocol

from ..storage.record_file import RecordFile, write_error

MODE = 0o600
"""Only the owner can read what an experiment writes, as it contains the inputs of users."""


def private(path: str, flags: int) -> int:
    """Open a file that only the owner can read if it is new; for ``open(..., opener=private)``."""
    return os.open(path, flags, MODE)


class Lines(Protocol):
    """Takes whole lines."""

    def write(self, line: bytes) -> None:
        """Append *line*, which ends with a line feed."""

    def close(self) -> None:
        """Release what it uses."""


class LineBuffer:
    """Keeps lines until they are taken."""

    def __init__(self) -> None:
        self._lines: list[bytes] = []

    def write(self, line: bytes) -> None:
        """Keep *line*."""
        self._lines.append(line)

    def take(self) -> list[bytes]:
        """Return the lines since the last call."""
        lines, self._lines = self._lines, []
        return lines

    def close(self) -> None:
        """Do nothing."""


class LineFile:
    """A file to which whole lines are appended, each with one system call."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._fd = self._opened()
        except OSError as exc:
            raise write_error(exc, f"open {path}", choice="--output") from exc

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
            raise write_error(exc, f"write to {self.path}", choice="--output") from exc

    def close(self) -> None:
        """Close the file. A target that outlives its run cannot write to whatever has its descriptor next."""
        fd, self._fd = self._fd, -1
        os.close(fd)


class RecordLines:
    """
    A file of records, to which lines are appended as `FileStorage` does.

    Args:
        path: The file, created if it is missing.
        is_compact: Whether large lines refer to earlier ones.
    """

    def __init__(self, path: Path, *, is_compact: bool) -> None:
        self.path = path
        try:
            self._file = RecordFile.at(path, MODE, compact=is_compact)
        except OSError as exc:
            raise write_error(exc, f"open {path}", choice="--output") from exc

    def write(self, line: bytes) -> None:
        """Append *line*; raises as `LineFile.write`."""
        try:
            self._file.append(line)
        except OSError as exc:
            raise write_error(exc, f"write to {self.path}", choice="--output") from exc

    def close(self) -> None:
        """Close the file; see `LineFile.close`."""
        self._file.close()
