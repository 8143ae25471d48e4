"""
What file storage requires of the operating system: descriptors that stay the right file, locks, living processes.

A `Descriptor` is closed when its last user drops it, never sooner. So a thread that is about to write cannot find
its number closed, and given to another file, by a thread that has just replaced the descriptor.
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
    CAN_LOCK = False  # Windows: `lock` returns None, and `is_running` has to do

HIGH_NUMBER = 512
"""Descriptors we write to have at least this number, where the process may have so many. Programs that become daemons
close every descriptor they find, and the files they open next get the lowest numbers: not ours."""

_FLAGS = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)  # Python adds O_CLOEXEC itself


def open_regular(path: str | os.PathLike[str], flags: int, mode: int = 0o600) -> int:
    """
    Open a regular file, and nothing else of that name; never waits, as opening a FIFO does.

    The descriptor is non-blocking, which changes nothing about regular files but that guards of event loops allow
    to write to it.

    Raises:
        OSError: If it cannot be opened, or is a directory, a FIFO, a socket or a device.
    """
    fd = os.open(path, flags | _FLAGS, mode)
    if stat.S_ISREG(os.fstat(fd).st_mode):
        return fd
    os.close(fd)
    raise OSError(errno.EINVAL, "Not a regular file", os.fspath(path))


class Descriptor:
    """An open file and its identity; closed with the object, if the number still belongs to that file."""

    __slots__ = ("__weakref__", "fd", "identity", "path")

    def __init__(self, fd: int, path: str | os.PathLike[str]) -> None:
        self.fd = fd
        self.path = os.fspath(path)
        self.identity = _identity(os.fstat(fd))

    @classmethod
    def for_writing(cls, path: str | os.PathLike[str], flags: int, mode: int = 0o600) -> Self:
        """Open the regular file at *path* to read and write it, under a high number; raises as `open_regular`."""
        return cls(_with_high_number(open_regular(path, flags | os.O_RDWR, mode)), path)

    def stat(self) -> os.stat_result | None:
        """Return the status of the file; None if it has no name any more, or the number is not this file's."""
        try:
            status = os.fstat(self.fd)
        except OSError:
            return None
        return status if status.st_nlink and (status.st_dev, status.st_ino) == self.identity else None

    def is_in_place(self) -> bool:
        """Whether `path` leads to this file, and `fd` still is this file."""
        try:
            return self.stat() is not None and _identity(os.stat(self.path)) == self.identity
        except OSError:
            return False

    def remove(self) -> None:
        """Remove the file, which is at its path, and hold its lock until then."""
        if os.name == "nt":  # Windows does not remove open files, and has no locks to hold
            self.close()
        with suppress(FileNotFoundError):
            os.unlink(self.path)

    def close(
        self, *, fstat: Callable[[int], os.stat_result] = os.fstat, close: Callable[[int], None] = os.close
    ) -> None:
        """Close the file now; a second time does nothing."""
        fd, self.fd = self.fd, -1
        try:
            status = fstat(fd)
            # Programs that become daemons close every number they find; by now it may belong to another file.
            if (status.st_dev, status.st_ino) == self.identity:
                close(fd)
        except OSError:
            pass  # it is closed already

    __del__ = close  # its functions are bound as defaults: modules may be gone when the interpreter ends


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


def _with_high_number(fd: int) -> int:
    if CAN_LOCK and fd < HIGH_NUMBER:
        try:
            high = fcntl(fd, F_DUPFD_CLOEXEC, HIGH_NUMBER)
        except OSError:
            return fd  # the process may not have so many
        os.close(fd)
        return high
    return fd


def lock(fd: int, *, shared: bool = False) -> bool | None:
    """
    Take the lock of an open file, without waiting; it is held until the last copy of the descriptor is closed.

    Returns:
        True if this descriptor holds it now, False if another one does, None if the file system has no locks.
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
    """Whether a process of this number runs; less reliable than a lock, since numbers are used again."""
    if sys.platform == "win32":  # os.kill(pid, 0) sends the process an event there
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
        return True  # it belongs to another user
    return True
