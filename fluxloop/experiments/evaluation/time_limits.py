"""
The time limit of evaluators: a call that takes longer ends with an error, whatever it waits for.

Evaluators run in the thread of the evaluation, where users expect them. A second thread watches their time. It
interrupts a call in the main thread by a signal, which also ends ``time.sleep``, requests and regular expressions, and
one in another thread by an exception at its next step in Python. Code in C that reacts to neither cannot be
interrupted; a command ends its process then, see `ending_the_process`.
"""

from __future__ import annotations

import asyncio
import ctypes
import faulthandler
import logging
import os
import signal
import sys
import threading
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from time import monotonic
from types import FrameType, TracebackType
from typing import Any, TypeVar

from ..deadlines import IGNORED_S, abandon
from ..exits import exits_contained

log = logging.getLogger("fluxloop")

Result = TypeVar("Result")

MOST_TIMEOUTS = 3
"""Calls in a row that take too long, after which an evaluator is not called again in this evaluation."""

SIGNAL = signal.SIGVTALRM
"""
The signal that interrupts the main thread; programs rarely use it.

A timer of processor time sends it as well: code in C that computes without releasing the interpreter lock, such as a
regular expression, keeps the watching thread from running.
"""

_owns_process = False

_exit = os._exit
"""The function itself, which `ending_the_process` replaces."""


class CallTimedOut(BaseException):  # not an Exception, which evaluators catch to repeat a request
    """A call of an evaluator took too long."""


class EvaluatorTimeoutError(TimeoutError):
    """An evaluator took longer than the limit, or is not called any more since it did so several times."""


@contextmanager
def ending_the_process() -> Iterator[None]:
    """
    Let an evaluator that cannot be interrupted end the process, with a message and exit code 2; ``os._exit`` does not.

    If it keeps every other thread from running, the process ends with the Python stack and exit code 1.
    For commands only, which own their process.
    """
    global _owns_process
    _owns_process = True
    try:
        with exits_contained(_is_main_thread, "an evaluator", NOTHING_WRITTEN):
            yield
    finally:
        _owns_process = False
        faulthandler.cancel_dump_traceback_later()


NOTHING_WRITTEN = "No results were written, and earlier ones are unchanged"


def _is_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


