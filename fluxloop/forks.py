"""
Safe forking: renew locks in the child, and let forks wait for imports.

A forked child has one thread. A lock that another thread of the parent held stays locked in the child, including the
import locks of Python. `after_fork` renews locks in the child; `importing` makes a fork wait for an import.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

fork_count = 0
"""The number of forks between the process that imported this module and the current one."""

_MAX_WAIT_S = 10.0
"""The longest wait of a fork. It is limited because an import may itself wait for code that forks."""

_in_child: list[Callable[[], object]] = []
_import_lock = threading.RLock()


def after_fork(renew: Callable[[], object]) -> None:
    """Call *renew* in every forked child before the child continues, in the order of registration."""
    _in_child.append(renew)


@contextmanager
def importing() -> Iterator[None]:
    """Let forks wait for a block that imports modules on first use."""
    lock = _import_lock
    with lock:
        yield


def at_the_end_of_a_worker(end: Callable[[], object]) -> None:
    """Call *end* when this process ends, if it is a `multiprocessing` worker: it ends without `atexit`."""
    processes, util = sys.modules.get("multiprocessing.process"), sys.modules.get("multiprocessing.util")
    if processes is not None and util is not None and processes.parent_process() is not None:
        util.Finalize(None, end, exitpriority=0)


def _before_fork() -> None:
    _import_lock.acquire(timeout=_MAX_WAIT_S)


def _in_parent() -> None:
    with suppress(RuntimeError):  # not acquired: the wait timed out
        _import_lock.release()


def _forked() -> None:
    global fork_count, _import_lock
    fork_count += 1
    _import_lock = threading.RLock()
    for renew in _in_child:
        renew()


if hasattr(os, "register_at_fork"):  # Windows has no fork
    os.register_at_fork(before=_before_fork, after_in_parent=_in_parent, after_in_child=_forked)
