"""
A file of records that is open for appending: whole lines, a known end, errors that name a remedy.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Self

from ..errors import WriteError
from ..report import Problems
from .descriptors import Descriptor


class RecordFile(Descriptor):
    """An open file of records, and what was written to it since it was last checked."""

    __slots__ = ("check_at", "check_path_at", "is_removed", "torn", "unchecked")

    def __init__(self, fd: int, path: str | os.PathLike[str]) -> None:
        super().__init__(fd, path)
        self.torn = _ends_torn(fd)
        self.is_removed = False
        self.unchecked: list[bytes] = []
        """Lines written since the file was last known not to be removed."""
        self.check_at = self.check_path_at = 0.0
        """When (by `monotonic`) the next writer has to check the file, and where its path leads; 0 is at once."""

    @classmethod
    def at(cls, path: Path, mode: int) -> Self:
        """
        Open the file at *path* with its folder, made if they are missing.

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
        return file

    def write(self, lines: list[bytes]) -> None:
        """
        Write *lines*, the first of them after a newline where the file ends in a piece of a line.

        Raises:
            WriteError: If a line could not be written; counts it and those after it.
        """
        for number, line in enumerate(lines):
            text = b"\n" + line if self.torn else line
            try:
                written = os.write(self.fd, text)
                if written != len(text):
                    self.finish(text, written)
            except OSError as exc:
                raise explained(exc, f"write a record to {self.path}", lost=len(lines) - number) from exc
            self.torn = False
            self.unchecked.append(line)

    def finish(self, line: bytes, written: int) -> None:
        """Write what is left of *line* after a short write; where that fails, remember the torn end."""
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
    """Whether the file ends in a piece of a line that no process is still writing."""
    before = -1
    for _ in range(100):  # a file that grew at each of so many reads is being written to
        # Writing nothing waits for a writer in the middle of its line, since it takes the inode's lock. Without it
        # half lines are common: of two writers of 4 MB, a read of the last byte met one each time.
        os.write(fd, b"")
        size = os.lseek(fd, 0, os.SEEK_END)
        if size == 0 or os.pread(fd, 1, size - 1) in (b"\n", b""):
            return False
        if size == before:
            return True
        before = size
    return False


def exposure(path: Path, status: os.stat_result, mode: int) -> str | None:
    """Return a sentence about a file that another user made, if others can read it beyond what *mode* allows."""
    if os.name == "nt" or status.st_uid == os.geteuid():
        return None
    if status.st_uid == 0 and not status.st_mode & 0o077 & ~mode:
        return None  # root reads everything anyway
    return (
        f"{path} was made by another user (uid {status.st_uid}, mode {status.st_mode & 0o777:o}), so that others can "
        "read the records in it. Move it away, or choose another folder with base_path=."
    )


_logged = Problems()
"""The exposed files that were logged."""


def explained(exc: OSError, doing: str, lost: int = 1) -> WriteError:
    """Return *exc* as an error that describes what failed while *doing* what, and names a remedy."""
    number = exc.errno or 0
    remedy = _REMEDIES.get(number, "Choose another folder with base_path=, or run `fluxloop doctor`.")
    error = WriteError(number, f"cannot {doing}: {exc.strerror or exc}. {remedy}")
    error.lost = lost
    error.__cause__ = exc
    return error


NO_RIGHT = "Give this user the right to write there, or choose another folder with base_path=."
NOT_A_FILE = "Something else has the name of the file: move it, or choose another folder with base_path=."
_NO_SPACE = "Free some space; recording continues by itself."
_NOT_A_FOLDER = "A file has the name of the folder: move it, or choose another folder with base_path=."
_REMEDIES = {
    errno.ENOSPC: _NO_SPACE,
    errno.EDQUOT: _NO_SPACE,
    errno.EFBIG: "The file has reached the size limit of this process (`ulimit -f`).",
    errno.EACCES: NO_RIGHT,
    errno.EPERM: NO_RIGHT,
    errno.EROFS: NO_RIGHT,
    errno.ENOTDIR: _NOT_A_FOLDER,
    errno.EEXIST: _NOT_A_FOLDER,
    errno.EINVAL: NOT_A_FILE,
    errno.EISDIR: NOT_A_FILE,
    errno.ENXIO: NOT_A_FILE,
    errno.EMFILE: "This process has too many files open (`ulimit -n`).",
}
