"""
Read the records that were added to a file since it was last read.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import orjson

from ...storage.decoding import Found, Json, kind_of
from ...storage.references import TAILS
from ..source import LONGEST_LINE_BYTES, lines_of, open_records
from .facts import NOT_OURS, Codes, TraceFacts

_BLOCK_BYTES = 1 << 16
"""Bytes of a file that are read at once; the line in which they end is read as a whole."""

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


AddTyped = Callable[[dict[str, TraceFacts], Codes, Callable[[bytes], None], list[bytes]], None]
"""Adds lines to traces, and calls a function with each line that it cannot read."""


class Typed(NamedTuple):
    """The functions that add typed lines."""

    observations: AddTyped
    lines: AddTyped
    """The lines of traces."""


class NewRecords:
    """
    The records of a file behind those that have been read.

    Args:
        path: The file.
        day: Of the file.
        known: How far it has been read; None if it has not.
        typed: Adds the lines that are as our writer makes them.
    """

    def __init__(self, path: Path, day: str, known: FileState | None, typed: Typed | None = None) -> None:
        self._path, self._day = path, day
        self._add_typed = typed and (typed.lines if path.name.startswith("traces") else typed.observations)
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

    def read(
        self, count: int, stop: float, traces: dict[str, TraceFacts], codes: Codes, add: Callable[[Json, str], None]
    ) -> None:
        """
        Read records in the order of the file.

        Args:
            count: Read so many lines at most.
            stop: Read the lines that begin before this offset.
            traces: Observations as our writer makes them are added here. A trace that is missing is added.
            codes: The codes of the observations.
            add: Called with every other record, and its kind.
        """
        if self._file is None or self.is_at_end:
            return
        add_each = partial(self._add_each, traces, codes, add)
        add_all = (
            partial(self._add_typed, traces, codes, lambda line: add_each([line])) if self._add_typed else add_each
        )
        complete = self._file.complete
        while count > 0 and self.offset < stop:
            lines = self._next_lines(int(min(_BLOCK_BYTES, stop - self.offset)))[:count]
            if not lines and not self._read_odd_line(add):
                return
            add_all([complete(line) if line.endswith(TAILS) else line for line in lines])
            count -= len(lines)
            self.offset += sum(map(len, lines))

    def _add_each(
        self, traces: dict[str, TraceFacts], codes: Codes, add: Callable[[Json, str], None], lines: Iterable[bytes]
    ) -> None:
        loads = orjson.loads
        for line in lines:
            record: Any = None
            try:
                record = loads(line)
                if "parent_id" in record:
                    traces[record["trace_id"]].add_ours(record, codes)
                    continue
            except NOT_OURS:  # the line is damaged, or by another writer
                pass
            if kind := kind_of(record):
                add(record, kind)
            else:
                self._add_damaged(self._file.records(line), add)  # type: ignore[union-attr]  # it is open

    def _next_lines(self, size: int) -> list[bytes]:
        """Return the lines of the next *size* bytes; none if the next line has no end."""
        file: BinaryIO = self._file  # type: ignore[assignment]  # it is open
        file.seek(self.offset)
        lines = BytesIO(file.read(size)).readlines()  # four times as fast as to split bytes
        if lines and not lines[-1].endswith(b"\n"):
            lines[-1] += file.readline(LONGEST_LINE_BYTES)
            if not lines[-1].endswith(b"\n"):
                lines.pop()
        return lines

    def _read_odd_line(self, add: Callable[[Json, str], None]) -> bool:
        """Read a line without a line end, or one that is too long; False at the end of the file."""
        lines = lines_of(self._file, self.offset)  # type: ignore[arg-type]  # it is open
        _, line = next(lines, (0, b""))
        following = next(lines, None)
        found = [*self._file.records(line)]  # type: ignore[union-attr]  # it is open
        is_torn = any(isinstance(part.record, str) for part, _ in found)
        if following is None and is_torn and self.offset + len(line) >= self._status.st_size:
            self.is_at_end = True  # the line is still being written
            return False
        self._add_damaged(found, add)
        self.offset = following[0] if following else self.offset + len(line)
        self.is_at_end = following is None
        return not self.is_at_end

    def _add_damaged(self, found: Iterable[tuple[Found, bytes]], add: Callable[[Json, str], None]) -> None:
        """Add the records of a line that is not one record of an object."""
        for part, _ in found:
            if isinstance(part.record, str):
                self._skipped += 1
            else:
                add(part.record, kind_of(part.record) or "")

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


def typed_lines() -> Typed | None:
    """Return the functions that add typed lines; None if msgspec is not installed."""
    try:
        from .typed_lines import add_observations, add_trace_lines
    except ImportError:
        return None
    return Typed(add_observations, add_trace_lines)
