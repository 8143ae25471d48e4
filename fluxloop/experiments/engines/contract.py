"""
The protocol of engines, and what an engine needs to know.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ..configuration.loading import Loaded
from ..execution import Executor
from ..inputs import Plan, PlannedRun
from ..rows import Row
from ..targets import Target


@dataclass(frozen=True, slots=True)
class Job:
    """An experiment, as an engine receives it."""

    name: str
    folder: Path
    loaded: Loaded
    plan: Plan
    target: Target | None
    """A target that was given in code; None for the one that the configuration names."""
    executor: Executor
    """Executes runs in this process. Workers of other engines create their own from the other fields."""

    @property
    def parallel(self) -> int:
        """How many runs are executed at the same time."""
        return self.loaded.config.parallel_runs


Finished = Callable[[Row], None]
"""Is called with the row of each run when it has ended, in the thread of the engine; it may raise WriteError."""


class Engine(Protocol):
    """Executes the runs of an experiment."""

    async def run(self, job: Job, runs: Iterator[PlannedRun], finished: Finished) -> None:
        """
        Execute all *runs*, at most ``job.parallel`` at the same time, and call *finished* once for each.

        A cancelled engine cancels its runs, and calls *finished* for those that report how they ended. A run whose
        worker is lost is executed again, once.

        Raises:
            WriteError: If a row could not be written; the other runs are cancelled.
        """
