"""
Execute runs on a Ray cluster, or on a Ray of this machine that is started for the experiment.

Each worker is a Ray actor that imports the target itself and executes one run at a time. Its records come back with the
row of the run, so the machines need no common disk.
"""

from __future__ import annotations

import asyncio
import os
import pickle
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ...errors import ConfigError, FluxLoopError
from ..configuration.loading import Loaded
from ..conversation import supervisor_of
from ..environment import install_adapters, target_environment
from ..execution import Executor
from ..inputs import Plan, PlannedRun
from ..line_file import LineBuffer
from ..records import KINDS, ExperimentClient, RunStorage
from ..rows import Row, RunCancelled
from ..sources import source_of
from .contract import Finished, Job
from .worker_settings import settings_for_workers, use_settings
from .workers import GRACE_S, WorkerLost, patience, run_on

NOT_UPLOADED = ["experiments", "traces", ".git", ".venv", "venv", "node_modules", "__pycache__"]
"""Folders of a project that are not sent to a cluster, besides those in its .gitignore."""

CONNECT_S = 10.0
"""Seconds within which a cluster has to accept a connection."""

Records = dict[str, list[bytes]]
"""The lines that a worker recorded, by kind."""


@dataclass(frozen=True, slots=True)
class _Setup:
    """What a worker needs, as it is sent to it."""

    name: str
    label: str
    loaded: Loaded
    target: bytes
    """The target that was given in code, or None, pickled: it can be loaded once the project is importable."""
    is_uploaded: bool
    """Whether the project is in the working directory of the worker."""
    version: str
    """The version of FluxLoop that sends it."""
    settings: bytes
    """See `fluxloop.experiments.engines.worker_settings`; pickled, as they may refer to modules of the project."""


class RayEngine:
    """
    Executes runs on Ray: a cluster, or this machine.

    A program that called ``ray.init`` itself keeps its connection, with the runtime environment it chose.

    Args:
        address: Of the cluster, as for ``ray.init``; by default RAY_ADDRESS, or else a Ray that is started on this
            machine with as many CPUs as runs are executed at the same time, and ended with the experiment.
    """

    def __init__(self, address: str | None = None) -> None:
        self.address = address or os.environ.get("RAY_ADDRESS") or "local"

    async def run(self, job: Job, runs: Iterator[PlannedRun], finished: Finished) -> None:
        """Execute *runs*; see `fluxloop.experiments.engines.contract.Engine`."""
        ray = _imported()
        with self._connected(ray, job) as is_uploaded:
            setup = _setup(ray, job, is_uploaded)
            actor = ray.remote(num_cpus=1, max_restarts=0, max_concurrency=2)(RunWorker)
            count = min(job.parallel, len(job.plan))
            storage, limit = job.executor.client.storage, patience(job.loaded.config)
            await run_on([_Worker(ray, actor, setup, storage, limit) for _ in range(count)], job, runs, finished)

    @contextmanager
    def _connected(self, ray: Any, job: Job) -> Iterator[bool]:
        """Connect to Ray inside a block, and yield whether the project was sent to it."""
        if ray.is_initialized():
            yield False
            return
        options: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
        is_cluster = self.address != "local"
        if is_cluster:
            folder = str(job.loaded.base.resolve())
            options["runtime_env"] = {"working_dir": folder, "excludes": NOT_UPLOADED}
        else:
            options |= {"num_cpus": min(job.parallel, len(job.plan)), "include_dashboard": False}
        try:
            _check_port(self.address)
            with _no_usage_report():
                ray.init(address=self.address, **options)
        except Exception as exc:
            raise ConfigError(
                f"cannot connect to Ray at {self.address}: {exc}. Expected the address of a running cluster, such as "
                "auto, host:6379 or ray://host:10001, with the same versions of Python and Ray, and its token"
            ) from None
        try:
            yield is_cluster
        finally:
            ray.shutdown()


def _imported() -> Any:
    try:
        import ray
    except ImportError:
        raise ConfigError("the engine ray needs Ray, which is not installed: pip install 'fluxloop[ray]'") from None
    return ray


