"""
Execute a prepared experiment: its folder, its engine, its summary.
"""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import Any, Literal, Protocol

from ..errors import ConfigError, WriteError
from . import provenance
from .agents import AgentSource
from .configuration.loading import Loaded
from .configuration.masking import masked_config
from .conversation import Supervising, supervisor_of
from .engines.contract import Engine, Job
from .environment import install_adapters
from .execution import Executor
from .folder import ARTIFACTS, FOLDER_VERSION
from .preparing import Prepared
from .records import ExperimentClient, RunStorage
from .results import Experiment, Totals
from .rows import Row
from .sources import source_of
from .writing import FolderLock, FolderWriter, create_folder, point_to, remove_folder, reopen, this_process

EngineName = Literal["local", "processes", "ray"]

ENGINES = {
    "local": ".engines.local:LocalEngine",
    "processes": ".engines.processes:ProcessEngine",
    "ray": ".engines.ray_cluster:RayEngine",
}
"""The engines by name, each with its class, which is loaded when it is chosen."""


class Progress(Protocol):
    """Shows how an experiment proceeds. Every method is called in the thread of the experiment."""

    def started(self, prepared: Prepared, totals: Totals) -> None:
        """The first run is about to start."""

    def finished(self, row: Row, totals: Totals) -> None:
        """A run ended; it is counted in *totals* already."""

    def ended(self, totals: Totals) -> None:
        """No run will follow."""


async def execute(
    prepared: Prepared,
    *,
    engine: EngineName | Engine | None = None,
    progress: Progress | None = None,
    install: bool = False,
) -> Experiment:
    """
    Execute a prepared experiment inside `target_environment`. Returns and raises as `fluxloop.experiments.run`.

    A cancelled experiment writes its summary before it raises `asyncio.CancelledError`.
    """
    config = prepared.loaded.config
    # Everything that can be wrong is found before a folder exists.
    source = source_of(prepared.loaded, prepared.plan, prepared.target)
    supervisor = supervisor_of(config)
    chosen = _engine(engine, prepared.loaded)
    if install and config.runner.install:
        install_adapters()
    return await _Orchestration(prepared, source, supervisor, progress).run(chosen)


class _Orchestration:
    """One experiment from the creation of its folder to its last summary."""

    def __init__(
        self, prepared: Prepared, source: AgentSource, supervisor: Supervising | None, progress: Progress | None
    ) -> None:
        self._prepared, self._source, self._supervisor, self._progress = prepared, source, supervisor, progress
        self.folder = prepared.resumed.path if prepared.resumed is not None else _new_folder(prepared)
        self._lock = FolderLock(self.folder)
        if prepared.resumed is not None:  # another process may have executed runs since it was prepared
            prepared.finished_runs = frozenset(reopen(prepared.resumed))
        self._client = ExperimentClient(RunStorage.in_folder(self.folder / ARTIFACTS))
        self._writer = FolderWriter(self.folder, self._client)
        self._totals = _totals_so_far(prepared)
        self._finished_before = self._totals.finished
        self._facts = _facts(prepared, datetime.now(UTC))
        self._git: dict[str, Any] | None = None
        self._git_thread = threading.Thread(target=self._read_git, name="fluxloop-git", daemon=True)

    def _read_git(self) -> None:
        self._git = provenance.git_state(self._prepared.loaded.base.resolve())

    async def run(self, engine: Engine) -> Experiment:
        """Execute the runs, and write the folder whatever happens."""
        prepared, loaded = self._prepared, self._prepared.loaded
        executor = Executor(
            prepared.name, self.folder.name, loaded.config, self._source, self._client, self._supervisor
        )
        job = Job(prepared.name, self.folder, loaded, prepared.plan, prepared.target, executor)
        runs = (run for run in prepared.plan if run.number not in prepared.finished_runs)
        state = "interrupted"
        try:
            self._start()
            await engine.run(job, runs, self._finished)
            state = "finished"
        except WriteError as exc:
            if self._totals.finished:
                exc.add_note(f"finished runs are kept. Go on with: fluxloop run experiment --resume {self.folder}")
            raise
        finally:
            await self._end(state)
        return _experiment(self.folder, prepared.name, self._totals)

    def _start(self) -> None:
        if provenance.is_in_repository(self._prepared.loaded.base.resolve()):
            self._git_thread.start()
        self._writer.write_summary(self._summary("running"))
        point_to(self.folder, self._prepared.name)
        if self._progress is not None:
            self._progress.started(self._prepared, self._totals)

    def _finished(self, row: Row) -> None:
        self._writer.write(row)
        self._totals.add(row)
        if self._progress is not None:
            self._progress.finished(row, self._totals)

    async def _end(self, state: str) -> None:
        if self._progress is not None:
            self._progress.ended(self._totals)
        if self._git_thread.ident is not None:
            self._git_thread.join(provenance.GIT_TIMEOUT_S)
        self._facts |= {"finished_at": datetime.now(UTC).isoformat(), "versions": provenance.versions()}
        await self._source.close()
        if self._supervisor is not None:
            await self._supervisor.close()
        self._client.close()
        try:
            self._writer.write_full_rows()
            self._writer.write_errors(self._totals.failed)
            self._writer.write_summary(self._summary(state))
        except WriteError:  # otherwise it is the error that ended the experiment
            if state == "finished":
                raise
        finally:
            self._writer.close()
            self._lock.close()
        if state != "finished" and self._is_empty():
            remove_folder(self.folder)

    def _summary(self, state: str) -> dict[str, Any]:
        return {**self._facts, "state": state, "git": self._git, "results": self._totals.as_json()}

    def _is_empty(self) -> bool:
        """Whether the experiment was created now, and nothing was recorded."""
        artifacts = (self.folder / ARTIFACTS).iterdir()
        return (
            self._prepared.resumed is None
            and self._totals.finished == self._finished_before
            and not any(path.stat().st_size for path in artifacts)
        )


