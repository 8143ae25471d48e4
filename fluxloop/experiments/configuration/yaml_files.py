"""
Read YAML files, with the line of each key for error messages.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...errors import ConfigError

Location = tuple[str | int, ...]
"""The keys and indexes that lead to a value."""


@dataclass(frozen=True, slots=True)
class YamlFile:
    """The content of a file as plain data, and where each value is."""

    path: Path
    data: dict[str, Any]
    lines: Mapping[Location, int]

    def place(self, location: Location) -> str:
        """Return the file and line of the value at *location*, or of the nearest value around it."""
        while location and location not in self.lines:
            location = location[:-1]
        line = self.lines.get(location)
        return f"{self.path}, line {line}" if line else str(self.path)


def read_yaml(path: Path) -> YamlFile:
    """
    Return the content of the file at *path*. An empty file is an empty mapping.

    Raises:
        ConfigError: If it cannot be read, or is not a YAML mapping; the message has the line.
    """
    loaded = load_yaml(path)
    if loaded is None:
        return YamlFile(path, {}, {})
    if not isinstance(loaded, dict):
        raise ConfigError(f"{path} must contain keys with values, such as 'runner:', got a {_kind(loaded)}")
    lines: dict[Location, int] = {}
    data: dict[str, Any] = _plain(loaded, (), lines)
    return YamlFile(path, data, lines)


def load_yaml(path: Path) -> Any:
    """
    Return the content of the file at *path* as the objects of ruamel.yaml, which keep comments and lines.

    Raises:
        ConfigError: If it cannot be read or is not YAML.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as exc:
        raise ConfigError(f"could not read {path}: {exc.strerror or exc}") from None
    except UnicodeDecodeError as exc:
        raise ConfigError(
            f"could not read {path}: it must be UTF-8 text, got {exc.reason} at byte {exc.start}"
        ) from None
    return parse_yaml(text, str(path))


def parse_yaml(text: str, source: str) -> Any:
    """Return *text* as the objects of ruamel.yaml; raises as `load_yaml`."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    try:
        yaml = YAML(typ="rt")
        yaml.preserve_quotes = True
        loaded = yaml.load(text)
    except RecursionError:
        raise ConfigError(f"{source}: this is not usable YAML: it is nested too deep") from None
    except MarkedYAMLError as exc:
        mark = exc.problem_mark or exc.context_mark
        where = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        problem = (exc.problem or exc.context or "it is not YAML").split("\n")[0]
        raise ConfigError(f"{source}{where}: this is not valid YAML: {problem}") from None
    except (YAMLError, ValueError) as exc:
        raise ConfigError(f"{source}: this is not valid YAML: {str(exc).splitlines()[0]}") from None
    _check(loaded, source, 1, {})
    return loaded


MOST_VALUES = 1_000_000
"""Values that a file may have after its aliases are replaced; a few lines of aliases can expand to billions."""


def _check(value: Any, source: str, line: int, counts: dict[int, int]) -> int:
    """
    Return the number of values in *value*, with aliases replaced.

    Raises:
        ConfigError: If there are too many, or if one has a tag, which has no meaning here.
    """
    if id(value) in counts:
        return counts[id(value)]
    marks: Any = getattr(value, "lc", None)
    tag: Any = getattr(getattr(value, "tag", None), "value", None)
    if tag:
        raise ConfigError(f"{source}, line {line}: the tag {tag} is not supported; write a plain value")
    if not isinstance(value, dict | list):
        return 1
    known = marks.data or {}
    count = 1
    for key, item in value.items() if isinstance(value, dict) else enumerate(value):
        at = (known[key][2] if isinstance(value, dict) else known[key][0]) + 1 if key in known else line
        count += _check(item, source, at, counts)
    if count > MOST_VALUES:
        raise ConfigError(f"{source}, line {line}: aliases make more than {MOST_VALUES:,} values of this one")
    counts[id(value)] = count
    return count


def edit_yaml(path: Path, values: Mapping[str, Any]) -> None:
    """
    Set dotted keys in the YAML file at *path*, which is created if there is none. Comments and order are kept.

    Raises:
        ConfigError: If the file is not a YAML mapping, or cannot be written.
    """
    from io import StringIO

    from ruamel.yaml import YAML
    from ruamel.yaml.comments import CommentedMap

    data = load_yaml(path) if path.exists() else None
    data = CommentedMap() if data is None else data
    if not isinstance(data, dict):
        raise ConfigError(f"{path} must contain keys with values, got a {_kind(data)}")
    for key, value in values.items():
        *parents, last = key.split(".")
        holder = data
        for parent in parents:
            if not isinstance(holder.get(parent), dict):
                holder[parent] = CommentedMap()
            holder = holder[parent]
        holder[last] = value
    yaml = YAML(typ="rt")
    yaml.preserve_quotes = True
    yaml.width = 10_000
    text = StringIO()
    yaml.dump(data, text)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.getvalue(), encoding="utf-8")
    except OSError as exc:
        raise ConfigError(f"could not write {path}: {exc.strerror or exc}") from None


def _plain(value: Any, location: Location, lines: dict[Location, int]) -> Any:
    """Return *value* without the classes of ruamel.yaml, and note the line of everything in it."""
    marks: Any = getattr(value, "lc", None)
    if isinstance(value, dict):
        plain = {}
        for key, item in value.items():
            here = (*location, str(key))
            lines[here] = marks.key(key)[0] + 1 if key in (marks.data or ()) else lines.get(location, 1)
            plain[str(key)] = _plain(item, here, lines)
        return plain
    if isinstance(value, list):
        items = []
        for number, item in enumerate(value):
            here = (*location, number)
            if number in (marks.data or ()):
                lines[here] = marks.item(number)[0] + 1
            items.append(_plain(item, here, lines))
        return items
    if isinstance(value, bool):
        return bool(value)
    for simple in (int, float, str):
        if isinstance(value, simple):
            return simple(value)
    return value


def _kind(value: object) -> str:
    return "list" if isinstance(value, list) else f"single value ({value!r:.40})"