def _check_port(address: str) -> None:
    """Raise OSError if no server listens at *address*: Ray itself tries for minutes."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if colon and port.isdecimal():
        socket.create_connection((host.strip("[]"), int(port)), CONNECT_S).close()


@contextmanager
def _no_usage_report() -> Iterator[None]:
    """Start Ray without its reports of usage to its makers, unless the environment asks for them."""
    name = "RAY_USAGE_STATS_ENABLED"
    if name in os.environ:
        yield
        return
    os.environ[name] = "0"
    try:
        yield
    finally:
        os.environ.pop(name, None)


def _setup(ray: Any, job: Job, is_uploaded: bool) -> bytes:
    from fluxloop import __version__

    loaded = replace(job.loaded, base=job.loaded.base.resolve())
    settings = ray.cloudpickle.dumps(settings_for_workers(ray.cloudpickle.dumps, elsewhere=is_uploaded))
    try:
        target = ray.cloudpickle.dumps(job.target)
        setup: bytes = ray.cloudpickle.dumps(
            _Setup(job.name, job.folder.name, loaded, target, is_uploaded, __version__, settings)
        )
    except Exception as exc:
        raise ConfigError(
            f"{job.executor.source.name} cannot be sent to workers ({exc}). Give the target by its name, "
            "module:function, or use the engine local"
        ) from None
    return setup


class _Worker:
    """An actor, started when it is first needed and again after `stop`."""

    def __init__(self, ray: Any, actor_class: Any, setup: bytes, storage: RunStorage, limit_s: float | None) -> None:
        self._ray, self._actor_class, self._setup = ray, actor_class, setup
        self._storage, self._limit_s = storage, limit_s
        self._actor: Any = None

    async def start(self) -> None:
        """Start the actor unless it runs; see `fluxloop.experiments.engines.workers.Worker`."""
        if self._actor is None:
            self._actor = self._actor_class.remote()
            error = await self._answer(self._actor.start.remote(self._setup))
            if error is not None:
                raise ConfigError(error)

    async def execute(self, planned: PlannedRun, trace_id: str) -> Row:
        """Return the row of a run, and store its records; see `fluxloop.experiments.engines.workers.Worker`."""
        actor = self._actor
        answer = asyncio.ensure_future(self._answer(actor.execute.remote(planned, trace_id)))
        try:
            async with asyncio.timeout(self._limit_s):
                return self._stored(await asyncio.shield(answer))
        except TimeoutError:
            answer.cancel()
            raise WorkerLost(f"the Ray worker did not answer within {self._limit_s:g} s") from None
        except asyncio.CancelledError:
            actor.cancel.remote()
            with suppress(TimeoutError, WorkerLost):
                raise RunCancelled(self._stored(await asyncio.wait_for(answer, GRACE_S))) from None
            raise

    def _stored(self, answer: tuple[Row, Records]) -> Row:
        row, records = answer
        self._storage.append(records)
        return row

    async def _answer(self, reference: Any) -> Any:
        try:
            return await reference
        except self._ray.exceptions.RayTaskError as exc:
            raise WorkerLost(f"the Ray worker failed: {_last_line(exc)}") from None
        except self._ray.exceptions.RayError as exc:
            raise WorkerLost(f"the Ray worker died: {_cause(exc)}") from None

    def stop(self) -> None:
        """End the actor."""
        if self._actor is not None:
            with suppress(Exception):  # it has died, or the cluster has
                self._ray.kill(self._actor)
        self._actor = None


def _last_line(exc: BaseException) -> str:
    return str(exc).strip().rpartition("\n")[2]


def _cause(exc: BaseException) -> str:
    """Return the sentence in which Ray says why a worker ended, or its type of error."""
    for line in str(exc).splitlines():
        if "exit" in line.lower() or "died because" in line.lower():
            return line.strip()
    return type(exc).__name__


class RunWorker:
    """Executes runs in an actor."""

    def __init__(self) -> None:
        self._environment = ExitStack()
        self._buffers = {kind: LineBuffer() for kind in KINDS}
        self._run: asyncio.Task[Row] | None = None

    async def start(self, setup: bytes) -> str | None:
        """Import the target. Return what is wrong with the configuration, or None."""
        from fluxloop import __version__

        given: _Setup = pickle.loads(setup)
        if given.version != __version__:
            return f"the Ray worker has FluxLoop {__version__}, expected {given.version} as on this machine"
        loaded = replace(given.loaded, base=Path.cwd()) if given.is_uploaded else given.loaded
        config = loaded.config
        try:
            self._environment.enter_context(target_environment(loaded))
            use_settings(pickle.loads(given.settings))
            client = ExperimentClient(RunStorage(self._buffers))
            source = source_of(loaded, Plan((), 0), pickle.loads(given.target))
            supervisor = supervisor_of(config)
            self._executor = Executor(given.name, given.label, config, source, client, supervisor, is_alone=True)
            if config.runner.install:
                install_adapters()
        except FluxLoopError as exc:
            return str(exc)
        except Exception as exc:
            return f"a Ray worker cannot load the target: {type(exc).__name__}: {exc}"
        return None

    async def execute(self, planned: PlannedRun, trace_id: str) -> tuple[Row, Records]:
        """Return the row of a run, and what was recorded since the last one."""
        self._run = asyncio.ensure_future(self._executor.execute(planned, trace_id))
        try:
            row = await self._run
        except RunCancelled as cancelled:
            row = cancelled.row
        return row, {kind: buffer.take() for kind, buffer in self._buffers.items()}

    async def cancel(self) -> None:
        """Cancel the run, whose row then has that status."""
        if self._run is not None:
            self._run.cancel()
