"""
Experiments in tests: the fixtures ``fluxloop_runner``, in this process, and ``fluxloop_cli``, with the commands.

Both take the same arguments, those that the published FluxLoop packages document among them.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import fluxloop

from ..errors import ConfigError, FluxLoopError
from ..experiments.configuration.loading import assign, find, load, merged
from ..experiments.preparing import Options, prepare
from ..experiments.running import run_prepared
from .experiment_results import FluxLoopTestResult

WORKSPACE = ".fluxloop_pytest"
"""The folder in the project for the files of ``fluxloop_cli``."""
TIMEOUT_S = 600.0
"""The most time that an experiment may take, unless the test says another."""


class ExperimentRunner:
    """
    Runs the experiment of a project in this process.

    Args:
        root: The project, unless a call names another.
        values: Values of the configuration, by dotted key.
    """

    def __init__(self, root: Path, values: Mapping[str, Any] | None = None) -> None:
        self._root = root
        self._values = dict(values or {})

    def __call__(
        self,
        project_root: str | Path | None = None,
        simulation_config: str | Path | None = None,
        overrides: Mapping[str, Any] | None = None,
        env: Mapping[str, Any] | None = None,
        timeout: float | None = TIMEOUT_S,
        *,
        config_path: str | Path | None = None,
        iterations: int | None = None,
        input_text: str | None = None,
        require_inputs_file: bool = True,
        cli_args: Sequence[str] = (),
    ) -> FluxLoopTestResult:
        """
        Run the experiment, and return its result; it works in ``async def`` tests too, whose loop it blocks.

        Args:
            project_root: The folder of the project; by default the root of the pytest session.
            simulation_config: The configuration, relative to the project; by default the one of the project.
            overrides: Values that replace those of the configuration: nested, or by dotted key. ``personas`` may be a
                list of names: personas with other names are left out.
            env: Environment variables during the experiment. The folders in ``PYTHONPATH`` are importable.
            timeout: Seconds for the whole experiment; None for no limit.
            config_path: The same as *simulation_config*.
            iterations: How often each input is run.
            input_text: The only input, instead of the configured ones.
            require_inputs_file: Has no effect: inputs may always be in the configuration.
            cli_args: Further options of the command, for ``fluxloop_cli``.

        Raises:
            ConfigError: If the configuration has a mistake, or the target cannot be imported.
            AssertionError: If the experiment takes too long.
        """
        __tracebackhide__ = True
        root = Path(project_root if project_root is not None else self._root).expanduser().resolve()
        values = {**self._values, **_flat(overrides or {})}
        if iterations is not None:
            values["iterations"] = iterations
        if input_text is not None:
            values |= {"base_inputs": [{"input": input_text}], "inputs_file": None}
        try:
            config = _config(root, simulation_config or config_path)
            texts = {name: str(value) for name, value in (env or {}).items()}
            return self._run(root, config, values, texts, timeout, [str(each) for each in cli_args])
        except FluxLoopError as error:
            raise type(error)(str(error)) from None  # without the frames of FluxLoop
        except TimeoutError:
            raise AssertionError(f"the experiment in {root} took longer than {timeout:g} s") from None

    def _run(
        self,
        root: Path,
        config: Path,
        values: dict[str, Any],
        env: dict[str, str],
        timeout_s: float | None,
        cli_args: list[str],
    ) -> FluxLoopTestResult:
        if cli_args:
            raise ConfigError("cli_args are for the fixture fluxloop_cli; fluxloop_runner runs no command")
        personas = _names(values)
        with _environment(env), _adapters_restored():
            prepared = prepare(config, Options(values, personas=personas))
            return FluxLoopTestResult.of_folder(run_prepared(prepared, install=True, timeout_s=timeout_s).folder)


class CommandRunner(ExperimentRunner):
    """Runs the experiment of a project with the commands ``fluxloop run`` and ``fluxloop parse``."""

    def _run(
        self,
        root: Path,
        config: Path,
        values: dict[str, Any],
        env: dict[str, str],
        timeout_s: float | None,
        cli_args: list[str],
    ) -> FluxLoopTestResult:
        __tracebackhide__ = True
        personas = _names(values)
        workspace = root / WORKSPACE
        (workspace / "logs").mkdir(parents=True, exist_ok=True)
        (workspace / ".gitignore").write_text("*\n")
        logs = Logs(workspace / "logs" / uuid4().hex)
        with _written(config, values, root) as file:
            arguments = ["run", "experiment", "--config", str(file), "--output", str(workspace / "outputs"), "--json"]
            arguments += ["--yes", *(["--personas", ",".join(personas)] if personas else []), *cli_args]
            done = logs.run(arguments, root, env, timeout_s)
        try:
            folder = Path(json.loads(done.stdout)["folder"])
        except (ValueError, KeyError, TypeError):
            message = _failed(arguments, done, logs)  # names the project's configuration, not the file that is removed
            raise AssertionError(
                message.replace(f"{file}, line 1", str(config)).replace(str(file), str(config))
            ) from None
        parsed = logs.run(["parse", "experiment", str(folder)], root, env, timeout_s)
        if parsed.returncode:
            raise AssertionError(_failed(["parse", "experiment", str(folder)], parsed, logs))
        command = f"fluxloop {' '.join(arguments)}"
        return FluxLoopTestResult.of_folder(
            folder, stdout_path=logs.stdout, stderr_path=logs.stderr, cli_command=command
        )


class Logs:
    """Runs commands, and keeps what they print in two files."""

    def __init__(self, base: Path) -> None:
        self.stdout = base.with_suffix(".stdout.log")
        self.stderr = base.with_suffix(".stderr.log")

    def run(
        self, arguments: list[str], root: Path, env: Mapping[str, str], timeout_s: float | None
    ) -> subprocess.CompletedProcess[str]:
        """Run ``fluxloop`` with *arguments* in *root* to its end."""
        command = [sys.executable, "-m", "fluxloop", *arguments]
        try:
            done = subprocess.run(
                command, cwd=root, env=_joined(os.environ, env), timeout=timeout_s, capture_output=True, text=True
            )
        except subprocess.TimeoutExpired:
            raise TimeoutError from None
        for path, text in ((self.stdout, done.stdout), (self.stderr, done.stderr)):
            with path.open("a", encoding="utf-8") as file:
                file.write(f"$ fluxloop {' '.join(arguments)}\n{text}")
        return done


def _failed(arguments: Sequence[str], done: subprocess.CompletedProcess[str], logs: Logs) -> str:
    said = done.stderr.strip() or done.stdout.strip() or "it printed nothing"
    command = f"fluxloop {' '.join(arguments[:2])}"
    return f"{command} ended with exit code {done.returncode}: {said}\n  its output is in {logs.stderr}"


def _config(root: Path, given: str | Path | None) -> Path:
    """Return the configuration *given*, relative to *root*, else that of the project."""
    if not root.is_dir():
        raise ConfigError(f"project_root must be a folder, found none at {root}")
    return find(root if given is None else root / Path(given).expanduser())


def _flat(overrides: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested values by dotted key, so that they are merged with those of the configuration."""
    flat: dict[str, Any] = {}
    for key, value in overrides.items():
        if isinstance(value, Mapping) and value:
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def _names(values: dict[str, Any]) -> tuple[str, ...]:
    """Take ``personas`` out of *values* if it is a list of names."""
    personas = values.get("personas")
    if isinstance(personas, list) and personas and all(isinstance(one, str) for one in personas):
        return tuple(values.pop("personas"))
    return ()


