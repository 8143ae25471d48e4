"""
What recording could not do, counted and said once.

Nothing here ever reaches the user's program: a trouble is one line in ``logging.getLogger("fluxloop")``
per cause, and a number that `fluxloop.report` returns.
"""

from __future__ import annotations

import logging
import sys
import threading
import warnings
from dataclasses import dataclass
from itertools import count

from .errors import FluxLoopWarning

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
    """What became of the records so far, as counts since the set-up began."""

    written: int = 0
    """Records handed to the storage without an error: one per observation and one per trace."""
    failed: int = 0
    """Records the storage could not keep (disk full, folder not writable, …)."""
    dropped: int = 0
    """Observations that could not be recorded at all, because of a failure of our own."""
    truncated: int = 0
    """Places cut to the size limits."""
    redacted: int = 0
    """Places masked."""
    sampled_out: int = 0
    """Traces left out by ``sample_rate``."""
    troubles: tuple[str, ...] = ()
    """Each cause that was logged, in words, oldest first."""


class Tally:
    """A count that many threads may raise at once, without a lock: `itertools.count` steps atomically."""

    __slots__ = ("_count", "up")

    def __init__(self) -> None:
        self._count = count()
        self.up = self._count.__next__

    @property
    def value(self) -> int:
        """How often `up` was called."""
        return int(repr(self._count)[len("count(") : -1])


class Troubles:
    """The causes met so far: the first of each is logged, and all are remembered (up to a bound)."""

    def __init__(self) -> None:
        # Without a lock, which another thread could hold while the process forks: a dict is read and set in one step.
        self._said: dict[str, tuple[str]] = {}

    def say(self, cause: str, message: str, *, exc_info: bool = False) -> None:
        """Log *message* as a warning unless *cause* was met before."""
        entry = (message,)
        if len(self._said) < MOST_CAUSES and self._said.setdefault(cause, entry) is entry:
            log.warning(message, exc_info=exc_info)

    def all(self) -> tuple[str, ...]:
        """The messages logged so far, oldest first, and what adapters miss."""
        return (*(message for (message,) in list(self._said.values())), *missing())


MOST_CAUSES = 100
"""Causes remembered per set-up; what repeats with ever new words must not grow the program."""


def warn_user(message: str) -> None:
    """Warn at the line of the user's code that called FluxLoop; never raises, where warnings are errors neither."""
    depth, frame = 1, sys._getframe(0)
    while frame.f_back is not None and str(frame.f_globals.get("__name__", "")).partition(".")[0] == "fluxloop":
        depth, frame = depth + 1, frame.f_back
    try:
        warnings.warn(f"fluxloop: {message}", FluxLoopWarning, stacklevel=depth)
    except FluxLoopWarning as warning:
        log.warning("%s", warning)


def note_missing(adapter: str, name: str, lost: str) -> None:
    """
    Note that a framework release lacks *name*, an internal that *adapter* reads; logged once.

    Args:
        adapter: The adapter's package, such as ``fluxloop_langchain``.
        name: The internal, as a dotted path.
        lost: What is recorded in less detail without it, as a sentence without its full stop.
    """
    message = f"{adapter}: {name} is missing in the installed version: {lost}"
    if _missing.setdefault((adapter, name), message) is message:
        log.warning(message)


def missing() -> tuple[str, ...]:
    """Return what `note_missing` noted in this process, oldest first."""
    return tuple(_missing.values())


_missing: dict[tuple[str, str], str] = {}
