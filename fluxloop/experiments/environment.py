"""
The environment of the target: search path, working directory, variables. Restored when the experiment ends.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ..errors import ConfigError
from ..report import log
from ..settings.dotenv import load_env
from .configuration.loading import Loaded


@contextmanager
def target_environment(loaded: Loaded) -> Iterator[None]:
    """
    Make the project importable, load its `.env`, and set the configured variables, inside a block.

    Modules of the project that were imported inside the block are forgotten at its end, so that two projects in one
    process do not get each other's modules.

    Raises:
        ConfigError: If the working directory does not exist.
    """
    runner = loaded.config.runner
    working = (loaded.base / runner.working_directory).resolve() if runner.working_directory else None
    if working is not None and not working.is_dir():
        raise ConfigError(
            f"{loaded.place('runner', 'working_directory')}: folder not found: {working}. "
            f"Paths start from {loaded.base.resolve()}"
        )
    paths = [*((loaded.base / each).resolve() for each in runner.python_path), working, loaded.base.resolve()]
    _import_what_runs_need(loaded)
    before_path, before_environment, before_folder = sys.path[:], dict(os.environ), Path.cwd()
    before_modules, before_streams = set(sys.modules), (sys.stdout, sys.stderr)
    roots = [str(path) for path in paths if path is not None]
    sys.path[:0] = [*dict.fromkeys(roots), *([] if str(before_folder) in roots else [str(before_folder)])]
    try:
        for folder in (loaded.base, loaded.base.parent):
            if (folder / ".env").is_file():
                load_env(folder)
        os.environ.update({name: _text(value) for name, value in runner.environment_vars.items()})
        if working is not None:
            os.chdir(working)
        yield
    finally:
        with suppress(OSError):  # the folder was deleted
            os.chdir(before_folder)  # a target may have changed it as well
        sys.path[:] = before_path
        sys.stdout, sys.stderr = before_streams
        for name in os.environ.keys() - before_environment.keys():
            del os.environ[name]
        os.environ.update(before_environment)
        _forget(set(sys.modules) - before_modules, roots)


def _import_what_runs_need(loaded: Loaded) -> None:
    """Import clients that are loaded late, before a file of the project, such as ``http.py``, can take their place."""
    if loaded.config.runner.http is not None or loaded.config.multi_turn.enabled:
        with suppress(ImportError):  # the runner has a message for it
            import httpx  # noqa: F401


ADAPTERS = {
    "langchain_core.runnables": "langchain",
    "agents.run": "openai-agents",
    "openai._client": "openai",
    "anthropic._client": "anthropic",
    "google.genai.client": "google-genai",
}
"""A module of each framework, by which it is recognised, and the name of its adapter."""


def install_adapters() -> None:
    """Record model calls, runs and tools of the frameworks that are imported; see `fluxloop.install`."""
    import fluxloop

    for module, name in ADAPTERS.items():
        if module in sys.modules:
            try:
                fluxloop.install(name)
            except ImportError as exc:
                log.warning("%s is not recorded: %s", name, exc)


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _forget(modules: set[str], roots: list[str]) -> None:
    """Remove the modules whose file is in one of the folders *roots*, unless it is an installed package."""
    for name in modules:
        file = getattr(sys.modules.get(name), "__file__", None)
        if file and "site-packages" not in file and any(file.startswith(root + os.sep) for root in roots):
            del sys.modules[name]
