"""
``fluxloop status``: the configuration, the recording and the newest experiments of a project.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ..errors import ConfigError, ReadError
from ..experiments.configuration.loading import load
from ..experiments.folder import ExperimentFolder, experiments_in
from ..experiments.inputs import plan
from ..reading.json_text import encode, escaped
from . import formatting
from .experiment_commands import Project
from .formatting import console, print_json
from .record import facts_of
from .usage_errors import reported

EPILOG = """
[bold]Examples[/]

  fluxloop status                the project in the working directory
  fluxloop status -n 50          more experiments
  fluxloop status --json         one JSON object

[bold]Exit codes[/]: 0 printed, 2 a file could not be read.
"""


def status(
    *,
    project: Project = Path(),
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="The most experiments to show.")] = 10,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")] = False,
) -> None:
    """
    Show the configuration, the recording and the newest experiments.
    """
    with reported():
        configuration, folder = _configuration(project)
        recording = facts_of(project)
        experiments = [_facts(path) for path in reversed(experiments_in(folder)[-limit:])]
    if as_json:
        print_json(encode({"configuration": configuration, "recording": recording, "experiments": experiments}))
        return
    output = console()
    if configuration["valid"]:
        target = configuration["target"] or "no target"
        what = f"{configuration['path']}, {target}, {formatting.counted(configuration['runs'], 'run')}"
    else:
        what = configuration["problem"].split("\n")[0]
    output.print(f"configuration  {escaped(what)}", markup=False, soft_wrap=True)
    state = f"{'on' if recording['recording'] else 'off'}, {formatting.counted(recording['calls'], 'recorded call')}"
    output.print(f"recording      {state}", markup=False, soft_wrap=True)
    output.print(f"experiments    {folder if experiments else f'none in {folder}'}", markup=False, soft_wrap=True)
    for each in experiments:
        rate = f"{each['success_rate']:.0%}" if each["finished"] else ""
        line = f"  {each['folder']:40} {each['state']:12} {each['finished']:>6}/{each['runs']:<6} {rate:>5}"
        output.print(
            escaped(line.rstrip()), markup=False, soft_wrap=True, style="" if each["state"] == "finished" else "yellow"
        )


def _configuration(project: Path) -> tuple[dict[str, Any], Path]:
    """Return what applies in *project*, and where its experiments are."""
    try:
        loaded = load(project)
        runs = len(plan(loaded))
    except ConfigError as exc:
        return {"valid": False, "problem": str(exc)}, project / "experiments"
    runner = loaded.config.runner
    target = runner.target or runner.module_path or (runner.http and runner.http.url) or ""
    facts = {"valid": True, "path": str(loaded.path), "target": target, "runs": runs}
    return facts, loaded.config.output_folder(loaded.base)


def _facts(path: Path) -> dict[str, Any]:
    """Return a line of the list of experiments."""
    try:
        folder = ExperimentFolder.at(path)
    except ReadError as exc:
        return {
            "folder": path.name,
            "state": "unreadable",
            "finished": 0,
            "runs": 0,
            "success_rate": 0.0,
            "problem": str(exc),
        }
    results = folder.summary.get("results") or {}
    finished, succeeded = results.get("finished"), results.get("successful", 0)
    if finished is None or folder.state != "finished":  # the summary is of the start
        rows = list(folder.rows())
        finished, succeeded = len(rows), sum(row.succeeded for row in rows)
    return {
        "folder": path.name,
        "state": folder.state,
        "finished": finished,
        "runs": results.get("total_runs", finished),
        "success_rate": succeeded / finished if finished else 0.0,
        "cost": results.get("cost"),
    }
