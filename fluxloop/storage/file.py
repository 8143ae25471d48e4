"""
Records as lines of JSON in plain files, one `os.write` a record.

A record is in the file before `FileStorage.write` returns, so it survives whatever happens to the process. There are
no threads and no buffers: a fork writes nothing twice, exiting adds nothing, and since each line is one write on an
``O_APPEND`` descriptor, writers never tear each other's lines.
"""

from __future__ import annotations

import errno
import os
import re
import threading
from itertools import chain
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from ..encoding.ids import after_fork
from .decoding import decoded
from .descriptors import Descriptor
from .journal import Journal

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from . import Record

LOOK_EVERY_S = 0.5
"""How long a file may have been removed or renamed before the next record notices. The first record after a trace line
always looks whether its file was removed, so that a folder deleted between two runs costs nothing."""

MOST_OPEN = 8
"""Files held open: two a day, and a trace belongs to the day it began, so a few days can be in use at once."""

LITTLE_SPACE_BYTES = 100_000_000
"""Free space below which `FileStorage.check` speaks up: a busy agent writes that much within the hour."""


class FileStorage:
    """
    Keep records in ``observations_YYYYMMDD.jsonl`` and ``traces_YYYYMMDD.jsonl`` under a folder.

    The folder and the files are made by the first record, not before. Any number of threads, processes and
    forks may write to the same folder.

    Args:
        base_path: The folder; a relative one is taken from the working directory as it is now.
        dated: False for one ``observations.jsonl`` and one ``traces.jsonl`` without a date.
        mode: Permissions of the files it makes, narrowed by the umask. Traces hold what users said and what tools
            returned, so by default they are for the owner alone.
    """

    def __init__(
        self, base_path: str | os.PathLike[str] = "./traces", *, dated: bool = True, mode: int = 0o600
    ) -> None:
        self.base_path = Path(base_path).expanduser().absolute()
        self.journal = Journal(self.base_path)
        self._dated = dated
        self._mode = mode
        self._files: dict[tuple[str, str], _File] = {}
        _storages.add(self)

    def write(self, records: Sequence[Record]) -> None:
        """
        Append *records* to their files, each with one system call.

        Raises:
            OSError: If a record could not be kept (the others were tried all the same); says what to do about it.
        """
        now = monotonic()
        failure: OSError | None = None
        for kind, day, line in records:
            key = (kind, day) if self._dated else (kind, "")
            file = self._files.get(key)
            try:
                if file is None or file.look_at <= now:
                    self._look_and_write(key, line)
                elif (written := os.write(file.fd, line)) != len(line):
                    file.finish(line, written)
            except OSError as exc:
                failure = failure or explained(exc, f"keep a record in {self.path(*key)}")
                if file is not None:
                    file.look_at = 0.0  # the next record finds out whether the file is to blame
            if kind == "trace" and (file := self._files.get(("observation", key[1]))) is not None:
                file.look_at = 0.0
        if failure is not None:
            raise failure

    def close(self) -> None:
        """Let go of the files; a later `write` opens them again."""
        self._files = {}
        self.journal.close()

    def read(self) -> Iterator[dict[str, Any]]:
        """Yield every record in the folder, day by day, observations first; pieces of records are left out."""
        for path in self._existing():
            with path.open("rb") as file:
                yield from chain.from_iterable(map(decoded, file))

    def path(self, kind: str, day: str) -> Path:
        """Where a record of this *kind* and *day* (``YYYYMMDD``) goes."""
        return self.base_path / (f"{kind}s_{day}.jsonl" if self._dated else f"{kind}s.jsonl")

    def check(self) -> list[str]:
        """Return what stands in the way of keeping records here, in words; empty when all is well. Leaves no trace."""
        import shutil  # these two weigh more than all else here, and are for `fluxloop doctor` alone
        import tempfile

        try:
            folder = next(p for p in (self.base_path, *self.base_path.parents) if p.exists())
            with tempfile.TemporaryFile(dir=folder):
                free_bytes = shutil.disk_usage(folder).free
        except OSError as exc:
            return [str(explained(exc, f"write to {self.base_path}"))]
        problems = [f"{p} may not be written to. {_NO_RIGHT}" for p in self._existing() if not os.access(p, os.W_OK)]
        if free_bytes < LITTLE_SPACE_BYTES:
            problems.append(f"{folder} has only {free_bytes // 1_000_000} MB free. Free some space on that disk.")
        if self.journal.trouble:
            problems.append(self.journal.trouble)
        return problems

    def _look_and_write(self, key: tuple[str, str], line: bytes) -> None:
        """Write *line* after a look at the file: is it open, in its place, and at the beginning of a line?"""
        with _looking:
            now = monotonic()
            file = self._files.get(key)
            if file is None or not file.in_place(now):
                self._look_around()
                file = self._files[key] = _open(self.path(*key), self._mode)
                while len(self._files) > MOST_OPEN:
                    self._files.pop(next(iter(self._files)))
            file.append(b"\n" + line if file.torn else line)
            file.look_at = file.look_closely_at

    def _look_around(self) -> None:
        """One file was not there: see where the journal is, and the other files before they are written to."""
        for file in list(self._files.values()):
            file.look_at = file.look_closely_at = 0.0
        self.journal.follow()

    def _existing(self) -> list[Path]:
        name = re.compile(r"(observation|trace)s_(\d{8})\.jsonl" if self._dated else r"(observation|trace)s()\.jsonl")
        found = [
            (match[2], match[1], path)
            for path in self.base_path.glob("*.jsonl")
            if (match := name.fullmatch(path.name))
        ]
        return [path for _, _, path in sorted(found)]

    def _forked(self) -> None:
        self._files = {}  # the child opens its own: the parent may be about to close all it knows


