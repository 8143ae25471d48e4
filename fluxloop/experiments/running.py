"""
Run experiments: `run` for ordinary code, `run_async` for coroutines.
"""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from os import PathLike
from typing import Any

from ..errors import ConfigError
from .engines.contract import Engine
from .environment import target_environment
from .exits import exits_contained
from .orchestration import EngineName, Progress, execute
from .preparing import Options, Prepared, prepare
from .results import Experiment


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
        engine: ``local``, ``processes``, ``ray``, or an object with the methods of an engine.
        resume: The folder of an interrupted experiment, whose other runs are executed.
        progress: Its methods are called as the experiment proceeds.

    Returns:
        The experiment. Runs that failed are part of the result, not errors.

    Raises:
        ConfigError: If the configuration, the target, an input or an argument is not valid. Nothing was written then.
        WriteError: If the folder cannot be written.
        KeyboardInterrupt: After Ctrl-C; the finished runs are in the folder, and the others can be resumed.
    """
    return run_prepared(_prepared(**locals()), engine=engine, progress=progress)


async def run_async(
    target: Callable[..., Any] | str | None = None, inputs: Sequence[Any] | None = None, **options: Any
) -> Experiment:
    """
    Run an experiment inside the current event loop. Takes the arguments of `run`, and returns and raises the same.
    """
    arguments = inspect.signature(run).bind(target, inputs, **options)
    arguments.apply_defaults()
    prepared = _prepared(**arguments.arguments)
    with target_environment(prepared.loaded):
        return await execute(prepared, engine=options.get("engine"), progress=options.get("progress"))


GO_ON = (
    "Finished runs are kept. In worker processes this ends its run only: "
    "fluxloop run experiment --resume experiments/latest_* --engine processes"
)


def run_prepared(
    prepared: Prepared,
    *,
    engine: EngineName | Engine | None = None,
    progress: Progress | None = None,
    install: bool = False,
    timeout_s: float | None = None,
) -> Experiment:
    """
    Run an experiment in a new event loop: of this thread, or of another one if this thread has a running loop.

    Args:
        prepared: The experiment.
        engine: As for `run`.
        progress: As for `run`.
        install: Whether to switch on the adapters of the frameworks that the target imports, until the process ends,
            and to contain its exits: for commands.
        timeout_s: The most time for the whole experiment.

    Raises:
        TimeoutError: If it takes longer; its finished runs are kept, and it can be resumed.
    """

    async def within_time() -> Experiment:
        async with asyncio.timeout(timeout_s):
            return await execute(prepared, engine=engine, progress=progress, install=install)

    def go() -> Experiment:
        with target_environment(prepared.loaded), exits_contained() if install else nullcontext():
            try:
                return asyncio.run(within_time())
            except asyncio.CancelledError:  # after Ctrl-C it is KeyboardInterrupt
                raise ConfigError(f"the target cancelled the tasks of the experiment. {GO_ON}") from None
            except RuntimeError as exc:
                if not str(exc).startswith("Event loop stopped"):
                    raise
                raise ConfigError(f"the target stopped the event loop of the experiment. {GO_ON}") from None

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


CONFIGURED = {
    "name": "name",
    "iterations": "iterations",
    "parallel": "parallel_runs",
    "timeout": "runner.timeout_seconds",
    "retries": "runner.max_retries",
    "limit": "limit",
    "seed": "seed",
}
"""The arguments of `run` that replace a value of the configuration, with its dotted key."""


def _prepared(**arguments: Any) -> Prepared:
    """Return the experiment that the arguments of `run` describe."""
    target, only, output = arguments["target"], arguments["input"], arguments["output"]
    values = {key: arguments[name] for name, key in CONFIGURED.items()}
    values["runner.target"] = target if isinstance(target, str) else None
    options = Options(
        {key: value for key, value in values.items() if value is not None},
        (only,) if isinstance(only, str) else tuple(only or ()),
        tuple(arguments["personas"]),
        None if output is None else str(output),
    )
    function = None if isinstance(target, str) else target
    return prepare(
        arguments["config"], options, function=function, inputs=arguments["inputs"], resume=arguments["resume"]
    )
