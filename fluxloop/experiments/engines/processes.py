"""
Execute runs in worker processes, for targets that compute: they do not share the interpreter's lock.

Each worker imports the target itself, and writes its records to the folder of the experiment.
"""

from __future__ import annotations

import asyncio
import pickle
import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection, Pipe
from pathlib import Path
from typing import Any

from ...errors import ConfigError, FluxLoopError
from ..agents import in_thread
from ..configuration.loading import Loaded
from ..conversation import supervisor_of
from ..environment import install_adapters, target_environment
from ..execution import Executor
from ..folder import ARTIFACTS
from ..inputs import Plan, PlannedRun
from ..records import ExperimentClient, RunStorage
from ..rows import Row, RunCancelled
from ..sources import source_of
from .contract import Finished, Job
from .interpreters import introduction, start
from .worker_settings import settings_for_workers, use_settings
from .workers import GRACE_S, WorkerLost, patience, run_on


@dataclass(frozen=True, slots=True)
class _Setup:
    """What a worker needs, as it is sent to it."""

    name: str
    folder: Path
    loaded: Loaded
    target: bytes
    """The target that was given in code, or None, pickled: importing its module may use the settings."""
    settings: Mapping[str, Any]
    """See `fluxloop.experiments.engines.worker_settings`."""


class ProcessEngine:
    """Executes runs in as many worker processes as runs are executed at the same time."""

    async def run(self, job: Job, runs: Iterator[PlannedRun], finished: Finished) -> None:
        """Execute *runs*; see `fluxloop.experiments.engines.contract.Engine`."""
        settings = settings_for_workers(pickle.dumps)
        try:
            setup = pickle.dumps(_Setup(job.name, job.folder, job.loaded, pickle.dumps(job.target), settings))
        except Exception as exc:
            raise ConfigError(
                f"{job.executor.source.name} cannot be sent to worker processes ({exc}). Give the target by its name, "
                "module:function, or use the engine local"
            ) from None
        count = min(job.parallel, len(job.plan))
        limit = patience(job.loaded.config)
        await run_on([_Worker(setup, limit) for _ in range(count)], job, runs, finished)


class _Worker:
    """A worker process, started when it is first needed and again after `stop`."""

    def __init__(self, setup: bytes, patience: float | None) -> None:
        self._setup, self._patience = setup, patience
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: Connection | None = None

    async def start(self) -> None:
        """Start the process unless it runs; see `fluxloop.experiments.engines.workers.Worker`."""
        if self._connection is None:
            await in_thread(self._start)
            await self._answer(None)

    async def execute(self, planned: PlannedRun, trace_id: str) -> Row:
        """Return the row of a run; raises WorkerLost if the process dies or does not answer."""
        assert self._connection is not None
        with suppress(BrokenPipeError, ConnectionResetError):  # it has died, which the answer shows
            self._connection.send((planned, trace_id))
        row: Row = await self._answer(self._patience)
        return row

    def _start(self) -> None:
        ours, theirs = Pipe()
        with theirs:
            self._process = start(work, theirs)
        self._connection = ours
        with suppress(BrokenPipeError, ConnectionResetError):  # it has died, which the answer shows
            ours.send((introduction(), self._setup))

    async def _answer(self, patience: float | None) -> Any:
        connection = self._connection
        assert connection is not None
        loop = asyncio.get_running_loop()
        readable: asyncio.Future[None] = loop.create_future()
        loop.add_reader(connection.fileno(), lambda: None if readable.done() else readable.set_result(None))
        try:
            async with asyncio.timeout(patience):
                await readable
            answer = connection.recv()
        except TimeoutError:
            raise WorkerLost(f"the worker process did not answer within {patience:g} s") from None
        except (EOFError, OSError, pickle.UnpicklingError):
            if self._process is not None:
                with suppress(subprocess.TimeoutExpired):
                    await in_thread(partial(self._process.wait, GRACE_S))
            raise WorkerLost(f"the worker process {_ending(self._process)}") from None
        finally:
            loop.remove_reader(connection.fileno())
        if isinstance(answer, ConfigError):
            raise answer
        return answer

    def stop(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(GRACE_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        if self._connection is not None:
            self._connection.close()
        self._process = self._connection = None


def _ending(process: subprocess.Popen[bytes] | None) -> str:
    code = process.returncode if process is not None else None
    if code is None:
        return "closed its connection"
    hint = ", as the system does when memory runs out" if -code == signal.SIGKILL else ""
    return f"was killed by {signal.Signals(-code).name}{hint}" if code < 0 else f"ended with exit code {code}"


def work(connection: Connection, setup: bytes) -> None:
    """Execute the runs that arrive at *connection*, in a worker process, until it is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the experiment, which ends the workers
    given: _Setup = pickle.loads(setup)
    ended = (EOFError, BrokenPipeError, ConnectionResetError, asyncio.CancelledError)
    try:
        with target_environment(given.loaded), suppress(*ended):
            asyncio.run(_serve(connection, given))
    except RuntimeError as exc:
        if not str(exc).startswith("Event loop stopped"):  # by the target; the experiment starts another worker
            raise


async def _serve(connection: Connection, given: _Setup) -> None:
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    use_settings(given.settings)
    client = ExperimentClient(RunStorage.in_folder(given.folder / ARTIFACTS, has_journal=True))
    config = given.loaded.config
    try:
        source = source_of(given.loaded, Plan((), 0), pickle.loads(given.target))
        executor = Executor(given.name, given.folder.name, config, source, client, supervisor_of(config), is_alone=True)
        if config.runner.install:
            install_adapters()
    except FluxLoopError as exc:
        connection.send(ConfigError(str(exc)))
        return
    connection.send("ready")
    try:
        while True:
            planned, trace_id = await in_thread(connection.recv)
            try:
                row = await executor.execute(planned, trace_id)
            except RunCancelled:
                return
            connection.send(row)
    finally:
        await source.close()
        client.close()
