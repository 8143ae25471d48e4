"""
``fluxloop record``: switch the recording of arguments on and off, in the files of a project.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ..errors import ConfigError
from ..experiments.configuration.loading import find, load
from ..experiments.configuration.yaml_files import edit_yaml
from ..reading.json_text import encode
from ..recording.lines import read_recording
from ..settings.dotenv import write_variables
from .experiment_commands import Project
from .formatting import console, counted, print_json
from .groups import command_group
from .usage_errors import reported

DEFAULT_FILE = "recordings/args_recording.jsonl"

EPILOG = """
[bold]Examples[/]

  fluxloop record enable           then run your program once, as usual
  fluxloop record status           what was recorded
  fluxloop run experiment          calls the agent with the recorded arguments and your inputs
  fluxloop record disable

The program has to load the settings: fluxloop.load_env(). Comments in .env and in the YAML files are kept.

[bold]Exit codes[/]: 0 done, 2 a file could not be read or written.
"""

app = command_group("Record the arguments of an agent's calls, to run experiments with them.", EPILOG)


@app.command(epilog=EPILOG)
def enable(
    *,
    project: Project = Path(),
    file: Annotated[str, typer.Option(help="The file for the calls, relative to the project.")] = DEFAULT_FILE,
) -> None:
    """
    Record the arguments of the next calls, and use them in experiments.
    """
    with reported():
        (project / file).parent.mkdir(parents=True, exist_ok=True)
        write_variables(project / ".env", {"FLUXLOOP_RECORD_ARGS": "true", "FLUXLOOP_RECORDING_FILE": file})
        edited = _configuration(project)
        edit_yaml(edited, {"replay_args.enabled": True, "replay_args.recording_file": file})
    output = console()
    output.print(
        f"recording to {project / file} (set in {project / '.env'} and {edited})", soft_wrap=True, markup=False
    )
    output.print(
        "now run your program with fluxloop.load_env(), then: fluxloop record status", style="dim", soft_wrap=True
    )


@app.command(epilog=EPILOG)
def disable(*, project: Project = Path()) -> None:
    """
    Stop recording, and bind inputs to the agent's parameters again.
    """
    with reported():
        write_variables(project / ".env", {"FLUXLOOP_RECORD_ARGS": "false"})
        edited = _configuration(project)
        if edited.exists():
            edit_yaml(edited, {"replay_args.enabled": False})
    console().print("recording is off; recorded calls are kept", soft_wrap=True)


@app.command(epilog=EPILOG)
def status(
    *,
    project: Project = Path(),
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")] = False,
) -> None:
    """
    Show whether arguments are recorded, and what was recorded.
    """
    with reported():
        facts = facts_of(project)
    if as_json:
        print_json(encode(facts))
        return
    output = console()
    output.print(f"recording  {'on' if facts['recording'] else 'off'}")
    output.print(f"replaying  {'on' if facts['replaying'] else 'off'}")
    output.print(f"file       {facts['file']}", markup=False, soft_wrap=True)
    output.print(f"recorded   {counted(facts['calls'], 'call')}")
    for target, count in facts["targets"].items():
        output.print(f"           {count:>6,}  {target}", markup=False, soft_wrap=True)


def facts_of(project: Path) -> dict[str, Any]:
    """Return what ``status`` shows."""
    from dotenv import dotenv_values

    variables = dotenv_values(project / ".env") if (project / ".env").is_file() else {}
    try:
        replay = load(find(project)).config.replay_args
        replaying, file = replay.enabled, replay.recording_file
    except ConfigError:
        replaying, file = False, None
    path = project / (variables.get("FLUXLOOP_RECORDING_FILE") or file or DEFAULT_FILE)
    calls = list(read_recording(path)) if path.is_file() else []
    targets: dict[str, int] = {}
    for call in calls:
        targets[call.target] = targets.get(call.target, 0) + 1
    return {
        "recording": (variables.get("FLUXLOOP_RECORD_ARGS") or "").lower() in ("true", "1", "yes", "on"),
        "replaying": replaying,
        "file": str(path),
        "calls": len(calls),
        "targets": targets,
    }


def _configuration(project: Path) -> Path:
    """Return the file that has, or gets, ``replay_args``."""
    try:
        found = find(project)
    except ConfigError:
        found = project / "configs"
    return found / "simulation.yaml" if found.is_dir() or found.name == "configs" else found
