"""
Execute runs on workers outside this process. Each worker executes one run at a time.

A worker that dies, or does not answer long after the timeout, is replaced; its run is executed again, once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Protocol

from ..agents import in_thread
from ..configuration.models import ExperimentConfig
from ..inputs import PlannedRun
from ..rows import Row, RunCancelled, lost_row
from .contract import Finished, Job

GRACE_S = 5.0
"""Seconds that a worker may take beyond the timeouts of a run, and to end when it is asked to."""

ATTEMPTS = 2
"""How often a run is given to a worker, if workers die."""


class WorkerLost(Exception):
    """A worker died, or does not answer."""


class Worker(Protocol):
    """Executes runs elsewhere, one at a time."""

    async def start(self) -> None:
        """
        Start the worker unless it runs.

        Raises:
            WorkerLost: If it dies meanwhile.
            ConfigError: If it cannot import the target.
        """

    async def execute(self, planned: PlannedRun, trace_id: str) -> Row:
        """
        Return the row of a run; raises WorkerLost, and RunCancelled if it knows how a cancelled run ended.
        """

    def stop(self) -> None:
        """End the worker. It can be started again."""


async def run_on(workers: Sequence[Worker], job: Job, runs: Iterator[PlannedRun], finished: Finished) -> None:
    """Execute *runs* on *workers*; see `fluxloop.experiments.engines.contract.Engine`."""
    starting: set[asyncio.Task[None]] = set()

    async def work(worker: Worker) -> None:
        task = asyncio.current_task()
        assert task is not None
        starting.add(task)
        with suppress(WorkerLost):  # it is started again with the first run
            await worker.start()
        starting.discard(task)
        for planned in runs:
            try:
                finished(await _executed(worker, planned, job))
            except RunCancelled as cancelled:
                finished(cancelled.row)
                raise
        for late in starting:  # no run is left for workers that still wait for a free machine
            late.cancel()

    tasks = [asyncio.create_task(work(worker), name="fluxloop-worker") for worker in workers]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        for task in tasks:
            if task.done() and not task.cancelled():
                task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.gather(*(in_thread(worker.stop) for worker in workers))


async def _executed(worker: Worker, planned: PlannedRun, job: Job) -> Row:
    """Return the row of a run, executed a second time if the worker dies."""
    for attempt in range(1, ATTEMPTS + 1):
        trace_id = job.executor.client.recorder.new_id()
        try:
            await worker.start()
            row = await worker.execute(planned, trace_id)
        except WorkerLost as exc:
            await in_thread(worker.stop)
            if attempt == ATTEMPTS:
                return lost_row(planned, trace_id, str(exc), attempt, job.executor.label)
        else:
            if row["status"] == "timeout":  # a thread may still compute
                await in_thread(worker.stop)
            return row
    raise AssertionError


def patience(config: ExperimentConfig) -> float | None:
    """Return the seconds after which a worker does not answer any more; None without a timeout."""
    runner = config.runner
    if runner.timeout_seconds is None:
        return None
    pauses: float = sum(1.2 * runner.retry_delay * 2**attempt for attempt in range(runner.max_retries))
    return float(runner.timeout_seconds) * (runner.max_retries + 1) + pauses + GRACE_S
