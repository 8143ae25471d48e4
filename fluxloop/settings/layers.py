"""
The layers a setting can come from, and the settings in force.

From the strongest down: the call (`configure`), the environment (``FLUXLOOP_*``), a `.env` file loaded by
`load_env`, ``[tool.fluxloop]`` in pyproject.toml, the default. What is given in code and wrong is refused
and changes nothing; what is wrong in the layers below is a warning, and the next layer decides.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from ..errors import ConfigError
from ..report import Troubles
from . import dotenv
from .schema import PREFIX, TABLE, Given, Row, Settings, row, unknown
from .value_types import PATH

__all__ = ["Configuration", "Described", "Settings", "describe"]


@dataclass(frozen=True, slots=True)
class Described:
    """One setting in force, as `fluxloop doctor` prints it."""

    name: str
    value: str
    source: str
    env: str | None
    meaning: str


class Configuration:
    """
    The settings of one set-up: its own calls over the layers that all set-ups share.

    A reader takes the settings in force as one frozen object, without a lock. The environment is looked at
    when something is set or loaded, not in between. A relative path is resolved once, when it is first met,
    so a later change of the working folder moves nothing.

    Args:
        source: What the calls that set something are named in error texts.
        isolated: Leave out every layer between the call and the default.
    """

    def __init__(self, *, source: str = "configure()", isolated: bool = False) -> None:
        self._source = source
        self._isolated = isolated
        self.reset()

    def configure(self, **values: Any) -> Settings:
        """
        Set *values* over those set before, at once and all of them or none.

        Returns:
            The settings in force.

        Raises:
            ConfigError: If a name is unknown or a value not acceptable; nothing has changed then.
        """
        called = {name: row(name, self._source).read(Given(value, self._source)) for name, value in values.items()}
        return self._renew(called).settings

    def settings(self) -> Settings:
        """Return the settings in force; the same object until something changes. Never raises."""
        return self._now().settings

    def source(self, name: str) -> str:
        """Return where the value of the setting *name* comes from, in words: ``"FLUXLOOP_DEBUG"``, ``"default"``."""
        return self._now().sources[row(name, "source()").name]

    def problems(self) -> list[str]:
        """Return what is wrong in the environment, the `.env` file and pyproject.toml, a sentence each."""
        of_files = [] if self._isolated else dotenv.file_complaints()
        return [*self._now().problems, *of_files]

    def reset(self) -> None:
        """Forget everything set by a call, and look at all other layers afresh when next asked."""
        with dotenv.changing:
            self._called: Mapping[str, Any] = {}
            self._project: _Project | None = None
            self._seen: dict[tuple[str, str], tuple[Any, Any]] = {}
            self._in_force: _InForce | None = None

    def _now(self) -> _InForce:
        now = self._in_force
        return now if now is not None and now.loads == dotenv.loads else self._renew()

    def _renew(self, called: Mapping[str, Any] | None = None) -> _InForce:
        """Resolve all layers with *called* in the first; without it only if no other thread has done so meanwhile."""
        with dotenv.changing:
            now = self._in_force
            if called is None and now is not None and now.loads == dotenv.loads:
                return now
            merged = {**self._called, **(called or {})}
            fresh = self._resolve(merged)
            self._called, self._in_force = merged, fresh
        for problem in fresh.problems:
            _said.say(problem, problem)
        return fresh

    def _resolve(self, called: Mapping[str, Any]) -> _InForce:
        loads = dotenv.loads
        values, sources = dict(called), dict.fromkeys(called, self._source)
        problems = [] if self._isolated else [*_unknown_variables(), *self._pyproject().problems]
        for one in TABLE.values():
            if one.name in called:
                continue
            for given in self._given_below_the_call(one):
                try:
                    values[one.name], sources[one.name] = self._read(one, given), given.source
                    break
                except ConfigError as error:
                    problems.append(str(error))
        return _InForce(loads, Settings(**values), sources, tuple(problems))

    def _given_below_the_call(self, one: Row) -> Iterator[Given]:
        """Yield what each layer says about the setting, the strongest first; the default is always acceptable."""
        if not self._isolated:
            said = [dotenv.environment(one.env), dotenv.env_file(one.env)] if one.env else []
            yield from (given for given in (*said, self._pyproject().given.get(one.name)) if given is not None)
        yield Given(one.default, "default")

    def _read(self, one: Row, given: Given) -> Any:
        """Read what was given, once for as long as it stays the same."""
        key = (one.name, given.source)
        if key not in self._seen or self._seen[key][0] != given.raw:
            self._seen[key] = (given.raw, one.read(given))
        return self._seen[key][1]

    def _pyproject(self) -> _Project:
        if self._project is None:
            self._project = _read_pyproject()
        return self._project


def describe(configuration: Configuration) -> list[Described]:
    """Return every setting in force with its source, in the order of the docs; secrets are masked."""
    settings = configuration.settings()
    return [
        Described(
            one.name, one.shown(getattr(settings, one.name)), configuration.source(one.name), one.env, one.meaning
        )
        for one in TABLE.values()
    ]


class _InForce(NamedTuple):
    """What holds until something changes."""

    loads: int
    settings: Settings
    sources: Mapping[str, str]
    problems: tuple[str, ...]


class _Project(NamedTuple):
    """What pyproject.toml says: settings by name, and what is wrong with it."""

    given: dict[str, Given]
    problems: list[str]


_said = Troubles()
"""The problems that were logged; one for all set-ups, as they share the layers that have problems."""


def _unknown_variables() -> list[str]:
    known = {one.env for one in TABLE.values()}
    ours = [name for name in list(os.environ) if name.startswith(PREFIX)]
    return [_unusable(name.removeprefix(PREFIX).lower(), name) for name in ours if name not in known]


def _unusable(name: str, source: str) -> str:
    """Return the sentence about a *name* that means nothing in the layer it was met in."""
    return f"{name} can only be set in code (from {source})" if name in TABLE else unknown(name, source)


def _read_pyproject() -> _Project:
    """Return what the nearest pyproject.toml says: it marks the project, whether or not it has our table."""
    project = _Project({}, [])
    path = dotenv.nearest("pyproject.toml")
    if path is None:
        return project
    try:
        table = _our_table(path)
    except (OSError, ValueError, RecursionError) as error:
        project.problems.append(f"could not read {path}, its settings are left out: {error}")
        return project
    source = f"[tool.fluxloop] in {path}"
    for key, raw in table.items():
        if key in OTHER_TABLES:
            continue
        one = TABLE.get(key.replace("-", "_"))
        if one is None or one.env is None:
            project.problems.append(_unusable(key, source))
            continue
        if one.kind is PATH and isinstance(raw, str) and raw.strip():
            raw = os.path.join(os.path.dirname(path), os.path.expanduser(raw))
        project.given[one.name] = Given(raw, source)
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
        table = _our_table(path).get(name, {})
    except (OSError, ValueError, RecursionError):
        return {}, source
    if not isinstance(table, dict):
        raise ConfigError(f"{source} must be a table, got {table!r}")
    return table, source


def _our_table(path: str) -> dict[str, Any]:
    with open(path, "rb") as file:
        content = file.read()
    if b"fluxloop" not in content:  # the usual case, and tomllib is not free
        return {}
    import tomllib

    tool = tomllib.loads(content.decode()).get("tool")
    table = tool.get("fluxloop", {}) if isinstance(tool, dict) else {}
    if not isinstance(table, dict):
        raise ValueError(f"tool.fluxloop must be a table, got {table!r}")
    return table
