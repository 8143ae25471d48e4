"""
What file storage asks of the operating system: descriptors that look after themselves, locks, signs of life.

A `Descriptor` is closed when its last user lets go of it, never sooner. So a thread that is about to write can
not find its number closed, and given to another file, by a thread that has just moved on.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

try:
    from fcntl import LOCK_EX, LOCK_NB, LOCK_SH, flock

    CAN_LOCK = True
except ImportError:
    CAN_LOCK = False  # Windows: `lock` says so, and `runs` has to do


def _identity(stat: os.stat_result) -> tuple[int, int]:
    return stat.st_dev, stat.st_ino


class Descriptor:
    """An open file, and which one it is; closed with the object, if it is still that file."""

    __slots__ = ("__weakref__", "fd", "identity")

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.identity = _identity(os.fstat(fd))

    def is_at(self, path: str) -> bool:
        """Whether *path* still leads to this file, and `fd` still is this file."""
        try:
            # A `pathlib.Path` would be turned into text anew at each look.
            return _identity(os.stat(path)) == self.identity == _identity(os.fstat(self.fd))
        except OSError:
            return False

    def remove(self, path: Path) -> None:
        """Remove the file, whose path this is, and keep what locks it until it is gone."""
        if os.name == "nt":  # Windows removes no file that is open, and has no lock to keep
            self.close()
        path.unlink(missing_ok=True)

    def close(
        self, *, fstat: Callable[[int], os.stat_result] = os.fstat, close: Callable[[int], None] = os.close
    ) -> None:
        """Close the file now; a second time does nothing."""
        fd, self.fd = self.fd, -1
        try:
            stat = fstat(fd)
            # Programs that become daemons close every number they find; it may be somebody else's by now.
            if (stat.st_dev, stat.st_ino) == self.identity:
                close(fd)
        except OSError:
            pass  # it is closed already

    __del__ = close  # its functions are bound as defaults: modules may be gone when the interpreter ends


def lock(fd: int, *, shared: bool = False) -> bool | None:
    """
    Take the lock of an open file, without waiting; it is held until the last copy of the descriptor is closed.

    Returns:
        True if it is ours now, False if somebody else holds it, None where there are no locks.
    """
    if not CAN_LOCK:
        return None
    try:
        flock(fd, (LOCK_SH if shared else LOCK_EX) | LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None  # some network file systems have none
    return True


def runs(pid: int) -> bool:
    """Whether a process of this number runs; the second choice, since numbers are used again."""
    if sys.platform == "win32":  # where os.kill(pid, 0) is no question but an event sent to the process
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
        return True  # it is another user's
    return True