class _File(Descriptor):
    """A file of records that is open for appending."""

    __slots__ = ("look_at", "look_closely_at", "path", "torn")

    def __init__(self, fd: int, path: str) -> None:
        super().__init__(fd)
        self.path = path
        self.torn = _ends_torn(fd)
        self.look_at = 0.0
        """When (by `monotonic`) the next writer has to look whether all is well; 0 is at once."""
        self.look_closely_at = monotonic() + LOOK_EVERY_S
        """When it also has to see where the path leads, which costs twice as much."""

    def in_place(self, now: float) -> bool:
        """Whether this is still the file to write to: ours, not removed, and, at times, not renamed."""
        try:
            stat = os.fstat(self.fd)
        except OSError:
            return False
        if not stat.st_nlink or (stat.st_dev, stat.st_ino) != self.identity:
            return False
        if now < self.look_closely_at:
            return True
        self.look_closely_at = now + LOOK_EVERY_S
        return self.is_at(self.path)

    def append(self, line: bytes) -> None:
        """Write all of *line*, which begins a new line of the file."""
        written = os.write(self.fd, line)
        if written != len(line):
            self.finish(line, written)
        self.torn = False

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
            self.torn, self.look_at = True, 0.0
            raise


def _open(path: Path, mode: int) -> _File:
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | getattr(os, "O_BINARY", 0)  # O_CLOEXEC is Python's own default
    try:
        fd = os.open(path, flags, mode)
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
        fd = os.open(path, flags, mode)
    return _File(fd, str(path))


def _ends_torn(fd: int) -> bool:
    """Whether the file ends in a piece of a line which nobody is writing any more."""
    before = -1
    for _ in range(100):  # after so many looks the file has grown a hundred times, so somebody is at work
        # Writing nothing waits for a writer that is in the middle of its line (it takes the inode's lock). Half
        # lines are common sights without it: of two writers of 4 MB, a look at the last byte met one each time.
        os.write(fd, b"")
        size = os.lseek(fd, 0, os.SEEK_END)
        if size == 0:
            return False
        os.lseek(fd, size - 1, os.SEEK_SET)
        if os.read(fd, 1) in (b"\n", b""):
            return False
        if size == before:
            return True
        before = size
    return False


def explained(exc: OSError, doing: str) -> OSError:
    """Return *exc* as an error which says what we were *doing*, and what a person can do."""
    number = exc.errno or 0
    remedy = _REMEDIES.get(number, "Choose another folder with base_path=, or see what `fluxloop doctor` says.")
    error = OSError(number, f"cannot {doing}: {exc.strerror or exc}. {remedy}")
    error.__cause__ = exc
    return error


_NO_SPACE = "Free some space; recording goes on by itself."
_NO_RIGHT = "Give this user the right to write there, or choose another folder with base_path=."
_IN_THE_WAY = "A file stands where the folder should be: move it, or choose another folder with base_path=."
_REMEDIES = {
    errno.ENOSPC: _NO_SPACE,
    errno.EDQUOT: _NO_SPACE,
    errno.EFBIG: "The file has reached the size limit of this process (`ulimit -f`).",
    errno.EACCES: _NO_RIGHT,
    errno.EPERM: _NO_RIGHT,
    errno.EROFS: _NO_RIGHT,
    errno.ENOTDIR: _IN_THE_WAY,
    errno.EEXIST: _IN_THE_WAY,
    errno.EMFILE: "This process has too many files open (`ulimit -n`).",
}

_storages: WeakSet[FileStorage] = WeakSet()
_looking = threading.RLock()
"""Held while a file is opened or looked at. Re-entrant: a signal handler or a finalizer may record, too."""


def _forked() -> None:
    global _looking
    _looking = threading.RLock()  # the old one may be held by a thread the child does not have
    for storage in list(_storages):
        storage._forked()


after_fork(_forked)
