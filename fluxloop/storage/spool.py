"""
The spool: a folder with the records that wait to be sent to a collector.

A process appends each record to its *segment*, ``<pid>-<random>-<number>.jsonl``, with the code of `FileStorage`, and
keeps an exclusive lock on it. A segment without a lock belongs to a process that has ended; the process that locks it
sends it, so no two processes send the same segment. Beside a segment, ``<name>.sent`` has the number of bytes that the
collector has stored. A segment that was sent to its end is removed.
"""

from __future__ import annotations

import errno
import os
import re
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Self

from .contract import Record
from .descriptors import Descriptor, is_running, lock, open_regular
from .file import FileStorage
from .record_file import RecordFile

SPOOL = ".spool"
"""The name of the folder within ``base_path``."""

REFUSED = "refused.jsonl"
"""The file of records that the collector rejected."""

SEGMENT_BYTES = 128_000_000
"""The size above which a new segment is begun, so that the space of sent records is freed."""

MAX_LINE_BYTES = 64 << 20
"""A longer line is skipped. It bounds the memory that one line can take."""

PIECE_BYTES = 1_048_576
"""The size of the pieces in which the rest of a very long line is read."""

QUIET_S = 1.0
"""How long after its last use by the writer a sent segment is removed: a thread may still be about to write to it."""

_NAME = re.compile(r"(\d+)-[0-9a-f]{12}-(\d{6})\.jsonl")

_ATTEMPTS = 100
"""Attempts to lock a new segment. Another process can only have locked it while it was empty, to remove it."""


