"""
Execute runs in this process: each in a task of its own, with a context of its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from ..inputs import PlannedRun
from ..rows import RunCancelled
from .contract import Finished, Job


class LocalEngine:
    """Executes runs as tasks of the current event loop. Sync targets run in threads."""

    async def run(self, job: Job, runs: Iterator[PlannedRun], finished: Finished) -> None:
        """Execute *runs*; see `fluxloop.experiments.engines.contract.Engine`."""
        delay = job.loaded.config.run_delay_seconds
        execute = job.executor.execute

        async def work(number: int) -> None:
            for planned in runs:
                try:
                    # A task of its own: what a target does to its context does not reach the next run.
                    finished(await asyncio.create_task(execute(planned), name="fluxloop-run"))
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


def first_of(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return the first exception in *group* that is not a group."""
    first = group.exceptions[0]
    return first_of(first) if isinstance(first, BaseExceptionGroup) else first
