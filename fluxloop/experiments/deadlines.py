"""
Timeouts of many runs with one timer. `asyncio.timeout` sets one for each block, which costs more than a short run.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Any

IGNORED_S = 5.0
"""Seconds that a cancelled run may take to end. After them the experiment goes on without it."""


class RunTimeoutError(TimeoutError):
    """A run took longer than its ``timeout_seconds``."""


def abandon(task: asyncio.Task[Any]) -> None:
    """Remove *task*, which ignores its cancellation, from the tasks for whose end `asyncio.run` waits."""
    asyncio._unregister_task(task)
    task._log_destroy_pending = False  # type: ignore[attr-defined]  # it stays pending until the process ends


class Deadlines:
    """
    Cancels the blocks of one event loop that take longer than a fixed time.

    Args:
        seconds: The time; None for no limit.
    """

    def __init__(self, seconds: float | None) -> None:
        self.seconds = seconds
        self.ignored: Callable[[asyncio.Task[Any]], None] | None = None
        """Is called with each task that has not ended `IGNORED_S` after it was cancelled."""
        self._open: deque[Deadline] = deque()
        """In the order of their deadlines, as all have the same length. Finished ones are removed when they are due."""
        self._timer: asyncio.TimerHandle | None = None

    def limit(self) -> Deadline:
        """Return a block, for ``with``. Where it takes too long it raises `RunTimeoutError`."""
        return Deadline(self)

    def add(self, deadline: Deadline) -> None:
        """Cancel the task of *deadline* when it is due."""
        while self._open and self._open[0].is_done:
            self._open.popleft()
        self._open.append(deadline)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_at(deadline.time, self._due)

    def _due(self) -> None:
        loop = asyncio.get_running_loop()
        self._timer = None
        while self._open and (self._open[0].is_done or self._open[0].time <= loop.time()):
            deadline = self._open.popleft()
            deadline.expire()
            if not deadline.is_done:
                loop.call_later(IGNORED_S, self._check, deadline)
        if self._open:
            self._timer = loop.call_at(self._open[0].time, self._due)

    def _check(self, deadline: Deadline) -> None:
        if not deadline.is_done and self.ignored is not None:
            self.ignored(deadline.task)


class Deadline:
    """A block with a time limit, as `asyncio.Timeout`."""

    __slots__ = ("_cancelling", "_deadlines", "_is_expired", "is_done", "task", "time")

    def __init__(self, deadlines: Deadlines) -> None:
        self._deadlines = deadlines
        self._is_expired = self.is_done = False
        self.time = 0.0

    def __enter__(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.task, self._cancelling = task, task.cancelling()
        if self._deadlines.seconds is not None:
            self.time = asyncio.get_running_loop().time() + self._deadlines.seconds
            self._deadlines.add(self)

    def expire(self) -> None:
        """Cancel the task, unless the block has ended."""
        if not self.is_done:
            self._is_expired = True
            self.task.cancel()

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.is_done = True
        if not self._is_expired:
            return
        if self.task.uncancel() <= self._cancelling and kind is not None and issubclass(kind, asyncio.CancelledError):
            raise RunTimeoutError(f"the run took longer than {self._deadlines.seconds:g} s (timeout_seconds)") from exc
