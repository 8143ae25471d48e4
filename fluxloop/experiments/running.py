"""
Run experiments: `run` for ordinary code, `run_async` for coroutines.
"""

from __future__ import annotations

import asyncio
import contextvars
import shutil
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from os import PathLike
from pathlib import Path
from typing import Any, Literal, Protocol

from ..errors import ConfigError, WriteError
from . import provenance
from .configuration.loading import Loaded, load, merged, validated
from .configuration.masking import masked_config
from .conversation import supervisor_of
from .engines.contract import Engine, Job
from .engines.local import LocalEngine
from .environment import install_adapters, target_environment
from .execution import Executor, Row
from .folder import ARTIFACTS, FOLDER_VERSION, ExperimentFolder
from .inputs import Plan, PlannedRun, plan
from .records import ExperimentClient
from .results import Experiment, Totals
from .sources import source_of
from .targets import Target, of_callable
from .writing import FolderWriter, create_folder, point_to, reopen, this_process

EngineName = Literal["local", "processes"]


class Progress(Protocol):
    """Shows how an experiment proceeds. Every method is called in the thread of the experiment."""

    def started(self, prepared: Prepared, totals: Totals) -> None:
        """The first run is about to start."""

    def finished(self, row: Row, totals: Totals) -> None:
        """A run ended; it is counted in *totals* already."""

    def ended(self, totals: Totals) -> None:
        """No run will follow."""


@dataclass(frozen=True, slots=True)
class Options:
    """What a caller changes in a configuration."""

    values: Mapping[str, Any] = field(default_factory=dict)
    """Values by dotted key, as in ``{"iterations": 3}``."""
    only: tuple[str, ...] = ()
    personas: tuple[str, ...] = ()
    output: str | None = None

    def as_json(self) -> dict[str, Any]:
        """Return what `resume` needs to plan the same runs again."""
        return {"values": dict(self.values), "only": list(self.only), "personas": list(self.personas)}

    @classmethod
    def of_json(cls, data: Mapping[str, Any]) -> Options:
        """Return the options that `as_json` returned."""
        return cls(dict(data.get("values") or {}), tuple(data.get("only") or ()), tuple(data.get("personas") or ()))


@dataclass(slots=True)
class Prepared:
    """An experiment that can start: its configuration is valid, its target found, its runs planned."""

    name: str
    loaded: Loaded
    plan: Plan
    target: Target | None
    target_name: str
    options: Options
    resumed: ExperimentFolder | None = None
    finished_runs: frozenset[int] = frozenset()


def run(
    target: Callable[..., Any] | str | None = None,
    inputs: Sequence[Any] | None = None,
    *,
    config: str | PathLike[str] | Mapping[str, Any] | None = None,
    name: str | None = None,
    iterations: int | None = None,
    parallel: int | None = None,
    timeout: float | None = None,
    retries: int | None = None,
    limit: int | None = None,
    seed: int | None = None,
    input: str | Sequence[str] | None = None,
    personas: Sequence[str] = (),
    output: str | PathLike[str] | None = None,
    engine: EngineName | Engine | None = None,
    resume: str | PathLike[str] | None = None,
    progress: Progress | None = None,
) -> Experiment:
    """
    Run a target over inputs, and keep what it did in a new folder.

    It can be called inside a running event loop too, which it blocks; there, prefer `run_async`.

    Args:
        target: A function of any kind, or its name as ``module:function``; by default the configured one.
        inputs: Texts, other JSON values, or mappings with ``input`` and optionally ``expected``, ``metadata``,
            ``persona`` and ``id``; by default the configured ones.
        config: A file or folder, see `fluxloop.experiments.configuration.loading.find`, or the configuration itself.
            Without *target*, the one of the working directory.
        name: The name of the experiment; by default the configured one, or the name of the project's folder.
        iterations: How often each input is run.
        parallel: How many runs are executed at the same time.
        timeout: Seconds for one run.
        retries: How often a failed run is executed again.
        limit: The number of inputs; further ones are left out.
        seed: From which the seed of each run is derived.
        input: The ids of inputs; others are left out.
        personas: The names of personas; others are left out.
        output: The folder in which that of the experiment is created.
        engine: ``local``, ``processes``, or an object with the methods of an engine.
        resume: The folder of an interrupted experiment, whose other runs are executed.
        progress: Its methods are called as the experiment proceeds.

    Returns:
        The experiment. Runs that failed are part of the result, not errors.

    Raises:
        ConfigError: If the configuration, the target, an input or an argument is not valid. Nothing was written then.
        WriteError: If the folder cannot be written.
        KeyboardInterrupt: After Ctrl-C; the finished runs are in the folder, and the others can be resumed.
    """
    arguments = dict(locals())
    prepare = _preparation(**{key: value for key, value in arguments.items() if key not in ("engine", "progress")})
    return run_prepared(prepare, engine=engine, progress=progress)