class Spool(FileStorage):
    """
    The segments that this process writes, in *folder*.

    A record is in the segment when `write_line` returns, as with `FileStorage`.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        super().__init__(folder, journal=False)
        self._retired: list[tuple[float, RecordFile]] = []
        """Segments that are no longer written to, and the time since then; they stay locked until they are removed."""
        self._stems: set[str] = set()
        self._begin()

    def _begin(self) -> None:
        self._number = 0
        self._stem = f"{os.getpid()}-{os.urandom(6).hex()}"
        self._stems.add(self._stem)
        self._segment = f"{self._stem}-{self._number:06}"

    def write_line(self, line: bytes, *, is_last: bool) -> None:
        """
        Append *line*; *is_last* is whether its trace has ended.

        Raises:
            WriteError: If the line could not be written.
        """
        key = ("observation", self._segment)
        self.write((Record("observation", key[1], line),))
        if is_last:
            self._confirm(key)

    def path(self, kind: str, day: str) -> Path:
        """Return the path of the segment *day*."""
        return self.base_path / f"{day}.jsonl"

    def paths(self) -> list[Path]:
        """Return the segments in the folder, by age."""
        return segments_in(self.base_path)

    def own(self) -> list[Path]:
        """Return the segments of this process that exist, in the order in which they were written."""
        files = [file for _, file in self._retired] + list(self._files.values())
        return [Path(file.path) for file in files]

    def is_own(self, path: Path) -> bool:
        """Return whether the segment at *path* was written by this storage in this process, also before `close`."""
        return path.name.rpartition("-")[0] in self._stems

    def retire(self) -> None:
        """Begin a new segment with the next record, if the current one is large."""
        key = ("observation", self._segment)
        file = self._files.get(key)
        if file is not None and os.fstat(file.fd).st_size > SEGMENT_BYTES:
            self._number += 1
            self._segment = f"{self._stem}-{self._number:06}"
            self._retired.append((seconds(), file))
            self._files.pop(key, None)

    def is_idle(self, path: Path) -> bool:
        """Return whether no thread can still write to the segment at *path*."""
        return any(file.path == str(path) and seconds() - since > QUIET_S for since, file in self._retired)

    def forget(self, path: Path) -> None:
        """Unlock the segment at *path*, which was removed."""
        self._retired = [(since, file) for since, file in self._retired if file.path != str(path)]

    def close(self) -> None:
        """Close and unlock all segments; a later record begins a new one."""
        try:
            super().close()
        finally:
            self._retired = []
            self._begin()

    def _opened(self, key: tuple[str, str]) -> RecordFile:
        for _ in range(_ATTEMPTS):
            file = super()._opened(key)
            if lock(file.fd) is not False and file.is_in_place():
                break
            time.sleep(0.001)
        return file

    def _forked(self) -> None:
        # Close explicitly: the lock lasts until the last copy of the descriptor is closed, and a frame of another
        # thread of the parent may refer to it for ever.
        for file in [file for _, file in self._retired] + list(self._files.values()):
            file.close()
        super()._forked()
        self._retired, self._stems = [], set()
        self._begin()


class Segment:
    """
    A file of records that is being sent, and the position up to which the collector has stored them.

    Args:
        file: The open file.
        sent: The path of the file for the position; None keeps it in memory only.
        is_complete: Whether no process writes to the file any more.
        own: Whether this process wrote the records.
    """

    def __init__(self, file: Descriptor, sent: Path | None, *, is_complete: bool, own: bool = False) -> None:
        self.file = file
        self.path = Path(file.path)
        self.is_complete = is_complete
        self.own = own
        self.attempt: tuple[int, str] | None = None
        """The length and the id of a batch whose result is unknown."""
        self.skipped = 0
        """The number of lines that were too long to be records."""
        self._sent_path = sent
        self._sent: Descriptor | None = None
        self.offset = self._read_position()

    @classmethod
    def written_here(cls, path: Path) -> Self:
        """Open a segment that this process writes."""
        return cls(Descriptor(open_regular(path, os.O_RDONLY), path), _position_of(path), is_complete=False, own=True)

    @classmethod
    def claimed(cls, path: Path) -> Self | None:
        """Lock the segment of a process that has ended; None if it runs, or if another process sends the segment."""
        try:
            file = Descriptor(open_regular(path, os.O_RDWR), path)
            locked = lock(file.fd)
            name = _NAME.fullmatch(path.name)
            if locked is None:  # locks are not supported
                locked = name is None or not is_running(int(name[1]))
            if locked and file.is_in_place():
                return cls(file, _position_of(path), is_complete=True)
        except OSError:
            pass  # removed by another process, or no permission
        return None

    @property
    def size(self) -> int:
        """The size of the file in bytes."""
        return os.fstat(self.file.fd).st_size

    @property
    def has_more(self) -> bool:
        """Whether records wait in the file."""
        return self.size > self.offset

    def batch(self, limit_bytes: int, limit_lines: int | None = None) -> bytes:
        """
        Return the next complete lines, as long as *limit_bytes* or *limit_lines* allow it, but at least one.

        After an attempt whose result is unknown, the same lines are returned. Empty if there are none.
        """
        if self.file.stat() is None:  # the program closed all descriptors: the number may belong to another file
            raise OSError(errno.EBADF, os.strerror(errno.EBADF), os.fspath(self.path))
        if self.attempt is not None:
            return os.pread(self.file.fd, self.attempt[0], self.offset)
        data = os.pread(self.file.fd, limit_bytes, self.offset)
        end = data.rfind(b"\n") + 1
        if not end and len(data) == limit_bytes:  # the next line is longer than the limit
            rest = self._rest_of_line(data)
            if rest is None:
                return self.batch(limit_bytes, limit_lines)
            data = rest
            end = data.rfind(b"\n") + 1
        if not end and self.is_complete and data:
            return data + b"\n"  # the process died while it wrote the line
        return data[: end if limit_lines is None else _end_of_lines(data, limit_lines)]

    def _rest_of_line(self, beginning: bytes) -> bytes | None:
        """Return the whole line; None if it is too long for any record, and was skipped."""
        pieces = [beginning]
        length = len(beginning)
        while piece := os.pread(self.file.fd, PIECE_BYTES, self.offset + length):
            end = piece.find(b"\n") + 1
            length += end or len(piece)
            if length <= MAX_LINE_BYTES:
                pieces.append(piece[:end] if end else piece)
            if end:
                break
        if length <= MAX_LINE_BYTES:
            return b"".join(pieces)
        self.skipped += 1
        self.advance(length)
        return None

    def advance(self, length: int) -> None:
        """Mark *length* bytes as sent."""
        self.attempt = None
        self.offset = min(self.offset + length, self.size)
        if self._sent_path is None:
            return
        with suppress(OSError):  # a full disk: after a crash, the records would be sent again
            if self._sent is None:
                self._sent = Descriptor(os.open(self._sent_path, os.O_CREAT | os.O_RDWR, 0o600), self._sent_path)
            if self._sent.stat() is not None:
                os.pwrite(self._sent.fd, b"%020d %020d\n" % (os.fstat(self.file.fd).st_ino, self.offset), 0)

    def _read_position(self) -> int:
        if self._sent_path is None:
            return 0
        with suppress(OSError, ValueError):
            inode, offset = map(int, self._sent_path.read_bytes().split())
            status = os.fstat(self.file.fd)
            if inode == status.st_ino and 0 <= offset <= status.st_size:
                return offset
        return 0

    def remove(self) -> None:
        """Remove the file, which was sent, and then unlock it."""
        self.file.remove()
        if self._sent_path is not None:
            self._sent_path.unlink(missing_ok=True)
        self.close()

    def close(self) -> None:
        """Close the file, which unlocks it if it was claimed."""
        self.file.close()
        if self._sent is not None:
            self._sent.close()


def claim_all(folder: Path) -> Iterator[Segment]:
    """Yield each segment in *folder* that no process uses, locked, oldest first. Empty ones are removed."""
    for path in segments_in(folder):
        if (segment := Segment.claimed(path)) is not None:
            if segment.has_more:
                yield segment
            else:
                with suppress(OSError):
                    segment.remove()


def segments_in(folder: Path) -> list[Path]:
    """Return the segments in *folder*, by the time of their last record."""
    found = []
    for path in folder.glob("*.jsonl"):
        if _NAME.fullmatch(path.name):
            with suppress(OSError):
                found.append((path.stat().st_mtime_ns, path.name, path))
    return [path for _, _, path in sorted(found)]


def remove_sent(paths: list[Path]) -> None:
    """Remove those of the segments at *paths* that were sent to their end, after `Spool.close`."""
    for segment in filter(None, map(Segment.claimed, paths)):
        if segment.has_more:
            segment.close()
        else:
            with suppress(OSError):
                segment.remove()


def _position_of(path: Path) -> Path:
    return path.with_suffix(".sent")


def _end_of_lines(data: bytes, number: int) -> int:
    end = 0
    for _ in range(number):
        if not (following := data.find(b"\n", end) + 1):
            break
        end = following
    return end


if hasattr(time, "clock_gettime"):

    def seconds() -> float:
        """Return the time of a monotonic clock, also while a test library has stopped the clocks of `time`."""
        return time.clock_gettime(time.CLOCK_MONOTONIC)

else:  # Windows
    seconds = time.monotonic
