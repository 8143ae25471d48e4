"""
Read the segments of a spool, and other files of records, to send them.

Beside a segment, ``<name>.sent`` has the number of bytes that the collector has stored.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from typing import Self

from .descriptors import Descriptor, is_running, lock, open_regular
from .references import REFERS, Completer, complete_size

MAX_LINE_BYTES = 64 << 20
"""A longer line is skipped. It bounds the memory that one line can take."""

PIECE_BYTES = 1_048_576
"""The size of the pieces in which the rest of a very long line is read."""

POSITION_BYTES = 64
"""The limit of a file for a position: two numbers."""

_NAME = re.compile(r"(\d+)-[0-9a-f]{12}-(\d{6})\.jsonl")


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
        self.has_references = False
        """Whether lines may refer to other lines of the file; those of a spool never do."""
        self._completer = Completer(self._read)
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
        data = self._read(self.offset, limit_bytes)
        end = data.rfind(b"\n") + 1
        if not end and len(data) == limit_bytes:  # the next line is longer than the limit
            rest = self._rest_of_line(data)
            if rest is None:
                return self.batch(limit_bytes, limit_lines)
            data = rest
            end = data.rfind(b"\n") + 1
        if not end and self.is_complete and data:
            return data + b"\n"  # the process died while it wrote the line
        return self._within(data[: end if limit_lines is None else _end_of_lines(data, limit_lines)], limit_bytes)

    def complete(self, lines: bytes) -> bytes:
        """Return the lines of a batch with their references to other lines resolved."""
        if not self.has_references or REFERS not in lines:
            return lines
        return b"".join(map(self._completer.complete, BytesIO(lines).readlines()))

    def _within(self, lines: bytes, limit_bytes: int) -> bytes:
        """Return the first of *lines*, at least one, that are complete within the limit."""
        if not self.has_references or REFERS not in lines:
            return lines
        end = size = 0
        for line in BytesIO(lines).readlines():
            size += complete_size(line)
            if end and size > limit_bytes:
                break
            end += len(line)
        return lines[:end]

    def _read(self, offset: int, size: int) -> bytes:
        return os.pread(self.file.fd, size, offset)

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
                self._sent = Descriptor(_open_position(self._sent_path, os.O_CREAT | os.O_RDWR), self._sent_path)
            if self._sent.stat() is not None:
                os.pwrite(self._sent.fd, b"%020d %020d\n" % (os.fstat(self.file.fd).st_ino, self.offset), 0)

    def _read_position(self) -> int:
        if self._sent_path is None:
            return 0
        with suppress(OSError, ValueError):
            with open(_open_position(self._sent_path, os.O_RDONLY), "rb") as file:
                inode, offset = map(int, file.read(POSITION_BYTES).split())
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


def _open_position(path: Path, flags: int) -> int:
    """Open the file for a position; never a link, whose target would be overwritten, or a FIFO, which would block."""
    return open_regular(path, flags | getattr(os, "O_NOFOLLOW", 0))


def _position_of(path: Path) -> Path:
    return path.with_suffix(".sent")


def _end_of_lines(data: bytes, number: int) -> int:
    end = 0
    for _ in range(number):
        if not (following := data.find(b"\n", end) + 1):
            break
        end = following
    return end
