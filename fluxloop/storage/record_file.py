"""
An open record file, to which complete lines are appended. Its errors suggest a solution.
"""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from pathlib import Path
from typing import Self

from ..errors import WriteError
from ..interruptions import was_raised_from_outside
from ..report import Problems
from .descriptors import Descriptor
from .histories import LARGE_BYTES, CompactLine, Histories

_HEAD_BYTES = 120
"""The beginning of a line by which it is recognized: it has the id of the record."""

_SEARCHED_BYTES = 1 << 16
"""How far back a line is searched if other threads have written since."""


class RecordFile(Descriptor):
    """An open record file, and the lines that were written to it since the last check."""

    __slots__ = ("check_at", "check_path_at", "histories", "is_removed", "torn", "unchecked")

    def __init__(self, fd: int, path: str | os.PathLike[str]) -> None:
        super().__init__(fd, path)
        self.torn = _ends_torn(fd)
        self.is_removed = False
        self.unchecked: list[bytes] = []
        """Lines that were written since the last check that the file was not removed."""
        self.check_at = self.check_path_at = 0.0
        """Times of the next checks, by `monotonic`: whether the file was removed, and whether it was renamed."""
        self.histories: Histories | None = None
        """What large lines can refer to; None writes complete lines only."""

    @classmethod
    def at(cls, path: Path, mode: int, *, compact: bool = False) -> Self:
        """
        Open the file at *path*; create it and its folder if necessary. *compact* is whether it gets references.

        Raises:
            OSError: If it cannot be opened, or is not a regular file.
        """
        flags = os.O_APPEND | os.O_CREAT
        try:
            file = cls.for_writing(path, flags, mode)
        except FileNotFoundError:
            path.parent.mkdir(parents=True, exist_ok=True)
            file = cls.for_writing(path, flags, mode)
        if warning := exposure(path, os.fstat(file.fd), mode):
            _logged.log_once(warning, warning)
        if compact and hasattr(os, "pread"):
            file.histories = Histories()
        return file

    def write(self, lines: list[bytes]) -> None:
        """
        Write *lines*. If the file ends with an incomplete line, write a newline first.

        Raises:
            WriteError: If a line could not be written; counts that line and the following ones as lost.
        """
        for number, line in enumerate(lines):
            try:
                self.append(line)
            except OSError as exc:
                raise write_error(exc, f"write a record to {self.path}", lost=len(lines) - number) from exc
            self.unchecked.append(line)

    def append(self, line: bytes) -> None:
        """Write one line, with references if it is large; raises OSError."""
        compact = self._compacted(line) if self.histories is not None and len(line) >= LARGE_BYTES else None
        text = line if compact is None else compact.text
        if self.torn:
            text = b"\n" + text
        written = os.write(self.fd, text)
        if written != len(text):
            self.finish(text, written)
        elif compact is not None and not self._is_added(compact):
            self.append(line)
            return
        self.torn = False

    def _compacted(self, line: bytes) -> CompactLine | None:
        """Return *line* with references; None if that fails, and then this file gets complete lines only."""
        try:
            return self.histories.compacted(line, self._read) if self.histories is not None else None
        except Exception as exc:
            if isinstance(exc, OSError) or was_raised_from_outside(exc):
                raise
            self.histories = None
            _logged.log_once("references", f"{self.path} gets no references to histories: {type(exc).__name__}")
            return None

    def _is_added(self, compact: CompactLine) -> bool:
        """Keep a line that was written; return False if another program shortened the file before the write."""
        histories = self.histories
        with suppress(OSError):
            if histories is not None and (offset := self._offset_of(compact.text)) is not None:
                if any(run.offset is not None and offset < run.offset + run.at + run.size for run in compact.used):
                    histories.forget()
                    return False
                histories.add(compact, offset)
        return True

    def _offset_of(self, line: bytes) -> int | None:
        """Return where *line* begins, which was just written; None if other threads have written much since then."""
        # Writes of other processes do not move the position of this descriptor.
        start = os.lseek(self.fd, 0, os.SEEK_CUR) - len(line)
        head = line[:_HEAD_BYTES]
        if os.pread(self.fd, len(head), start) == head:
            return start
        before = max(0, start - _SEARCHED_BYTES)
        found = os.pread(self.fd, start - before + len(head), before).rfind(head)
        return None if found < 0 else before + found

    def _read(self, offset: int, size: int) -> bytes:
        return os.pread(self.fd, size, offset)

    def finish(self, line: bytes, written: int) -> None:
        """Write the rest of *line* after a short write; if that fails, mark the end of the file as torn."""
        rest = memoryview(line)[written:]
        try:
            while rest:
                written = os.write(self.fd, rest)
                if not written:
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                rest = rest[written:]
        except BaseException:
            self.torn, self.check_at = True, 0.0
            raise


def _ends_torn(fd: int) -> bool:
    """Return whether the file ends with an incomplete line that no process is still writing."""
    before = -1
    for _ in range(100):  # a file that grew at every attempt is being written
        # An empty write takes the lock of the inode, and so waits for a writer that is in the middle of a line. Without
        # it, an incomplete last line is common: it occurred at each read with two writers of 4 MB.
        os.write(fd, b"")
        size = os.lseek(fd, 0, os.SEEK_END)
        if size == 0 or os.pread(fd, 1, size - 1) in (b"\n", b""):
            return False
        if size == before:
            return True
        before = size
    return False


def exposure(path: Path, status: os.stat_result, mode: int) -> str | None:
    """Return a message if another user created the file and others may read it although *mode* does not allow that."""
    if os.name == "nt" or status.st_uid == os.geteuid():
        return None
    if status.st_uid == 0 and not status.st_mode & 0o077 & ~mode:
        return None  # root can read every file
    return (
        f"{path} was created by another user (uid {status.st_uid}, mode {status.st_mode & 0o777:o}), so other users "
        "can read its records. Move it, or choose another folder with base_path=."
    )


_logged = Problems()
"""The messages about exposed files that were logged."""


def write_error(exc: OSError, doing: str, lost: int = 1, choice: str = "base_path=") -> WriteError:
    """
    Return a `WriteError` for *exc* whose message contains the failed action *doing*, and suggests a solution.

    *choice* is the argument or option with which the folder is chosen.
    """
    number = exc.errno or 0
    remedy = _REMEDIES.get(number, "Choose another folder with base_path=, or run `fluxloop doctor`.")
    remedy = remedy.replace("base_path=", choice)
    error = WriteError(number, f"cannot {doing}: {exc.strerror or exc}. {remedy}")
    error.lost = lost
    error.__cause__ = exc
    return error


NO_PERMISSION = "Give this user write permission, or choose another folder with base_path=."
NOT_A_FILE = "Something else has the name of the file: move it, or choose another folder with base_path=."
_NO_SPACE = "Free some space; recording then continues."
_NOT_A_FOLDER = "A file has the name of the folder: move it, or choose another folder with base_path=."
_REMEDIES = {
    errno.ENOSPC: _NO_SPACE,
    errno.EDQUOT: _NO_SPACE,
    errno.EFBIG: "The file has reached the size limit of this process (`ulimit -f`).",
    errno.EACCES: NO_PERMISSION,
    errno.EPERM: NO_PERMISSION,
    errno.EROFS: NO_PERMISSION,
    errno.ENOTDIR: _NOT_A_FOLDER,
    errno.EEXIST: _NOT_A_FOLDER,
    errno.EINVAL: NOT_A_FILE,
    errno.EISDIR: NOT_A_FILE,
    errno.ENXIO: NOT_A_FILE,
    errno.EMFILE: "This process has too many files open (`ulimit -n`).",
}
