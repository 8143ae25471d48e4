"""
Execute runs in this process: each in a task of its own, with a context of its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

from ..deadlines import IGNORED_S, RunTimeoutError
from ..inputs import PlannedRun
from ..rows import Row, RunCancelled, lost_row
from .contract import Finished, Job


class LocalEngine:
    """Executes runs as tasks of the current event loop. Sync targets run in threads."""

    async def run(self, job: Job, runs: Iterator[PlannedRun], finished: Finished) -> None:
        """Execute *runs*; see `fluxloop.experiments.engines.contract.Engine`."""
        delay = job.loaded.config.run_delay_seconds
        tasks = _Tasks(job)

        async def work(number: int) -> None:
            for planned in runs:
                try:
                    finished(await tasks.execute(planned))
                except RunCancelled as cancelled:
                    finished(cancelled.row)
                    raise
                if delay:
                    await asyncio.sleep(delay)

        try:
            async with asyncio.TaskGroup() as group:
                for number in range(min(job.parallel, len(job.plan))):
                    group.create_task(work(number), name="fluxloop-worker")
        except BaseExceptionGroup as group_of_errors:
            raise first_of(group_of_errors) from None


class _Tasks:
    """
    Executes each run in a task of its own: what a target does to its context does not reach the next run.

    A target that ignores its cancellation does not delay the experiment: its task is left behind.
    """

    def __init__(self, job: Job) -> None:
        self._job = job
        self._waiting: dict[asyncio.Task[Row], asyncio.Future[Row]] = {}
        job.executor.deadlines.ignored = self._leave

    async def execute(self, planned: PlannedRun) -> Row:
        """Return the row of a run; raises RunCancelled."""
        executor = self._job.executor
        trace_id = executor.client.recorder.new_id()
        task = asyncio.create_task(executor.execute(planned, trace_id), name="fluxloop-run")
        future: asyncio.Future[Row] = asyncio.get_running_loop().create_future()
        self._waiting[task] = future
        task.add_done_callback(self._ended)
        try:
            return await future
        except _IgnoredCancellation:
            message = f"the run took longer than {executor.deadlines.seconds:g} s (timeout_seconds), and did not end "
            message += f"within {IGNORED_S:g} s after it was cancelled"
            kind = RunTimeoutError.__name__
            return lost_row(planned, trace_id, message, 1, executor.label, kind=kind, status="timeout")
        except asyncio.CancelledError:
            task.cancel()
            done, _ = await asyncio.wait([task], timeout=IGNORED_S)
            if done:
                task.result()  # raises RunCancelled, with the row
            self._leave(task)
            raise
        finally:
            self._waiting.pop(task, None)

    def _ended(self, task: asyncio.Task[Row]) -> None:
        future = self._waiting.get(task)
        if future is None or future.done():
            if not task.cancelled():
                task.exception()  # so that asyncio does not log it
        elif task.cancelled():
            future.cancel()
        elif (error := task.exception()) is not None:
            future.set_exception(error)
        else:
            future.set_result(task.result())

    def _leave(self, task: asyncio.Task[Any]) -> None:
        """Go on without *task*. It is removed from the tasks for whose end `asyncio.run` waits."""
        future = self._waiting.get(task)
        if future is not None and not future.done():
            future.set_exception(_IgnoredCancellation())
        asyncio._unregister_task(task)
        task._log_destroy_pending = False  # type: ignore[attr-defined]  # it stays pending until the process ends


class _IgnoredCancellation(Exception):
    """A run goes on although it was cancelled."""


def first_of(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return the first exception in *group* that is not a group."""
    first = group.exceptions[0]
    return first_of(first) if isinstance(first, BaseExceptionGroup) else first
