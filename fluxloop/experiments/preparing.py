"""
Prepare experiments: read the configuration, plan the runs, find what is to be resumed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from os import PathLike
from pathlib import Path
from typing import Any

from .configuration.loading import Loaded, load, merged, validated
from .configuration.masking import masked_config
from .folder import ExperimentFolder
from .inputs import Plan, plan
from .targets import Target, of_callable
from .writing import finished_in


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
    if loaded.config.inputs_file and loaded.config.personas and not any(one.persona for one in planned.entries):
        loaded = replace(loaded, warnings=(*loaded.warnings, NO_PERSONAS))
    planned = _replayed(loaded, planned)
    target = of_callable(function) if function is not None else None
    name = loaded.config.name or (resumed.name if resumed else None) or loaded.base.resolve().name or "experiment"
    runner = loaded.config.runner
    target_name = target.name if target else runner.target or _remote_name(loaded)
    prepared = Prepared(name, loaded, planned, target, target_name, options, resumed)
    if resumed is not None:
        prepared.finished_runs = frozenset(finished_in(resumed, planned.fingerprint))
        prepared.loaded = replace(loaded, warnings=(*loaded.warnings, *_changes(prepared, resumed)))
    return prepared


NO_PERSONAS = "no run has one of the personas: inputs of a file have that of their own entry, or those of --personas"


def _changes(prepared: Prepared, resumed: ExperimentFolder) -> Iterator[str]:
    """Yield a warning if the finished runs of *resumed* had another target or configuration than the others will."""
    name, before, target = resumed.path.name, resumed.summary.get("config"), resumed.summary.get("target")
    if target not in (None, prepared.target_name):
        yield f"the target changed since {name} was started, from {target} to {prepared.target_name}; {KEPT}"
    elif before is not None:
        old, new = _flat(before), _flat(masked_config(prepared.loaded.config))
        changed = {key for key in (*old, *new) if old.get(key) != new.get(key)} - {"parallel_runs", "name"}
        if changed:
            yield f"{', '.join(sorted(changed))} changed since {name} was started; {KEPT}"


KEPT = "finished runs are kept as they are"


def _flat(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return *config* with the members of its sections by dotted key."""
    sections = {key: value for key, value in config.items() if isinstance(value, Mapping)}
    inner = {f"{key}.{name}": value for key, section in sections.items() for name, value in section.items()}
    return {key: value for key, value in config.items() if key not in sections} | inner


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
