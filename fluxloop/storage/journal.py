"""
The journal of a process: which observations are open, in a file that outlives the process.

Each writing process has one hidden file of fixed slots per folder. The start of an observation fills a slot, with one
`os.pwrite`. Its end makes the slot free for the next observation and writes nothing: the record is in the files by
then, and readers prefer it. When the last open observation ends, the slots are erased. So the journal adds one system
call per observation, an idle process's journal is empty, and whatever other programs do to the file costs its content
at most. The format is in ``docs/record-format.md``, its readers are in `inflight`.
"""

from __future__ import annotations

import atexit
import errno
import math
import os
import sys
import threading
from contextlib import suppress
from itertools import count
from os import pwrite
from pathlib import Path
from time import monotonic
from weakref import WeakSet

from ..forks import after_fork
from .descriptors import Descriptor, lock
from .event_loops import unguarded
from .inflight import MOST_SLOTS, NAME, SLOT_BYTES, content, tidy

RETRY_S = 1.0
"""After the file could not be made (disk full, folder not writable), observations begin without it for so long."""

EXIT_S = 0.5
"""How long the exit waits for a thread that is making a journal; a thread stuck on a dead disk must not delay it."""


class Journal:
    """
    The journal of this process for one folder, made when the first observation begins.

    Recording does not depend on it: where it cannot be written, `put` returns -1 and `trouble` has the reason.

    Args:
        folder: Where the records go; made if it is missing.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        self.trouble: str | None = None
        """Why the last attempt to write failed."""
        self._file: Descriptor | None = None
        # Each list operation is one step under the GIL, so no slot has two owners, and no lock is needed.
        self._open: dict[int, bytes] = {}
        """The slots in use, with their content: a new file gets all of it."""
        self._ended: list[int] = []
        """Free slots whose last observation is in the files of records; the journal shows it still."""
        self._erased: list[int] = []
        """Free slots that show nothing."""
        self._reset()
        _journals.add(self)

    def _reset(self) -> None:
        self._file, self._open, self._ended, self._erased = None, {}, [], []
        self._numbers = count()
        self._base = next(_bases)
        self._retry_at = 0.0

    def put(self, head: bytes, rest: bytes = b"") -> int:
        """
        Write that an observation has begun.

        Args:
            head: Its record from the opening brace on, without the closing one.
            rest: More fields, beginning with a comma; left out when the slot is too small for both.

        Returns:
            The slot, for `free`; -1 if there is none. Never raises an Exception.
        """
        if len(head) + len(rest) >= SLOT_BYTES:
            if len(head) >= SLOT_BYTES:
                return -1
            rest = b""
        file = self._file or unguarded(self._made_file)
        if file is None:
            return -1
        try:
            slot = (self._ended or self._erased).pop()
        except IndexError:
            slot = next(self._numbers)
            if slot >= MOST_SLOTS:
                return -1
        text = self._open[slot] = b"".join((head, rest, b"\n"))
        try:
            if pwrite(file.fd, text, slot * SLOT_BYTES) == len(text):
                return self._base + slot
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as exc:
            self._note(exc)
            self.free(self._base + slot)
            return -1

    def free(self, slot: int, *, recorded: bool = False) -> None:
        """
        Free the *slot* of an observation that has ended; -1 and slots from before a fork are ignored.

        Args:
            slot: As `put` returned it.
            recorded: Whether the observation's record is in the files; otherwise the slot is erased.
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
        ended = []
        with suppress(IndexError):
            while True:
                ended.append(self._ended.pop())  # what is taken off the list is ours alone
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
                    self._note(exc)
                first = end
        self._erased += reversed(slots)

    def verify(self) -> None:
        """Show what is open and nothing else: in a new file if ours was removed or renamed, again if truncated."""
        with _changing:
            file = self._file
            if file is None:
                return
            try:
                self._erase_ended()
                if not file.is_in_place():
                    self._file = _new_file(self.folder)
                    self._write_open(self._file)
                    if file.stat() is not None:
                        os.ftruncate(file.fd, 0)  # a renamed file must not show what goes on elsewhere
                elif self._open:
                    self._write_open(file, content(file.fd))
            except OSError as exc:
                self._note(exc)

    def close(self) -> None:
        """Remove the file if nothing is open in it; otherwise it stays in use, and after us for its readers."""
        with _changing:
            if self._file is not None and not self._open:
                file, self._file = self._file, None
                with suppress(OSError):
                    file.remove()

    def _made_file(self) -> Descriptor | None:
        """Return the file, made if there is none; None if it cannot be made now."""
        with _changing:
            if self._file is None and monotonic() >= self._retry_at:
                try:
                    tidy(self.folder)
                    _close_at_the_end_of_a_worker()
                    made = _new_file(self.folder)
                    if self._file is not None:  # a signal handler has recorded something meanwhile
                        made.remove()
                    else:
                        self._file = made
                except OSError as exc:
                    self._note(exc)
                    self._retry_at = monotonic() + RETRY_S
            return self._file

    def _write_open(self, file: Descriptor, shown: bytes = b"") -> None:
        """Write what is open to *file*, but for what its content *shown* has."""
        for slot in list(self._open):
            start = slot * SLOT_BYTES
            written = None
            while (text := self._open.get(slot)) is not written:  # other threads may free the slot, and use it again
                if text is None or not shown.startswith(text, start):
                    pwrite(file.fd, text or bytes(SLOT_BYTES), start)
                written = text

    def _note(self, exc: OSError) -> None:
        self.trouble = f"cannot keep a journal of open observations in {self.folder}: {exc}"

    def _forked(self) -> None:
        """In the child: leave the parent's file, its lock and its slots alone."""
        parents = self._file
        self._reset()
        if parents is not None:
            # Now, not when it is collected: the lock lasts until its last copy is closed, and a parent that
            # was killed must not look alive because its child is. An explicit unlock would take it from the parent.
            parents.close()

    def __del__(self) -> None:
        try:
            if self._file is not None and not self._open:
                self._file.remove()
        except Exception:
            pass  # at the end of the interpreter, when modules may be gone


