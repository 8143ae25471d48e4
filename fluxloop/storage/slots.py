"""
The file of a journal: fixed slots, mapped into memory, locked while its process lives.
"""

from __future__ import annotations

import mmap
import os
import sys
from itertools import count
from pathlib import Path

from .descriptors import Descriptor, lock

NAME = ".inflight-"
"""How the file names begin; process number and random letters follow."""

SLOT_BYTES = 1024
"""Enough for every field of a beginning, and for the input of most; part of the format."""

FIRST_SLOTS = 64
"""Slots of a new file; it doubles when all are in use."""

MOST_SLOTS = 65_536
"""Observations open at once that are remembered: 64 MB of file, more than any program has had."""


class Slots:
    """One journal file: locked, mapped, and which of its slots are free."""

    __slots__ = ("base", "count", "file", "free", "map", "path")

    def __init__(self, folder: Path) -> None:
        self.free: list[int] = []
        self.count = 0
        self.path, self.file, self.map = _mapped(folder, bytes(FIRST_SLOTS * SLOT_BYTES))
        self.base = next(_bases)
        self._add(FIRST_SLOTS)

    def grow(self) -> None:
        """Double the number of slots, up to `MOST_SLOTS`."""
        size = min(self.count * 2, MOST_SLOTS)
        if size > self.count:
            _fill(self.file.fd, bytes(size * SLOT_BYTES))
            self.map = mmap.mmap(self.file.fd, size * SLOT_BYTES)  # who still holds the old map writes to the same file
            self._add(size)

    def _add(self, size: int) -> None:
        new = range(size - 1, self.count - 1, -1)
        self.count = size
        self.free += new

    def move(self, folder: Path) -> None:
        """Copy what is open into a new file under *folder*, and clear it where it was."""
        old = self.map
        self.path, self.file, self.map = _mapped(folder, old[:])
        for start in range(0, len(old), SLOT_BYTES):
            old[start] = 0  # a renamed file must not tell of what goes on elsewhere

    def remove(self) -> None:
        """Remove the file, if it is still the one at its path."""
        if self.file.is_at(str(self.path)):
            if os.name == "nt":  # a file that is mapped cannot be removed there
                self.map.close()
            self.file.remove(self.path)

    def __del__(self) -> None:
        try:
            if self.count and len(self.free) == self.count:
                self.remove()
        except Exception:
            pass  # the interpreter is going down, and what `remove` stands on may be gone


class Nothing(Slots):
    """What a journal without a file has: no slot to give, none to take back."""

    def __init__(self) -> None:
        self.free = []
        self.count = 0
        self.base = sys.maxsize


def _mapped(folder: Path, content: bytes) -> tuple[Path, Descriptor, mmap.mmap]:
    """A new journal file under *folder*: locked, filled, mapped."""
    path, file = _locked(folder)
    try:
        _fill(file.fd, content)
        return path, file, mmap.mmap(file.fd, len(content))
    except (OSError, ValueError):
        path.unlink(missing_ok=True)
        raise


def _locked(folder: Path) -> tuple[Path, Descriptor]:
    folder.mkdir(parents=True, exist_ok=True)
    for _ in range(10):
        path = folder / f"{NAME}{os.getpid()}-{os.urandom(4).hex()}"
        file = Descriptor(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o600))
        if lock(file.fd) is not False and file.is_at(str(path)):
            return path, file
        path.unlink(missing_ok=True)  # a reader took it for a dead process's, between our making and locking it
    raise BlockingIOError(f"others keep locking the new files in {folder}")


def _fill(fd: int, content: bytes) -> None:
    """
    Extend the file to *content*.

    The bytes are written, not left as a hole: a store into a mapped hole kills the process (SIGBUS) if the disk
    is full by then, whereas a full disk is a mere OSError here.
    """
    while (size := os.fstat(fd).st_size) < len(content):
        os.lseek(fd, size, os.SEEK_SET)
        os.write(fd, content[size:])


_bases = count(0, MOST_SLOTS)
"""What is added to the slot numbers of each file, so that a slot of an earlier file is known as such."""

NOTHING = Nothing()
