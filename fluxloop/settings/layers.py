"""
Resolve the current settings from their layers.

The layers, by precedence: `configure`, the environment (``FLUXLOOP_*``), a `.env` file loaded by `load_env`,
``[tool.fluxloop]`` in pyproject.toml, and the default. An invalid value in code raises an error and changes nothing. An
invalid value in another layer is a warning, and the next layer applies.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from ..errors import ConfigError
from ..report import Problems
from . import dotenv
from .schema import PREFIX, TABLE, RawValue, Row, Settings, find_row, unknown
from .value_types import PATH

__all__ = ["Configuration", "Described", "Settings", "describe"]


@dataclass(frozen=True, slots=True)
class Described:
    """The current value of a setting, as `fluxloop doctor` prints it."""

    name: str
    value: str
    source: str
    env: str | None
    meaning: str


class Configuration:
    """
    The settings of one client: its own `configure` values, and the layers that all clients share.

    `settings` returns a frozen object, so reading needs no lock. The environment is read when settings change or a file
    is loaded. A relative path is resolved once, so that a later change of the working directory has no effect.

    Args:
        source: The name of `configure` in error messages.
        isolated: Whether to ignore all layers except `configure` and the defaults.
    """

    def __init__(self, *, source: str = "configure()", isolated: bool = False) -> None:
        self._source = source
        self._isolated = isolated
        self.reset()

    def configure(self, **values: Any) -> Settings:
        """
        Set *values* in addition to earlier ones: all of them, or none if one is invalid.

        Returns:
            The current settings.

        Raises:
            ConfigError: If a name is unknown or a value is invalid.
        """
        configured = {
            name: find_row(name, self._source).read(RawValue(value, self._source)) for name, value in values.items()
        }
        return self._update(configured).settings

    def settings(self) -> Settings:
        """Return the current settings, as the same object until one changes. Never raises."""
        return self._current().settings

    def source(self, name: str) -> str:
        """Return the source of the setting *name*, such as ``"FLUXLOOP_DEBUG"`` or ``"default"``."""
        return self._current().sources[find_row(name, "source()").name]

    def problems(self) -> list[str]:
        """Return a message for each problem in the environment, the `.env` file and pyproject.toml."""
        file_problems = [] if self._isolated else dotenv.file_problems()
        return [*self._current().problems, *file_problems]

    def reset(self) -> None:
        """Discard all values given to `configure`, and read the other layers again on next use."""
        with dotenv.settings_lock:
            self._configured: Mapping[str, Any] = {}
            self._project: _Project | None = None
            self._read_cache: dict[tuple[str, str], tuple[Any, Any]] = {}
            self._resolved: _Resolved | None = None

    def _current(self) -> _Resolved:
        current = self._resolved
        return current if current is not None and current.load_count == dotenv.load_count else self._update()

    def _update(self, configured: Mapping[str, Any] | None = None) -> _Resolved:
        """Resolve all layers, with *configured* added to the first; without it, only if they are out of date."""
        with dotenv.settings_lock:
            current = self._resolved
            if configured is None and current is not None and current.load_count == dotenv.load_count:
                return current
            merged = {**self._configured, **(configured or {})}
            resolved = self._resolve(merged)
            self._configured, self._resolved = merged, resolved
        for problem in resolved.problems:
            _logged.log_once(problem, problem)
        return resolved

    def _resolve(self, configured: Mapping[str, Any]) -> _Resolved:
        load_count = dotenv.load_count
        values, sources = dict(configured), dict.fromkeys(configured, self._source)
        problems = [] if self._isolated else [*_unknown_variables(), *self._pyproject().problems]
        for row in TABLE.values():
            if row.name in configured:
                continue
            for given in self._raw_values(row):
                try:
                    values[row.name], sources[row.name] = self._read(row, given), given.source
                    break
                except ConfigError as error:
                    problems.append(str(error))
        return _Resolved(load_count, Settings(**values), sources, tuple(problems))

    def _raw_values(self, row: Row) -> Iterator[RawValue]:
        """Yield the values of the setting in the layers below `configure`, by precedence; the last one is valid."""
        if not self._isolated:
            names = [name for name in (row.env, row.former_env) if name]
            variables = [layer(name) for name in names for layer in (dotenv.environment, dotenv.env_file)]
            yield from (given for given in (*variables, self._pyproject().given.get(row.name)) if given is not None)
        yield RawValue(row.default, "default")

    def _read(self, row: Row, given: RawValue) -> Any:
        """Return the cached result of ``row.read(given)``."""
        key = (row.name, given.source)
        if key not in self._read_cache or self._read_cache[key][0] != given.raw:
            self._read_cache[key] = (given.raw, row.read(given))
        return self._read_cache[key][1]

    def _pyproject(self) -> _Project:
        if self._project is None:
            self._project = _read_pyproject()
        return self._project


def describe(configuration: Configuration) -> list[Described]:
    """Return all settings with their sources, in the order of the docs. Secrets are masked."""
    settings = configuration.settings()
    return [
        Described(
            row.name, row.shown(getattr(settings, row.name)), configuration.source(row.name), row.env, row.meaning
        )
        for row in TABLE.values()
    ]


class _Resolved(NamedTuple):
    """The result of resolving all layers."""

    load_count: int
    settings: Settings
    sources: Mapping[str, str]
    problems: tuple[str, ...]


class _Project(NamedTuple):
    """The settings in pyproject.toml, and the problems with it."""

    given: dict[str, RawValue]
    problems: list[str]


_logged = Problems()
"""The problems that were logged, shared by all clients, because they share the layers."""


def _unknown_variables() -> list[str]:
    known = {*OTHER_VARIABLES, *(name for row in TABLE.values() for name in (row.env, row.former_env))}
    names = [name for name in list(os.environ) if name.startswith(PREFIX)]
    return [_unusable(name.removeprefix(PREFIX).lower(), name) for name in names if name not in known]


OTHER_VARIABLES = (
    "FLUXLOOP_LLM_API_KEY",
    "FLUXLOOP_LLM_BASE_URL",
    "FLUXLOOP_SUPERVISOR_API_KEY",
    "FLUXLOOP_TEST_CLICKHOUSE_URL",
    "FLUXLOOP_UPDATE",
)
"""Variables that are not settings: of judges, of conversations, and of tests."""


def _unusable(name: str, source: str) -> str:
    """Return the message for *name*, which is not a setting of the layer *source*."""
    return f"{name} can only be set in code (from {source})" if name in TABLE else unknown(name, source)


def _read_pyproject() -> _Project:
    """Return the settings in the nearest pyproject.toml. Parents of that folder are not searched."""
    project = _Project({}, [])
    path = dotenv.nearest("pyproject.toml")
    if path is None:
        return project
    try:
        table = _fluxloop_table(path)
    except (OSError, ValueError, RecursionError) as error:
        project.problems.append(f"could not read {path}, its settings are left out: {error}")
        return project
    source = f"[tool.fluxloop] in {path}"
    for key, raw in table.items():
        if key in OTHER_TABLES:
            continue
        row = TABLE.get(key.replace("-", "_"))
        if row is None or row.env is None:
            project.problems.append(_unusable(key, source))
            continue
        if row.value_type is PATH and isinstance(raw, str) and raw.strip():
            raw = os.path.join(os.path.dirname(path), os.path.expanduser(raw))
        project.given[row.name] = RawValue(raw, source)
    return project


OTHER_TABLES = ("prices",)
"""Tables within ``[tool.fluxloop]`` that are not settings."""


def project_table(name: str) -> tuple[dict[str, Any], str]:
    """
    Return one of `OTHER_TABLES` of the nearest pyproject.toml, and its place in words; an empty one if there is none.

    A file that cannot be read has none; `Configuration` reports it.
    """
    path = dotenv.nearest("pyproject.toml")
    if path is None:
        return {}, ""
    source = f"[tool.fluxloop.{name}] in {path}"
    try:
        table = _fluxloop_table(path).get(name, {})
    except (OSError, ValueError, RecursionError):
        return {}, source
    if not isinstance(table, dict):
        raise ConfigError(f"{source} must be a table, got {table!r}")
    return table, source


def _fluxloop_table(path: str) -> dict[str, Any]:
    with open(path, "rb") as file:
        content = file.read()
    if b"fluxloop" not in content:  # the usual case: avoids importing tomllib
        return {}
    import tomllib

    tool = tomllib.loads(content.decode()).get("tool")
    table = tool.get("fluxloop", {}) if isinstance(tool, dict) else {}
    if not isinstance(table, dict):
        raise ValueError(f"tool.fluxloop must be a table, got {table!r}")
    return table