async def run_async(
    target: Callable[..., Any] | str | None = None, inputs: Sequence[Any] | None = None, **options: Any
) -> Experiment:
    """
    Run an experiment inside the current event loop. Takes the arguments of `run`, and returns and raises the same.
    """
    engine, progress = options.pop("engine", None), options.pop("progress", None)
    prepare = _preparation(target, inputs, **options)
    prepared = prepare()
    with target_environment(prepared.loaded):
        return await execute(prepared, engine=engine, progress=progress)


def run_prepared(
    prepare: Callable[[], Prepared],
    *,
    engine: EngineName | Engine | None = None,
    progress: Progress | None = None,
    install: bool = False,
) -> Experiment:
    """
    Run an experiment in a new event loop: of this thread, or of another one if this thread has a running loop.

    Args:
        prepare: Returns the experiment.
        engine: As for `run`.
        progress: As for `run`.
        install: Whether to switch on the adapters of the frameworks that the target imports, until the process ends.
    """
    prepared = prepare()

    def go() -> Experiment:
        with target_environment(prepared.loaded):
            return asyncio.run(execute(prepared, engine=engine, progress=progress, install=install))

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return go()
    outcome: list[Experiment] = []
    errors: list[BaseException] = []

    def work() -> None:
        try:
            outcome.append(go())
        except BaseException as exc:
            errors.append(exc)

    thread = threading.Thread(target=contextvars.copy_context().run, args=(work,), name="fluxloop-experiment")
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return outcome[0]


def _preparation(
    target: Callable[..., Any] | str | None = None,
    inputs: Sequence[Any] | None = None,
    *,
    config: str | PathLike[str] | Mapping[str, Any] | None = None,
    name: str | None = None,
    iterations: int | None = None,
    parallel: int | None = None,
    timeout: float | None = None,
    retries: int | None = None,
    limit: int | None = None,
    seed: int | None = None,
    input: str | Sequence[str] | None = None,
    personas: Sequence[str] = (),
    output: str | PathLike[str] | None = None,
    resume: str | PathLike[str] | None = None,
) -> Callable[[], Prepared]:
    values = {
        "name": name,
        "iterations": iterations,
        "parallel_runs": parallel,
        "runner.timeout_seconds": timeout,
        "runner.max_retries": retries,
        "limit": limit,
        "seed": seed,
        "runner.target": target if isinstance(target, str) else None,
    }
    options = Options(
        {key: value for key, value in values.items() if value is not None},
        (input,) if isinstance(input, str) else tuple(input or ()),
        tuple(personas),
        None if output is None else str(output),
    )
    function = target if target is not None and not isinstance(target, str) else None
    return lambda: prepare(config, options, function=function, inputs=inputs, resume=resume)


def prepare(
    config: str | PathLike[str] | Mapping[str, Any] | None,
    options: Options,
    *,
    function: Any = None,
    inputs: Sequence[Any] | None = None,
    resume: str | PathLike[str] | None = None,
) -> Prepared:
    """
    Read the configuration and plan the runs. Nothing is imported or written yet.

    Raises:
        ConfigError: If something is not valid.
        ReadError: If *resume* is not an experiment.
    """
    resumed = ExperimentFolder.at(resume) if resume is not None else None
    if resumed is not None:
        source = resumed.summary.get("source") or {}
        config = config if config is not None else source.get("config")
        given = Options.of_json(source.get("options") or {})
        options = replace(
            options,
            values={**given.values, **options.values},
            only=options.only or given.only,
            personas=options.personas or given.personas,
        )
    loaded = _loaded(config, options, has_target=function is not None or "runner.target" in options.values)
    planned = plan(loaded, inputs=inputs, only=options.only, personas=options.personas)
    planned = _replayed(loaded, planned)
    target = of_callable(function) if function is not None else None
    name = loaded.config.name or (resumed.name if resumed else None) or loaded.base.resolve().name or "experiment"
    runner = loaded.config.runner
    target_name = target.name if target else runner.target or _remote_name(loaded)
    prepared = Prepared(name, loaded, planned, target, target_name, options, resumed)
    if resumed is not None:
        prepared.finished_runs = frozenset(reopen(resumed, planned.fingerprint))
    return prepared


def _remote_name(loaded: Loaded) -> str:
    runner = loaded.config.runner
    if runner.http:
        return f"{runner.http.method} {runner.http.url}"
    if runner.process:
        command = runner.process.command
        return command if isinstance(command, str) else " ".join(command)
    return f"{runner.module_path}:{runner.function_name}" if runner.module_path else ""


