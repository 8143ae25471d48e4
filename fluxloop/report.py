"""
Counts of recorded and lost data, and the log of FluxLoop's own problems.

A problem never raises into the user's program. It is logged once per cause to ``logging.getLogger("fluxloop")``, and
`fluxloop.report` returns the counts.
"""

from __future__ import annotations

import logging
import sys
import threading
import warnings
from dataclasses import dataclass
from itertools import count

from .errors import FluxLoopWarning
from .forks import after_fork

log = logging.getLogger("fluxloop")

_handling = threading.local()


def _handle_once(record: logging.LogRecord) -> None:
    """Handle *record*, unless this thread is handling one: a handler that is recorded itself would log forever."""
    if not getattr(_handling, "is_busy", False):
        _handling.is_busy = True
        try:
            type(log).handle(log, record)
        finally:
            _handling.is_busy = False


log.handle = _handle_once  # type: ignore[method-assign]


@dataclass(frozen=True, slots=True)
class Report:
    """The counts of written, lost, truncated and redacted data since the client was created."""

    written: int = 0
    """Records that the storage accepted: one per observation and one per trace."""
    failed: int = 0
    """Records that the storage could not store (disk full, folder not writable, …)."""
    dropped: int = 0
    """Observations lost to an internal error of FluxLoop, and records that a collector rejected."""
    sent: int = 0
    """Records that a collector has stored."""
    retried: int = 0
    """Requests to a collector that were repeated, because an earlier attempt failed."""
    spooled: int = 0
    """Records of this process that wait to be sent."""
    truncated: int = 0
    """Values and parts of values cut at a size limit."""
    redacted: int = 0
    """Masked secrets."""
    sampled_out: int = 0
    """Traces that ``sample_rate`` left out."""
    untraced: int = 0
    """Calls that were not recorded because they ran in a thread without a trace, while a trace was open."""
    problems: tuple[str, ...] = ()
    """The messages of all problems, oldest first."""


class Tally:
    """A counter for several threads that needs no lock, because `itertools.count` increments atomically."""

    __slots__ = ("_count", "increment")

    def __init__(self) -> None:
        self._count = count()
        self.increment = self._count.__next__

    @property
    def value(self) -> int:
        """The number of calls of `increment`."""
        return int(repr(self._count)[len("count(") : -1])


class Delivery:
    """What a storage has sent to a collector. Safe for several threads."""

    def __init__(self) -> None:
        self.problems = Problems()
        self.written = Tally()
        """Records that were accepted by the storage in this process."""
        self.sent = self.retried = self.dropped = 0
        self._settled = 0

    def settle(self, *, sent: int = 0, dropped: int = 0, own: bool = True) -> None:
        """Count records that no longer wait; *own* is whether this process wrote them."""
        with _delivery_lock:
            self.sent += sent
            self.dropped += dropped
            self._settled += sent + dropped if own else 0

    def retry(self) -> None:
        """Count a repeated request."""
        with _delivery_lock:
            self.retried += 1

    @property
    def spooled(self) -> int:
        """The records of this process that wait to be sent."""
        return max(0, self.written.value - self._settled)

    def forget_waiting(self) -> None:
        """In a forked child: the waiting records are those of the parent."""
        self._settled = self.written.value


_delivery_lock = threading.RLock()
"""Protects the counts of deliveries. Re-entrant, because a finalizer may end a storage meanwhile."""


def _renew_delivery_lock() -> None:
    global _delivery_lock
    _delivery_lock = threading.RLock()  # in a forked child, another thread of the parent may have held it


after_fork(_renew_delivery_lock)


class Problems:
    """The problems met so far. The first problem of each cause is logged."""

    def __init__(self) -> None:
        # No lock: another thread could hold it while the process forks. `setdefault` is atomic.
        self._logged: dict[str, tuple[str]] = {}

    def log_once(self, cause: str, message: str, *, exc_info: bool = False) -> bool:
        """
        Log *message* as a warning, unless a problem with the same *cause* was logged before.

        Returns:
            Whether it was logged.
        """
        entry = (message,)
        is_new = len(self._logged) < MAX_CAUSES and self._logged.setdefault(cause, entry) is entry
        if is_new:
            log.warning(message, exc_info=exc_info)
        return is_new

    def own(self) -> tuple[str, ...]:
        """Return the logged messages, oldest first."""
        return tuple(message for (message,) in list(self._logged.values()))

    def all(self) -> tuple[str, ...]:
        """Return the logged messages, oldest first, then the messages of `note_missing`."""
        return (*self.own(), *missing())


MAX_CAUSES = 100
"""The limit of causes kept per client, so that messages that always differ do not fill the memory."""


_NOT_THE_USERS = ("fluxloop", "pydantic")
"""Packages whose frames are between the user's line and a warning: pydantic calls the validators of our models."""


def warn_user(message: str) -> None:
    """Warn at the line of the user's code that called FluxLoop. Never raises: with ``-W error`` it logs instead."""
    depth, frame = 1, sys._getframe(0)
    while frame.f_back is not None and str(frame.f_globals.get("__name__", "")).partition(".")[0] in _NOT_THE_USERS:
        depth, frame = depth + 1, frame.f_back
    try:
        warnings.warn(f"fluxloop: {message}", FluxLoopWarning, stacklevel=depth)
    except FluxLoopWarning as warning:
        log.warning("%s", warning)


def note_missing(adapter: str, name: str, lost: str) -> None:
    """
    Log once that the installed version of a framework lacks *name*, an internal that *adapter* reads.

    Args:
        adapter: The adapter's package, such as ``fluxloop_langchain``.
        name: The internal, as a dotted path.
        lost: The data that is missing from records without it, as a sentence without its full stop.
    """
    message = f"{adapter}: {name} is missing in the installed version: {lost}"
    if _missing.setdefault((adapter, name), message) is message:
        log.warning(message)


def missing() -> tuple[str, ...]:
    """Return the messages of `note_missing` in this process, oldest first."""
    return tuple(_missing.values())


_missing: dict[tuple[str, str], str] = {}