class TimeLimit:
    """
    Limits the time of calls in the current thread, one at a time, and of tasks in its event loop. Used with ``with``.

    Args:
        seconds: The time of one call.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._pause = min(1.0, seconds / 4)
        self._timeouts: Counter[str] = Counter()
        self._name = ""
        self._due = 0.0
        """When the call under way must have ended; 0 while there is none."""
        self._tasks: dict[asyncio.Task[Any], tuple[float, str]] = {}
        """When each task must have ended, and its evaluator."""
        self._is_stuck = False
        self._lock = threading.Lock()
        self._ended = threading.Event()

    def __enter__(self) -> TimeLimit:
        self._thread = threading.get_ident()
        self._is_main = _is_main_thread()
        if self._is_main:
            self._before = signal.signal(SIGNAL, self._on_signal)
            signal.setitimer(signal.ITIMER_VIRTUAL, self._pause, self._pause)
        self._postpone_end()
        self._watcher = threading.Thread(target=self._watch, name="fluxloop-time-limit", daemon=True)
        self._watcher.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with self._lock:  # no signal is sent from here on: without its handler it would end the process
            self._ended.set()
        if self._is_main:
            signal.setitimer(signal.ITIMER_VIRTUAL, 0)
            signal.signal(SIGNAL, self._before or signal.SIG_DFL)
        self._watcher.join(IGNORED_S)

    def called(self, name: str, call: Callable[[], Result]) -> Result:
        """
        Return the result of *call*.

        Raises:
            EvaluatorTimeoutError: If it takes too long, or *name* did so `MOST_TIMEOUTS` times before.
        """
        self._check(name)
        self._name = name
        try:
            try:
                self._due = monotonic() + self.seconds
                result = call()
            finally:
                self._close()
        except CallTimedOut:
            self._close()
            raise self._failure(name) from None
        if self._timeouts and not isinstance(result, Awaitable):
            del self._timeouts[name]
        return result

    async def awaited(self, name: str, value: Awaitable[Result]) -> Result:
        """Return the result of *value*; raises as `called`."""
        self._check(name)
        task = asyncio.ensure_future(_result_of(value))
        self._tasks[task] = monotonic() + self.seconds, name
        try:
            await asyncio.wait([task], timeout=self.seconds)
            if not task.done():
                task.cancel()
                await asyncio.wait([task], timeout=IGNORED_S)
                if not task.done():
                    abandon(task)
                elif not task.cancelled():
                    task.exception()  # so that asyncio does not log it
                raise self._failure(name)
            result = task.result()
            if isinstance(result, SystemExit):
                raise result
        except CallTimedOut:
            raise self._failure(name) from None
        finally:
            task.cancel()
            del self._tasks[task]
        del self._timeouts[name]
        return result

    def _check(self, name: str) -> None:
        if self._timeouts and self._timeouts[name] >= MOST_TIMEOUTS:
            raise EvaluatorTimeoutError(
                f"not called, as {MOST_TIMEOUTS} calls in a row took longer than {self._limit()}"
            )

    def _failure(self, name: str) -> EvaluatorTimeoutError:
        self._timeouts[name] += 1
        return EvaluatorTimeoutError(f"it took longer than {self._limit()}")

    def _limit(self) -> str:
        return f"{self.seconds:g} s (limits.evaluator_timeout_seconds)"

    def _close(self) -> None:
        """End the time of a call. What the watching thread has raised arrives here at the latest."""
        if self._is_main:
            self._due = 0.0
            return
        is_late = False
        while True:
            try:
                with self._lock:  # the watching thread raises nothing from here on
                    self._due = 0.0
                for _ in range(2):
                    pass  # an exception of another thread arrives between two steps of a loop
                break
            except CallTimedOut:
                # To withdraw it instead would leave Python 3.11 looking for it, for ever if a debugger is attached.
                is_late = True
        if is_late:
            raise CallTimedOut

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if 0 < self._due <= monotonic():
            raise CallTimedOut
        with suppress(RuntimeError):  # no event loop
            task = asyncio.current_task()
            if task in self._tasks and self._tasks[task][0] <= monotonic():
                raise CallTimedOut

    # What the watching thread does.

    def _watch(self) -> None:
        while not self._ended.wait(self._pause):
            self._postpone_end()
            late, name = self._latest()
            if late > 0:
                self._interrupt()
            if late > IGNORED_S:
                self._report(name)

    def _postpone_end(self) -> None:
        """Let the process of a command end if the watching thread does not run any more, and so does not call this."""
        if _owns_process:
            with suppress(ValueError, RuntimeError, AttributeError, OSError):  # stderr is closed
                faulthandler.dump_traceback_later(self.seconds + 2 * IGNORED_S, exit=True)

    def _latest(self) -> tuple[float, str]:
        """
        Return by how many seconds the call is late, or a task that blocks the loop, and the name of the evaluator.

        Tasks that do not block it end by themselves, after at most `IGNORED_S`.
        """
        now, due = monotonic(), self._due
        tasks = [(now - each - IGNORED_S - 1, name) for each, name in [*self._tasks.values()]]
        return max([(now - due if due else 0.0, self._name), *tasks])

    def _interrupt(self) -> None:
        with self._lock:
            if self._is_main and not self._ended.is_set():
                signal.pthread_kill(self._thread, SIGNAL)
            elif not self._is_main and 0 < self._due <= monotonic():
                exception = ctypes.py_object(CallTimedOut)
                ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(self._thread), exception)

    def _report(self, name: str) -> None:
        text = f"evaluator {name!r} takes longer than {self._limit()}, and cannot be interrupted"
        if _owns_process:
            with suppress(Exception):
                sys.stderr.write(f"fluxloop: {text}. {NOTHING_WRITTEN}\n")
                sys.stderr.flush()
            _exit(2)
        if not self._is_stuck:
            self._is_stuck = True
            log.warning("%s", text)


async def _result_of(value: Awaitable[Result]) -> Result | SystemExit:
    try:
        return await value
    except SystemExit as exc:  # a task that raises it ends the event loop
        return exc
