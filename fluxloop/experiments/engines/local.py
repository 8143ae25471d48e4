"""
Execute runs in this process: each in a task of its own, with a context of its own.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Iterator

from ..deadlines import IGNORED_S, RunTimeoutError, abandon
from ..inputs import PlannedRun
from ..rows import Row, RunCancelled, lost_row
from .contract import Finished, Job


class LocalEngine:
    """Executes runs as tasks of the current event loop. Sync targets run in threads."""

    async def run(self, job: Job, runs: Iterator[PlannedRun], finished: Finished) -> None:
        """Execute *runs*; see `fluxloop.experiments.engines.contract.Engine`."""
        await _Runs(job, runs, finished).executed()


class _Runs:
    """
    Executes each run in a task of its own: what a target does to its context does not reach the next run.

    The end of a task starts the next run. Workers that wait for their runs would cost more than a short run.
    A target that ignores its cancellation does not delay the experiment: its task is left behind.
    """

    def __init__(self, job: Job, runs: Iterator[PlannedRun], finished: Finished) -> None:
        self._executor, self._runs, self._finished = job.executor, runs, finished
        self._delay_s = job.loaded.config.run_delay_seconds
        self._open_places = min(job.parallel, len(job.plan))
        self._running: dict[asyncio.Task[Row], tuple[PlannedRun, str]] = {}
        """The run of each task, and its trace id."""
        self._loop = asyncio.get_running_loop()
        self._context = contextvars.copy_context()
        self._all_ended: asyncio.Future[None] = self._loop.create_future()
        self._is_stopping = False
        self._error: BaseException | None = None
        job.executor.deadlines.ignored = self._leave

    async def executed(self) -> None:
        """Execute the runs; if this is cancelled, or a row cannot be stored, cancel those that are under way."""
        for _ in range(self._open_places):
            self._start_next()
        try:
            await self._all_ended
        finally:
            await self._stop()
            if self._error is not None:
                raise self._error

    def _start_next(self) -> None:
        planned = None if self._is_stopping else next(self._runs, None)
        if planned is None:
            self._open_places -= 1
            if not self._open_places and not self._all_ended.done():
                self._all_ended.set_result(None)
            return
        executor = self._executor
        trace_id = executor.client.recorder.new_id()
        task = self._loop.create_task(executor.execute(planned, trace_id), name="fluxloop-run")
        self._running[task] = planned, trace_id
        task.add_done_callback(self._ended, context=self._context)

    def _ended(self, task: asyncio.Task[Row]) -> None:
        if self._running.pop(task, None) is None:  # it was left behind
            if not task.cancelled():
                task.exception()  # so that asyncio does not log it
            return
        try:
            row = task.result()
        except RunCancelled as cancelled:
            row = cancelled.row
        except BaseException as exc:
            self._fail(exc)
            return
        self._store(row)

    def _store(self, row: Row) -> None:
        """Report the row of a run, and start the next one."""
        try:
            self._finished(row)
        except BaseException as exc:
            self._fail(exc)
        else:
            if self._delay_s:
                self._loop.call_later(self._delay_s, self._start_next, context=self._context)
            else:
                self._start_next()

    def _fail(self, error: BaseException) -> None:
        self._error = self._error or error
        self._is_stopping = True
        if not self._all_ended.done():
            self._all_ended.set_result(None)

    async def _stop(self) -> None:
        """Cancel the runs that are under way, and report those that end within `IGNORED_S`."""
        self._is_stopping = True
        if not self._running:
            return
        tasks = [*self._running]
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks, timeout=IGNORED_S)
        for task in [*self._running]:
            self._abandon(task)

    def _leave(self, task: asyncio.Task[Row]) -> None:
        """Go on without *task*, whose run was cancelled at its timeout and has not ended."""
        found = self._abandon(task)
        if found is not None:
            executor = self._executor
            message = f"the run took longer than {executor.deadlines.seconds:g} s (timeout_seconds), and did not end "
            message += f"within {IGNORED_S:g} s after it was cancelled"
            kind = RunTimeoutError.__name__
            self._store(lost_row(*found, message, 1, executor.label, kind=kind, status="timeout"))

    def _abandon(self, task: asyncio.Task[Row]) -> tuple[PlannedRun, str] | None:
        """Remove *task* from the tasks for whose end `asyncio.run` waits, and return its run."""
        abandon(task)
        return self._running.pop(task, None)
