"""
File descriptors, file locks and process checks for file storage.

A `Descriptor` is closed when it is no longer referenced. So no thread can close it, and the system cannot reuse its
number for another file, while another thread is about to write to it.
"""

from __future__ import annotations

import errno
import os
import stat
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Self

try:
    from fcntl import F_DUPFD_CLOEXEC, LOCK_EX, LOCK_NB, LOCK_SH, fcntl, flock

    CAN_LOCK = True
except ImportError:
    CAN_LOCK = False  # Windows: `lock` returns None, and readers use `is_running`

HIGH_NUMBER = 512
"""The lowest descriptor number for writing, if the limits of the process allow it. A program that becomes a daemon
closes all descriptors, and the files that it opens next get the lowest numbers."""

_FLAGS = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)  # Python adds O_CLOEXEC


def open_regular(path: str | os.PathLike[str], flags: int, mode: int = 0o600) -> int:
    """
    Open a regular file. Never blocks, even if *path* is a FIFO.

    The descriptor is non-blocking. For a regular file the only effect is that guards against blocking calls on event
    loops allow writes to it.

    Raises:
        OSError: If the file cannot be opened, or is a directory, a FIFO, a socket or a device.
    """
    fd = os.open(path, flags | _FLAGS, mode)
    if stat.S_ISREG(os.fstat(fd).st_mode):
        return fd
    os.close(fd)
    raise OSError(errno.EINVAL, "Not a regular file", os.fspath(path))


class Descriptor:
    """An open file, which is closed when the object is deleted, unless its number belongs to another file by then."""

    __slots__ = ("__weakref__", "fd", "identity", "path")

    def __init__(self, fd: int, path: str | os.PathLike[str]) -> None:
        self.fd = fd
        self.path = os.fspath(path)
        self.identity = _identity(os.fstat(fd))

    @classmethod
    def for_writing(cls, path: str | os.PathLike[str], flags: int, mode: int = 0o600) -> Self:
        """Open the regular file at *path* for reading and writing, with a high number; raises as `open_regular`."""
        return cls(_with_high_number(open_regular(path, flags | os.O_RDWR, mode)), path)

    def stat(self) -> os.stat_result | None:
        """Return the status of the file; None if the file was removed, or its number belongs to another file."""
        try:
            status = os.fstat(self.fd)
        except OSError:
            return None
        return status if status.st_nlink and (status.st_dev, status.st_ino) == self.identity else None

    def is_in_place(self) -> bool:
        """Return whether `path` and `fd` still refer to this file."""
        try:
            return self.stat() is not None and _identity(os.stat(self.path)) == self.identity
        except OSError:
            return False

    def remove(self) -> None:
        """Remove the file at `path`, and keep its lock until then."""
        if os.name == "nt":  # Windows cannot remove open files; there is no lock to keep
            self.close()
        with suppress(FileNotFoundError):
            os.unlink(self.path)

    def close(
        self, *, fstat: Callable[[int], os.stat_result] = os.fstat, close: Callable[[int], None] = os.close
    ) -> None:
        """Close the file. A second call has no effect."""
        fd, self.fd = self.fd, -1
        try:
            status = fstat(fd)
            # A program that becomes a daemon closes all descriptors; the number may belong to another file now.
            if (status.st_dev, status.st_ino) == self.identity:
                close(fd)
        except OSError:
            pass  # already closed

    __del__ = close  # its default arguments keep the functions available at interpreter shutdown


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


def _with_high_number(fd: int) -> int:
    if CAN_LOCK and fd < HIGH_NUMBER:
        try:
            high = fcntl(fd, F_DUPFD_CLOEXEC, HIGH_NUMBER)
        except OSError:
            return fd  # above the limit of the process
        os.close(fd)
        return high
    return fd


def lock(fd: int, *, shared: bool = False) -> bool | None:
    """
    Try to lock an open file. The lock is held until the last copy of the descriptor is closed.

    Returns:
        True if the file is now locked, False if another descriptor has the lock, None if locks are not supported.
    """
    if not CAN_LOCK:
        return None
    try:
        flock(fd, (LOCK_SH if shared else LOCK_EX) | LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None  # some network file systems
    return True


def is_running(pid: int) -> bool:
    """Return whether a process with this id runs. Less reliable than a lock, because ids are reused."""
    if sys.platform == "win32":  # os.kill(pid, 0) would send an event to the process
        import ctypes

        still_waiting, may_wait = 0x102, 0x100000
        kernel = ctypes.windll.kernel32
        process = kernel.OpenProcess(may_wait, False, pid)
        alive = bool(process) and kernel.WaitForSingleObject(process, 0) == still_waiting
        kernel.CloseHandle(process)
        return alive
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True  # a process of another user
    return True
