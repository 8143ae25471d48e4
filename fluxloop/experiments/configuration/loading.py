"""
Find and read the configuration of an experiment.

It is one file, or a folder ``configs`` whose files ``project.yaml``, ``input.yaml`` and ``simulation.yaml`` are merged.
Every error names the file, the line, what was found and what is accepted.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import UnionType
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from ...errors import ConfigError
from ...settings.value_types import did_you_mean, shown
from .models import ExperimentConfig
from .yaml_files import Location, YamlFile, read_yaml

SECTIONS = ("project.yaml", "input.yaml", "simulation.yaml")
"""The files of a ``configs`` folder that describe a run, in the order in which they are merged."""

SINGLE_FILES = ("setting.yaml", "config.yaml", "fluxloop.yaml")
"""The names of a single file that are looked for."""

SEED_EXAMPLE = 'runner:\n    target: "my_module:my_agent"'


@dataclass(frozen=True, slots=True)
class Loaded:
    """A configuration, and where it comes from."""

    config: ExperimentConfig
    base: Path
    """The folder that relative paths start from."""
    path: Path | None = None
    """The file or the ``configs`` folder; None if the configuration was given in code."""
    files: tuple[YamlFile, ...] = ()
    warnings: tuple[str, ...] = field(default=())

    def place(self, *location: str | int) -> str:
        """Return the file and line of a value, or the place of the configuration."""
        for file in reversed(self.files):
            if location in file.lines:
                return file.place(location)
        return str(self.path or "the configuration")


def find(path: Path | None) -> Path:
    """
    Return the file or ``configs`` folder to read.

    Args:
        path: A file, a ``configs`` folder, or a folder that contains one of them; None for the working directory.

    Raises:
        ConfigError: If there is none.
    """
    if path is not None and not path.exists():
        raise ConfigError(
            f"configuration not found: {path}. Expected a YAML file, or a folder with {', '.join(SECTIONS)}"
        )
    start = path or Path()
    if start.is_file():
        return start.parent if start.parent.resolve().name == "configs" and start.name in SECTIONS else start
    if any((start / name).is_file() for name in SECTIONS):
        return start
    inner = start / "configs"
    if any((inner / name).is_file() for name in SECTIONS):
        return inner
    for name in SINGLE_FILES:
        if (start / name).is_file():
            return start / name
    places = ", ".join(["configs/simulation.yaml", *SINGLE_FILES])
    raise ConfigError(
        f"no configuration found in {start.resolve()}. Expected one of: {places}. Create configs/simulation.yaml with\n"
        f"  {SEED_EXAMPLE}\nor a whole project with: fluxloop init project"
    )


def load(path: Path | None = None, overrides: Mapping[str, Any] | None = None) -> Loaded:
    """
    Read the configuration at *path*, see `find`.

    Args:
        path: The file or folder.
        overrides: Values that replace those of the files, by dotted key: ``{"runner.target": "app:agent"}``.

    Raises:
        ConfigError: If there is none, or it is not valid; the message names every mistake.
    """
    found = find(path)
    if found.is_dir():
        files = tuple(read_yaml(found / name) for name in SECTIONS if (found / name).is_file())
        base = found.resolve().parent if found.resolve().name == "configs" else found.resolve()
    else:
        files, base = (read_yaml(found),), found.resolve().parent
    data: dict[str, Any] = {}
    for file in files:
        data = merged(data, file.data)
    for key, value in (overrides or {}).items():
        assign(data, key, value)
    config = validated(data, files)
    return Loaded(config, base, found, files, tuple(_warnings(config, overrides or {})))


def validated(
    data: dict[str, Any], files: tuple[YamlFile, ...] = (), source: str = "the configuration"
) -> ExperimentConfig:
    """
    Return *data* as a configuration.

    Raises:
        ConfigError: If it is not valid; one line per mistake.
    """
    try:
        return ExperimentConfig.model_validate(data)
    except ValidationError as exc:
        problems = [_problem(error, files, source) for error in exc.errors(include_url=False)]
        raise ConfigError("\n".join(dict.fromkeys(problems))) from None


def merged(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, Any]:
    """Return both mappings as one; of two values for a key the second counts, and mappings are merged."""
    result = dict(first)
    for key, value in second.items():
        inner = result.get(key)
        result[key] = merged(inner, value) if isinstance(inner, Mapping) and isinstance(value, Mapping) else value
    return result


def assign(data: dict[str, Any], key: str, value: Any) -> None:
    """Set the dotted *key* in *data*."""
    *parents, last = key.split(".")
    for parent in parents:
        inner = data.get(parent)
        data[parent] = dict(inner) if isinstance(inner, Mapping) else {}
        data = data[parent]
    data[last] = value


def _warnings(config: ExperimentConfig, overrides: Mapping[str, Any]) -> Iterator[str]:
    inner, outer = config.runner.iterations, config.iterations
    if inner and outer and inner != outer and "iterations" not in overrides:
        yield f"iterations is {outer} and runner.iterations is {inner}; {outer} is used"
    if config.base_inputs is None and not config.inputs_file and not config.replay_args.enabled:
        yield "no inputs are configured, so the input is 'Hello'. Add base_inputs, or name a file with inputs_file"


def _problem(error: Any, files: tuple[YamlFile, ...], source: str) -> str:
    """Return the line for one mistake that pydantic found."""
    location: Location = tuple(error["loc"])
    file = next((each for each in reversed(files) if location[:1] and location[:1] in each.lines), None)
    place = file.place(location) if file else (str(files[-1].path) if files else source)
    name = _dotted(location)
    if error["type"] == "extra_forbidden":
        holder = _dotted(location[:-1])
        names = known_keys(location[:-1])
        where = f" in {holder}" if holder else ""
        hint = did_you_mean(str(location[-1]), names)
        listed = "" if hint else f". Accepted: {', '.join(sorted(names))}"
        return f"{place}: unknown key {str(location[-1])!r}{where}{hint}{listed}"
    if error["type"] == "missing":
        return f"{place}: {name} is missing"
    expected = error["msg"].removeprefix("Input should be ").removeprefix("Value error, ")
    if error["type"] == "model_type":
        expected = f"a mapping with the keys {', '.join(sorted(known_keys(location)))}"
    return f"{place}: {name} must be {expected}, got {shown(error['input'])}"


def _dotted(location: Location) -> str:
    text = ""
    for part in location:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


def known_keys(location: Location = ()) -> set[str]:
    """Return the keys that the mapping at *location* accepts."""
    model: type[BaseModel] = ExperimentConfig
    for part in location:
        if isinstance(part, str) and part in model.model_fields:
            model = _model_in(model.model_fields[part].annotation) or model
    return {*model.model_fields}


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """Return the model in *annotation*: ``Model``, ``Model | None`` or ``list[Model]``."""
    if get_origin(annotation) in (Union, UnionType, list):
        return next(filter(None, map(_model_in, get_args(annotation))), None)
    return annotation if isinstance(annotation, type) and issubclass(annotation, BaseModel) else None
