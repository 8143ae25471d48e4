"""
The inputs of an experiment, and the runs that are made of them.

Inputs come from a YAML, JSON, JSONL or CSV file, or from ``base_inputs``. An experiment runs every input, once for each
persona it is for, in each iteration.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from io import StringIO
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from ..errors import ConfigError
from ..settings.value_types import did_you_mean
from .configuration.loading import Loaded
from .configuration.models import ExperimentConfig, Persona
from .configuration.yaml_files import load_yaml

HOW_TO_ADD = """Add inputs to the configuration, or name a file with them:
  base_inputs:
    - input: "What is the weather in Rome?"
  # or: inputs_file: inputs.jsonl, one {"input": ..., "expected": ...} per line"""

DEFAULT_INPUT = "Hello"
"""The input of an experiment whose configuration does not mention inputs, so that a first try runs."""

_OWN_KEYS = frozenset({"input", "expected", "metadata", "persona", "id"})

_EXPECTED_NAMES = ("expected", "expected_output", "reference_output")


@dataclass(frozen=True, slots=True)
class Entry:
    """One input."""

    id: str
    value: Any
    expected: Any = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    persona: Persona | None = None


class PlannedRun(NamedTuple):
    """One run: an input in one iteration."""

    number: int
    iteration: int
    entry: Entry


@dataclass(frozen=True, slots=True)
class Plan:
    """All runs of an experiment, made when they are needed."""

    entries: tuple[Entry, ...]
    iterations: int

    def __len__(self) -> int:
        return len(self.entries) * self.iterations

    def __iter__(self) -> Iterator[PlannedRun]:
        for iteration in range(self.iterations):
            for position, entry in enumerate(self.entries):
                yield PlannedRun(iteration * len(self.entries) + position, iteration, entry)

    @property
    def fingerprint(self) -> str:
        """A hash of the inputs and the number of iterations: a resumed experiment must have the same."""
        digest = sha256(str(self.iterations).encode())
        for entry in self.entries:
            persona = entry.persona.name if entry.persona else None
            identity = [entry.id, entry.value, persona]
            try:
                digest.update(orjson.dumps(identity, default=repr, option=orjson.OPT_NON_STR_KEYS))
            except TypeError:  # a number beyond 64 bits, a lone surrogate, or deeper than orjson goes
                digest.update(repr(identity).encode("utf-8", "surrogatepass"))
        return digest.hexdigest()[:16]


def plan(
    loaded: Loaded,
    *,
    inputs: Sequence[Any] | None = None,
    only: Sequence[str] = (),
    personas: Sequence[str] = (),
) -> Plan:
    """
    Return the runs of an experiment.

    Args:
        loaded: The configuration.
        inputs: Inputs given in code, instead of those of the configuration.
        only: Ids of inputs; others are left out.
        personas: Names of personas; others are left out.

    Raises:
        ConfigError: If there are no inputs, or an entry, a persona or an id is not valid.
    """
    config = loaded.config
    known = {persona.name: persona for persona in config.personas}
    if len(known) < len(config.personas):
        names = [persona.name for persona in config.personas]
        twice = next(name for name in names if names.count(name) > 1)
        raise ConfigError(f"{loaded.path or 'personas'}: the persona {twice!r} occurs twice")
    chosen = [_named(name, known) for name in personas]
    if inputs is not None:
        entries = _entries(inputs, "inputs", known)
    elif config.inputs_file:
        path = loaded.base / Path(config.inputs_file).expanduser()
        entries = _entries(read_inputs(path), str(path), known)
    else:
        given = [DEFAULT_INPUT] if config.base_inputs is None else config.base_inputs
        entries = _entries(given, "base_inputs", known)
    if not entries:
        where = config.inputs_file or loaded.path or "the configuration"
        raise ConfigError(f"{where} has no inputs. {HOW_TO_ADD}")
    entries = _with_personas(entries, chosen or ([] if config.inputs_file else config.personas), chosen)
    if only:
        entries = _only(entries, only)
    if config.limit:
        entries = entries[: config.limit]
    return Plan(tuple(_templated(entry, config) for entry in entries), config.repeats)


def _named(name: str, known: Mapping[str, Persona]) -> Persona:
    if name not in known:
        raise ConfigError(
            f"unknown persona {name!r}{did_you_mean(name, known)}. Configured: {', '.join(known) or 'none'}"
        )
    return known[name]


def _with_personas(entries: list[Entry], personas: Sequence[Persona], chosen: Sequence[Persona]) -> list[Entry]:
    """Run entries without a persona once per persona; leave out those of a persona that was not chosen."""
    result = []
    for entry in entries:
        if entry.persona is not None:
            if not chosen or entry.persona in chosen:
                result.append(entry)
        elif personas:
            result += [Entry(entry.id, entry.value, entry.expected, entry.metadata, persona) for persona in personas]
        else:
            result.append(entry)
    if not result:
        raise ConfigError(f"no input is for the persona {', '.join(persona.name for persona in chosen)}")
    return result


def _only(entries: list[Entry], ids: Sequence[str]) -> list[Entry]:
    known = {entry.id for entry in entries}
    for wanted in ids:
        if wanted not in known:
            raise ConfigError(f"unknown input {wanted!r}{did_you_mean(wanted, known)}. Ids: {_listed(known)}")
    return [entry for entry in entries if entry.id in ids]


def _listed(names: set[str]) -> str:
    first = sorted(names)[:20]
    return ", ".join(first) + (f" and {len(names) - 20} more" if len(names) > 20 else "")