def _new_folder(prepared: Prepared) -> Path:
    loaded, output = prepared.loaded, prepared.options.output
    parent = Path(output) if output else loaded.config.output_folder(loaded.base)
    return create_folder(parent.absolute(), prepared.name, datetime.now())


def _experiment(folder: Path, name: str, totals: Totals) -> Experiment:
    """Return the result for *totals*."""
    return Experiment(
        folder,
        name,
        totals.planned,
        totals.succeeded,
        totals.failed,
        totals.success_rate,
        totals.seconds,
        totals.cost,
    )


def _engine(engine: EngineName | Engine | None, loaded: Loaded) -> Engine:
    if engine is None:
        engine = "processes" if loaded.config.runner.processes else "local"
    if not isinstance(engine, str):
        return engine
    if engine not in ENGINES:
        raise ConfigError(f"engine must be one of {', '.join(ENGINES)}, got {engine!r}")
    module, _, name = ENGINES[engine].partition(":")
    chosen: Engine = getattr(import_module(module, __package__), name)()
    return chosen


def _totals_so_far(prepared: Prepared) -> Totals:
    totals = Totals(len(prepared.plan))
    if prepared.resumed is not None:
        for row in prepared.resumed.rows():
            totals.add(row.data)
    return totals


def _facts(prepared: Prepared, started: datetime) -> dict[str, Any]:
    """Return what summary.json says of the experiment besides its results."""
    config = prepared.loaded.config
    shown = masked_config(config)
    planned, resumed = prepared.plan, prepared.resumed
    path = prepared.loaded.path
    return {
        "folder_version": FOLDER_VERSION,
        "name": prepared.name,
        "date": started.isoformat() if resumed is None else resumed.summary.get("date"),
        "resumed_at": None if resumed is None else started.isoformat(),
        "finished_at": None,
        "target": prepared.target_name,
        "seed": config.seed,
        "plan": {
            "inputs": len(planned.entries),
            "iterations": planned.iterations,
            "runs": len(planned),
            "fingerprint": planned.fingerprint,
        },
        "source": {"config": str(path.resolve()) if path else None, "options": prepared.options.as_json()},
        "config": shown,
        "process": this_process(),
        "versions": provenance.versions(),
        "machine": provenance.machine(),
    }