def _loaded(config: Any, options: Options, *, has_target: bool) -> Loaded:
    if isinstance(config, Mapping) or (config is None and has_target):
        data: dict[str, Any] = dict(config or {})
        for key, value in options.values.items():
            data = merged(data, _nested(key, value))
        return Loaded(validated(data, source="config"), Path.cwd())
    return load(None if config is None else Path(config), options.values)


def _nested(key: str, value: Any) -> dict[str, Any]:
    first, _, rest = key.partition(".")
    return {first: _nested(rest, value) if rest else value}


def _replayed(loaded: Loaded, planned: Plan) -> Plan:
    """Return the plan with one run per recorded call, if ``replay_args.mode`` is ``each``."""
    replay = loaded.config.replay_args
    if not replay.enabled or replay.mode != "each":
        return planned
    from .replaying import replay_of

    found = replay_of(replay, loaded.base, loaded.config.runner.target or "")
    return Plan(planned.entries[:1], len(found.calls) * loaded.config.repeats)


async def execute(
    prepared: Prepared,
    *,
    engine: EngineName | Engine | None = None,
    progress: Progress | None = None,
    install: bool = False,
) -> Experiment:
    """
    Execute a prepared experiment inside `target_environment`. Returns and raises as `run`.

    A cancelled experiment writes its summary before it raises `asyncio.CancelledError`.
    """
    loaded, planned = prepared.loaded, prepared.plan
    # Everything that can be wrong is found before a folder exists.
    source = source_of(loaded, planned, prepared.target)
    supervisor = supervisor_of(loaded.config)
    if install and loaded.config.runner.install:
        install_adapters()
    chosen = _engine(engine, loaded)
    if prepared.resumed is not None:
        folder, created = prepared.resumed.path, False
    else:
        parent = Path(prepared.options.output) if prepared.options.output else loaded.config.output_folder(loaded.base)
        folder, created = create_folder(parent.absolute(), prepared.name, datetime.now()), True
    client = ExperimentClient(folder / ARTIFACTS)
    writer = FolderWriter(folder, client)
    executor = Executor(prepared.name, folder.name, loaded.config, source, client, supervisor)
    totals = _totals_so_far(prepared)
    started = datetime.now(UTC)
    facts = _facts(prepared, started)
    git: list[Any] = []
    git_thread = threading.Thread(target=lambda: git.append(provenance.git_state(loaded.base.resolve())), daemon=True)
    git_thread.start()
    finished_count = totals.finished

    def summary(state: str) -> dict[str, Any]:
        return {**facts, "state": state, "git": git[0] if git else None, "results": totals.as_json()}

    def finished(row: Row) -> None:
        writer.write(row)
        totals.add(row)
        if progress is not None:
            progress.finished(row, totals)

    state = "interrupted"
    try:
        writer.write_summary(summary("running"))
        point_to(folder, prepared.name)
        if progress is not None:
            progress.started(prepared, totals)
        job = Job(prepared.name, folder, loaded, planned, prepared.target, executor)
        await chosen.run(job, _remaining(planned, prepared.finished_runs), finished)
        state = "finished"
    finally:
        if progress is not None:
            progress.ended(totals)
        git_thread.join(provenance.GIT_TIMEOUT_S)
        facts["finished_at"] = datetime.now(UTC).isoformat()
        facts["versions"] = provenance.versions()
        await source.close()
        if supervisor is not None:
            await supervisor.close()
        client.close()
        is_empty = created and totals.finished == finished_count and state != "finished"
        try:
            writer.write_full_rows()
            writer.write_errors()
            writer.write_summary(summary(state))
        except WriteError:  # already raised by what interrupted the experiment
            if state == "finished":
                raise
        writer.close()
        if is_empty and not any(path.stat().st_size for path in (folder / ARTIFACTS).iterdir()):
            _remove(folder)
    return experiment_of(folder, prepared.name, totals)


def experiment_of(folder: Path, name: str, totals: Totals) -> Experiment:
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


def _remove(folder: Path) -> None:
    """Remove a folder in which nothing was recorded."""
    shutil.rmtree(folder, ignore_errors=True)
    for link in folder.parent.glob("latest_*"):
        if link.is_symlink() and not link.exists():
            link.unlink(missing_ok=True)


def _engine(engine: EngineName | Engine | None, loaded: Loaded) -> Engine:
    if engine is None:
        engine = "processes" if loaded.config.runner.processes else "local"
    if engine == "local":
        return LocalEngine()
    if engine == "processes":
        from .engines.processes import ProcessEngine

        return ProcessEngine()
    if isinstance(engine, str):
        raise ConfigError(f"engine must be local or processes, got {engine!r}")
    return engine


def _remaining(planned: Plan, finished: frozenset[int]) -> Iterator[PlannedRun]:
    return (run for run in planned if run.number not in finished)


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