def _templated(entry: Entry, config: ExperimentConfig) -> Entry:
    if not config.input_template or not isinstance(entry.value, str):
        return entry
    persona = entry.persona.name if entry.persona else ""
    text = config.input_template.replace("{input}", entry.value).replace("{persona}", persona)
    return Entry(entry.id, text, entry.expected, entry.metadata, entry.persona)


def _entries(items: Sequence[Any], source: str, personas: Mapping[str, Persona]) -> list[Entry]:
    entries, seen = [], set[str]()
    for number, item in enumerate(items):
        entry = _entry(item, f"{source}, entry {number + 1}", str(number), personas)
        if entry.id in seen:
            raise ConfigError(f"{source}, entry {number + 1}: the id {entry.id!r} occurs twice")
        seen.add(entry.id)
        entries.append(entry)
    return entries


def _entry(item: Any, place: str, default_id: str, personas: Mapping[str, Persona]) -> Entry:
    """Return one entry: a text, or a mapping with ``input``. Without ``metadata``, its other keys are the metadata."""
    if not isinstance(item, Mapping):
        item = {"input": item}
    if "input" not in item:
        raise ConfigError(
            f"{place}: 'input' is missing{did_you_mean('input', map(str, item))}; it has {_listed(set(map(str, item)))}"
        )
    value = item["input"]
    if value is None or (isinstance(value, str) and not value.strip()):
        raise ConfigError(f"{place}: the input is empty")
    metadata = item.get("metadata")
    if metadata is None:
        metadata = {key: one for key, one in item.items() if key not in _OWN_KEYS}
    elif not isinstance(metadata, Mapping):
        raise ConfigError(f"{place}: metadata must be a mapping, got {metadata!r:.60}")
    expected = next((item[name] for name in _EXPECTED_NAMES if item.get(name) is not None), None)
    if expected is None:
        expected = metadata.get("expected")
    name = item.get("persona") or metadata.get("persona")
    persona = None
    if isinstance(name, Mapping):
        persona = Persona.model_validate(dict(name))
    elif name:
        persona = personas.get(str(name)) or Persona(
            name=str(name), description=str(item.get("persona_description", ""))
        )
    return Entry(str(item.get("id") or default_id), value, expected, dict(metadata), persona)


def read_inputs(path: Path) -> list[Any]:
    """
    Return the inputs in a file, by its ending: ``.jsonl``, ``.json``, ``.csv``, ``.yaml`` or ``.yml``.

    Raises:
        ConfigError: If it cannot be read, or is of another form; the message has the line.
    """
    readers = {".jsonl": _read_jsonl, ".ndjson": _read_jsonl, ".json": _read_json, ".csv": _read_csv}
    readers |= {".yaml": load_yaml, ".yml": load_yaml}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise ConfigError(f"{path}: inputs can be read from {', '.join(readers)} files")
    if not path.is_file():
        raise ConfigError(f"the file with inputs {path} does not exist. {HOW_TO_ADD}")
    loaded = reader(path)
    if isinstance(loaded, Mapping):
        loaded = loaded.get("inputs")
    if loaded is None:
        return []
    if not isinstance(loaded, list):
        raise ConfigError(f"{path} must contain a list, or a mapping with 'inputs:', got {type(loaded).__name__}")
    plain: list[Any] = json.loads(json.dumps(loaded, default=str))  # without the classes of ruamel.yaml
    return plain


def _text_of(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as exc:
        raise ConfigError(f"could not read {path}: {exc.strerror or exc}") from None
    except UnicodeDecodeError as exc:
        raise ConfigError(
            f"could not read {path}: it must be UTF-8 text, got {exc.reason} at byte {exc.start}"
        ) from None


def _read_json(path: Path) -> Any:
    try:
        return json.loads(_text_of(path))
    except (ValueError, RecursionError) as exc:
        raise ConfigError(f"{path}: this is not valid JSON: {exc}") from None


def _read_jsonl(path: Path) -> list[Any]:
    items = []
    for number, line in enumerate(_text_of(path).split("\n"), 1):
        if line.strip():
            try:
                items.append(json.loads(line))
            except (ValueError, RecursionError) as exc:
                raise ConfigError(f"{path}, line {number}: this is not valid JSON: {exc}") from None
    return items


def _read_csv(path: Path) -> list[Any]:
    """Return the rows; the columns besides input, expected, persona, metadata and id are metadata."""
    text = _text_of(path)
    rows = csv.DictReader(StringIO(text, newline=""), strict=True, delimiter=_delimiter(text))
    longest = csv.field_size_limit(max(len(text), 1))
    try:
        if "input" not in (rows.fieldnames or ()):
            raise ConfigError(
                f"{path}, line 1: a column named 'input' is missing{did_you_mean('input', rows.fieldnames or ())}; "
                f"the columns are {', '.join(rows.fieldnames or ()) or 'none'}"
            )
        return [_csv_row(row, path, rows.line_num) for row in rows]
    except csv.Error as exc:
        raise ConfigError(f"{path}, line {rows.line_num}: this is not valid CSV: {exc}") from None
    finally:
        csv.field_size_limit(longest)


def _delimiter(text: str) -> str:
    """Return the delimiter with which the first line has a column `input`; many spreadsheets write ``;``."""
    first = text.partition("\n")[0].strip()
    return next((sign for sign in ",;\t|" if "input" in [name.strip('"') for name in first.split(sign)]), ",")


def _csv_row(row: dict[str | None, Any], path: Path, line: int) -> dict[str, Any]:
    given = {key: value for key, value in row.items() if key and value not in (None, "")}
    if "metadata" in given:
        try:
            given["metadata"] = json.loads(given["metadata"])
        except ValueError as exc:
            raise ConfigError(f"{path}, line {line}: metadata is not valid JSON: {exc}") from None
    return given
