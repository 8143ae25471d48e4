"""
Read the records that were added to a file since it was last read.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, NamedTuple

import orjson

from ...storage.decoding import Json, kind_of, records_in
from ..source import lines_of, open_records

_CLOSED = b"}\n"
"""The end of a line that is one JSON object."""

_LANDMARK_BYTES = 128
"""Bytes at each end of what was read, by which a file is recognized."""


class FileState(NamedTuple):
    """How far a record file has been read."""

    name: str
    day: str
    inode: int
    size: int
    """When it was read to its end; -1 if it was not."""
    mtime_ns: int
    offset: int
    """Everything before it has been read."""
    landmarks: bytes
    """The first and the last bytes before `offset`: a file that was rewritten has others there."""
    skipped: int
    """Places that are not records."""

    def is_of(self, status: os.stat_result) -> bool:
        """Whether a file with this *status* has been read to its end and not changed since."""
        return (self.inode, self.size, self.mtime_ns) == (status.st_ino, status.st_size, status.st_mtime_ns)

    def is_continued_by(self, path: Path | None) -> bool:
        """Whether the file at *path* begins with everything that was read."""
        status = status_of(path) if path is not None else None
        if path is None or status is None or status.st_ino != self.inode or status.st_size < self.offset:
            return False
        if self.is_of(status) or (file := open_records(path)) is None:
            return True
        with file:
            return landmarks_of(file, self.offset) == self.landmarks


def status_of(path: Path) -> os.stat_result | None:
    """Return the status of a file; None if it has been removed."""
    try:
        return path.stat()
    except OSError:
        return None


def landmarks_of(file: BinaryIO, offset: int) -> bytes:
    """Return the first and the last bytes of the file before *offset*."""
    file.seek(0)
    first = file.read(min(offset, _LANDMARK_BYTES))
    start = max(0, offset - _LANDMARK_BYTES)
    file.seek(start)
    return first + file.read(offset - start)


class NewRecords:
    """
    The records of a file behind those that have been read.

    Args:
        path: The file.
        day: Of the file.
        known: How far it has been read; None if it has not.
    """

    def __init__(self, path: Path, day: str, known: FileState | None) -> None:
        self._path, self._day = path, day
        self._file = open_records(path)
        self.offset = known.offset if known else 0
        self._skipped = known.skipped if known else 0
        self.is_at_end = self._file is None
        """Whether all lines have been read that were complete."""
        if self._file is not None:
            self._status = os.fstat(self._file.fileno())
            self.is_at_end = known is not None and known.is_of(self._status)

    @property
    def bytes_left(self) -> int:
        """About how many bytes have not been read."""
        return 0 if self.is_at_end else max(1, self._status.st_size - self.offset)

    def read(self, count: int, stop: float, add_ours: Callable[[Json], bool], add: Callable[[Json, str], None]) -> None:
        """
        Call *add* with each record and its kind, in the order of the file.

        Args:
            count: Read so many lines at most.
            stop: Read the lines that begin before this offset.
            add_ours: Called first with what has the fields of an observation; returns whether it has added it.
            add: Called with every other record.
        """
        if self._file is None or self.is_at_end:
            return
        loads, ours, end = orjson.loads, _CLOSED, self.offset
        for offset, line in lines_of(self._file, self.offset):
            if count == 0 or offset >= stop:
                self.offset = offset
                return
            count -= 1
            end = offset + len(line)
            if line[-2:] == ours:
                try:
                    record = loads(line)
                except ValueError:
                    pass
                else:
                    if "parent_id" in record and add_ours(record):
                        continue
                    if kind := kind_of(record):
                        add(record, kind)
                        continue
            if not self._add_damaged(offset, line, add):
                end = offset
        self.offset, self.is_at_end = end, True

    def _add_damaged(self, offset: int, line: bytes, add: Callable[[Json, str], None]) -> bool:
        """Add the records of a line that is not one record; False if the line is still being written."""
        found = list(records_in(line))
        is_last = not line.endswith(b"\n") and offset + len(line) >= self._status.st_size
        if is_last and any(isinstance(part.record, str) for part in found):
            return False
        for part in found:
            if isinstance(part.record, str):
                self._skipped += 1
            else:
                add(part.record, kind_of(part.record) or "")
        return True

    def state(self) -> FileState | None:
        """Return how far the file has been read; None if it has been removed."""
        if self._file is None:
            return None
        size = self._status.st_size if self.is_at_end else -1
        landmarks = landmarks_of(self._file, self.offset)
        return FileState(
            self._path.name,
            self._day,
            self._status.st_ino,
            size,
            self._status.st_mtime_ns,
            self.offset,
            landmarks,
            self._skipped,
        )

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