@contextmanager
def _written(config: Path, values: Mapping[str, Any], root: Path) -> Iterator[Path]:
    """Write the whole configuration with *values* to a file beside it, and remove it after the block."""
    if not values:
        yield config
        return
    loaded = load(config, values)
    data: dict[str, Any] = {}
    for file in loaded.files:
        data = merged(data, file.data)
    for key, value in values.items():
        assign(data, key, value)
    data.setdefault("name", loaded.base.name)
    path = loaded.base / f".cli_config_{uuid4().hex}.yaml"
    try:
        path.write_text(json.dumps(data, default=str), encoding="utf-8")  # JSON is YAML
        yield path
    finally:
        path.unlink(missing_ok=True)


def _joined(inner: Mapping[str, str], outer: Mapping[str, str]) -> dict[str, str]:
    """Return the environment *inner* with the variables *outer*; the folders in ``PYTHONPATH`` are those of both."""
    joined = {**inner, **outer}
    if "PYTHONPATH" in outer and inner.get("PYTHONPATH"):
        joined["PYTHONPATH"] = os.pathsep.join((outer["PYTHONPATH"], inner["PYTHONPATH"]))
    return joined


@contextmanager
def _environment(env: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables, and make the folders in ``PYTHONPATH`` importable, inside a block."""
    before, path = dict(os.environ), sys.path[:]
    os.environ.update(_joined(before, env))
    sys.path[:0] = [each for each in env.get("PYTHONPATH", "").split(os.pathsep) if each and each not in path]
    try:
        yield
    finally:
        for name in env:
            os.environ.pop(name, None)
            if name in before:
                os.environ[name] = before[name]
        sys.path[:] = path


@contextmanager
def _adapters_restored() -> Iterator[None]:
    """Switch off, after the block, the adapters that were switched on inside it."""
    before = set(fluxloop.installed())
    try:
        yield
    finally:
        if new := set(fluxloop.installed()) - before:
            fluxloop.uninstall(*new)