def _new_file(folder: Path) -> Descriptor:
    """Make a journal file under *folder*, and lock it."""
    folder.mkdir(parents=True, exist_ok=True)
    for _ in range(10):
        path = folder / f"{NAME}{os.getpid()}-{os.urandom(4).hex()}"
        file = Descriptor.for_writing(path, os.O_CREAT | os.O_EXCL)
        if lock(file.fd) is not False and file.is_in_place():
            return file
        path.unlink(missing_ok=True)  # a reader took it for a dead process's, before it was locked
    raise BlockingIOError(f"other processes keep locking the new files in {folder}")


_bases = count(0, MOST_SLOTS)
"""What is added to slot numbers, so that a slot from before a fork is recognised."""

_journals: WeakSet[Journal] = WeakSet()
_changing = threading.RLock()
"""Held while a file is made, checked or removed. Re-entrant: a signal handler or a finalizer may record, too."""


def _forked() -> None:
    global _changing
    _changing = threading.RLock()  # another thread of the parent may have held it
    for journal in list(_journals):
        journal._forked()


def _close_at_the_end_of_a_worker() -> None:
    """Have a worker of `multiprocessing` close its journals: it ends by `os._exit`, without `atexit`."""
    processes, util = sys.modules.get("multiprocessing.process"), sys.modules.get("multiprocessing.util")
    if processes is not None and util is not None and processes.parent_process() is not None:
        util.Finalize(None, _close_all, exitpriority=0)


def _close_all() -> None:
    for journal in list(_journals):
        journal.close()


@atexit.register
def _exiting() -> None:
    if not _changing.acquire(timeout=EXIT_S):
        return
    try:
        _close_all()
        for journal in list(_journals):
            journal._retry_at = math.inf  # no more files: none would be removed
    finally:
        _changing.release()


after_fork(_forked)
