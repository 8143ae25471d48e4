"""
``fluxloop config``: show, change and check the configuration of an experiment.
"""

from __future__ import annotations

from io import StringIO
from pathlib import Path
from typing import Annotated, Any

import typer

from ..experiments.configuration.loading import SECTIONS, find, known_keys, load, validated
from ..experiments.configuration.masking import masked_config
from ..experiments.configuration.yaml_files import edit_yaml, parse_yaml, read_yaml
from ..experiments.inputs import plan
from ..reading.json_text import encode
from .formatting import console, counted, note, print_json
from .groups import command_group
from .usage_errors import reported

EPILOG = """
[bold]Examples[/]

  fluxloop config show                          what applies, with defaults
  fluxloop config set iterations 5              comments in the file are kept
  fluxloop config set runner.target app:agent
  fluxloop config validate                      every mistake, with its file and line

[bold]Exit codes[/]: 0 done, 2 not valid, or not readable.
"""

app = command_group("Show, change and check the configuration of an experiment.", EPILOG)

File = Annotated[Path | None, typer.Option("--config", "-c", help="A file, or a folder. Default: as fluxloop run.")]


@app.command(epilog=EPILOG)
def show(
    *,
    config: File = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")] = False,
) -> None:
    """
    Print the configuration that applies, with secrets masked.
    """
    with reported():
        loaded = load(config)
    data = masked_config(loaded.config, exclude_defaults=False)
    if as_json:
        print_json(encode(data))
        return
    from ruamel.yaml import YAML

    text = StringIO()
    YAML().dump(data, text)
    output = console()
    for file in loaded.files:
        output.print(f"# from {file.path}", markup=False, style="dim", soft_wrap=True)
    output.print(text.getvalue().rstrip(), markup=False, soft_wrap=True)


@app.command("set", epilog=EPILOG)
def set_(
    key: Annotated[str, typer.Argument(help="The dotted key, such as runner.timeout_seconds.")],
    value: Annotated[str, typer.Argument(help="The value, as YAML: 5, true, text, [a, b].")],
    *,
    config: File = None,
) -> None:
    """
    Change one value in the file that has it, and keep the file's comments.
    """
    with reported():
        found = find(config)
        new = parse_yaml(value, "the value")
        path = _file_of(key, found)
        _check(key, new)
        before = path.read_bytes() if path.exists() else None
        edit_yaml(path, {key: new})
        try:
            load(found)
        except Exception:
            path.write_bytes(before) if before is not None else path.unlink()
            raise
    console().print(f"{path}: {key} is now {value}", markup=False, soft_wrap=True)


@app.command(epilog=EPILOG)
def validate(
    *,
    config: File = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")] = False,
) -> None:
    """
    Check the configuration and the inputs, and print how many runs an experiment would have.
    """
    with reported():
        loaded = load(config)
        planned = plan(loaded)
    for warning in loaded.warnings:
        note(warning)
    facts: dict[str, Any] = {
        "valid": True,
        "config": str(loaded.path),
        "inputs": len(planned.entries),
        "iterations": planned.iterations,
        "runs": len(planned),
    }
    if as_json:
        print_json(encode(facts))
    else:
        inputs = counted(len(planned.entries), "input")
        text = f"{loaded.path} is valid: {inputs}, {planned.iterations} each, {counted(len(planned), 'run')}"
        console().print(text, markup=False, soft_wrap=True, style="green")


def _file_of(key: str, found: Path) -> Path:
    """Return the file of *found* that has *key*, or its nearest parent; ``simulation.yaml`` if none has it."""
    if not found.is_dir():
        return found
    location = tuple(key.split("."))
    files = [read_yaml(found / name) for name in SECTIONS if (found / name).is_file()]
    for length in range(len(location), 0, -1):
        for file in reversed(files):
            if location[:length] in file.lines:
                return file.path
    first = location[0]
    name = "project.yaml" if first in ("name", "description", "tags", "metadata") else "simulation.yaml"
    name = "input.yaml" if first in ("personas", "base_inputs", "inputs_file", "input_template") else name
    return found / name


def _check(key: str, value: Any) -> None:
    """Raise ConfigError if *key* is unknown."""
    parts = key.split(".")
    data: Any = value
    for part in reversed(parts):
        data = {part: data}
    if parts[0] not in known_keys():
        validated(data, source="fluxloop config set")
