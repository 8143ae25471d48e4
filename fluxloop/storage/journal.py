"""
The journal of a process: a file that lists its open observations, so that they can be read if the process dies.

Each process has one hidden file of fixed-size slots per folder. The start of an observation writes a slot with one
`os.pwrite`. Its end frees the slot without a write: by then the record is in the files, which readers prefer. When the
last open observation ends, the slots are erased. So the journal needs one system call per observation, and the journal
of an idle process is empty. If another program changes the file, only the content of the journal is lost. The format is
described in ``docs/record-format.md``; `inflight` reads it.
"""

from __future__ import annotations

import atexit
import errno
import math
import os
import threading
from contextlib import suppress
from itertools import count
from os import pwrite
from pathlib import Path
from time import monotonic
from weakref import WeakSet

from ..forks import after_fork, at_the_end_of_a_worker
from .descriptors import Descriptor, lock
from .event_loops import unguarded
from .inflight import ECHO_BYTES, MAX_SLOTS, NAME_PREFIX, SLOT_BYTES, content, remove_empty

RETRY_S = 1.0
"""The wait before the next attempt if the file cannot be created (disk full, folder not writable)."""

EXIT_S = 0.5
"""The longest wait at exit for a thread that is creating a journal, which may hang on a failing disk."""


class Journal:
    """
    The journal of this process for one folder. The first observation creates its file.

    Recording does not depend on it: if it cannot be written, `put` returns -1 and `problem` has the reason.

    Args:
        folder: The folder of the records; created if it is missing.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        self.problem: str | None = None
        """The reason why the last write failed."""
        self._file: Descriptor | None = None
        # No lock is needed: list operations are atomic under the GIL, so a slot never has two owners.
        self._open: dict[int, bytes] = {}
        """The slots in use, with their content, which is copied to a new file."""
        self._ended: list[int] = []
        """Free slots that still contain an observation whose record is in the files."""
        self._erased: list[int] = []
        """Free and empty slots."""
        self._reset()
        _journals.add(self)

    def _reset(self) -> None:
        self._file, self._open, self._ended, self._erased = None, {}, [], []
        self._numbers = count()
        self._base = next(_slot_bases)
        self._retry_at = 0.0

    def put(self, head: bytes, rest: bytes = b"") -> int:
        """
        Add an observation that has started.

        Args:
            head: The start of its record: the opening brace and the first fields, at least `ECHO_BYTES`.
            rest: More fields, starting with a comma; omitted if the slot is too small.

        Returns:
            The slot, for `free`; -1 if there is none. Never raises an Exception.
        """
        if len(rest) > SLOT_BYTES:
            rest = b""
        text = b"".join((head, rest, b"\n", head[:ECHO_BYTES]))
        if len(text) > SLOT_BYTES:
            text = b"".join((head, b"\n", head[:ECHO_BYTES]))
            if len(text) > SLOT_BYTES:
                return -1
        file = self._file or unguarded(self._open_file)
        if file is None:
            return -1
        try:
            slot = (self._ended or self._erased).pop()
        except IndexError:
            slot = next(self._numbers)
            if slot >= MAX_SLOTS:
                return -1
        self._open[slot] = text
        try:
            if pwrite(file.fd, text, slot * SLOT_BYTES) == len(text):
                return self._base + slot
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as exc:
            self._set_problem(exc)
            self.free(self._base + slot)
            return -1
        except BaseException:  # of a signal handler: no caller will know the slot
            self.free(self._base + slot)
            raise

    @property
    def has_open(self) -> bool:
        """Whether an observation of this process is open."""
        return bool(self._open)

    def free(self, slot: int, recorded: bool = False) -> None:
        """
        Free the *slot* of an observation that has ended. -1 and slots from before a fork are ignored.

        Args:
            slot: The result of `put`.
            recorded: Whether the record is in the files; if not, the slot is erased.
        """
        slot -= self._base
        if self._open.pop(slot, None) is None:
            return
        if not recorded:
            self._erase([slot])
        else:
            self._ended.append(slot)
        if not self._open:
            self._erase_ended()

    def _erase_ended(self) -> None:
        ended: list[int] = []
        try:
            while True:
                ended.append(self._ended.pop())  # no other thread can use a slot that is not in the list
        except IndexError:  # faster than `suppress`
            self._erase(sorted(ended))

    def _erase(self, slots: list[int]) -> None:
        """Erase *slots*, in ascending order, and free them."""
        file = self._file
        first = 0
        for end in range(1, len(slots) + 1):
            if file is not None and (end == len(slots) or slots[end] != slots[end - 1] + 1):
                try:
                    pwrite(file.fd, bytes((end - first) * SLOT_BYTES), slots[first] * SLOT_BYTES)
                except OSError as exc:
                    self._set_problem(exc)
                first = end
        self._erased += reversed(slots)

    def verify(self) -> None:
        """Restore the content of the file if it was truncated; create a new file if it was removed or renamed."""
        with _files_lock:
            file = self._file
            if file is None:
                return
            try:
                self._erase_ended()
                if not file.is_in_place():
                    self._file = _new_file(self.folder)
                    self._write_open(self._file)
                    if file.stat() is not None:
                        os.ftruncate(file.fd, 0)  # a renamed file must not list the same observations
                elif self._open:
                    self._write_open(file, content(file.fd))
            except OSError as exc:
                self._set_problem(exc)

    def close(self) -> None:
        """Remove the file if no observation is open; otherwise keep it for readers."""
        with _files_lock:
            if self._file is not None and not self._open:
                file, self._file = self._file, None
                with suppress(OSError):
                    file.remove()

    def _open_file(self) -> Descriptor | None:
        """Return the file, and create it if necessary; None if it cannot be created now."""
        with _files_lock:
            if self._file is None and monotonic() >= self._retry_at:
                try:
                    remove_empty(self.folder)
                    at_the_end_of_a_worker(_close_all)
                    new = _new_file(self.folder)
                    if self._file is not None:  # a signal handler has recorded meanwhile
                        new.remove()
                    else:
                        self._file = new
                except OSError as exc:
                    self._set_problem(exc)
                    self._retry_at = monotonic() + RETRY_S
            return self._file

    def _write_open(self, file: Descriptor, current: bytes = b"") -> None:
        """Write the open slots to *file*, except for those that its *current* content already has."""
        for slot in list(self._open):
            start = slot * SLOT_BYTES
            written = None
            while (text := self._open.get(slot)) is not written:  # other threads may free the slot, and use it again
                if text is None or not current.startswith(text, start):
                    pwrite(file.fd, text or bytes(SLOT_BYTES), start)
                written = text

    def _set_problem(self, exc: OSError) -> None:
        self.problem = f"cannot keep a journal of open observations in {self.folder}: {exc}"

    def _forked(self) -> None:
        """In the child: stop using the file and the slots of the parent."""
        parent_file = self._file
        self._reset()
        if parent_file is not None:
            # Close it immediately: its lock lasts until its last copy is closed, so a killed parent would seem alive
            # while its child runs. An explicit unlock would unlock it for the parent too.
            parent_file.close()

    def __del__(self) -> None:
        try:
            if self._file is not None and not self._open:
                self._file.remove()
        except Exception:
            pass  # at interpreter shutdown, when modules may be gone


def _new_file(folder: Path) -> Descriptor:
    """Create a journal file in *folder*, and lock it."""
    folder.mkdir(parents=True, exist_ok=True)
    for _ in range(10):
        path = folder / f"{NAME_PREFIX}{os.getpid()}-{os.urandom(4).hex()}"
        file = Descriptor.for_writing(path, os.O_CREAT | os.O_EXCL)
        if lock(file.fd) is not False and file.is_in_place():
            return file
        path.unlink(missing_ok=True)  # a reader locked it first, as the journal of a dead process
    raise BlockingIOError(f"other processes keep locking the new files in {folder}")


_slot_bases = count(0, MAX_SLOTS)
"""Offsets that are added to slot numbers, so that slots from before a fork are recognised."""

_journals: WeakSet[Journal] = WeakSet()
_files_lock = threading.RLock()
"""Held while a file is created, checked or removed. Re-entrant, because a signal handler or a finalizer may record."""


def _forked() -> None:
    global _files_lock
    _files_lock = threading.RLock()  # another thread of the parent may have held it
    for journal in list(_journals):
        journal._forked()


def _close_all() -> None:
    for journal in list(_journals):
        journal.close()


@atexit.register
def _exiting() -> None:
    if not _files_lock.acquire(timeout=EXIT_S):
        return
    try:
        _close_all()
        for journal in list(_journals):
            journal._retry_at = math.inf  # create no more files, since they would not be removed
    finally:
        _files_lock.release()


after_fork(_forked)
