"""
What ``fluxloop run`` prints: the plan of an experiment, or its result; and the exit code.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..experiments.configuration.loading import Loaded
from ..experiments.folder import ExperimentFolder
from ..experiments.preparing import Options, Prepared
from ..experiments.results import Experiment
from ..reading.json_text import encode
from . import formatting
from .formatting import console, note, print_json, relative


def exit_code(result: Experiment, *, fail_under: float | None, strict: bool) -> int:
    """Return 1 if no run succeeded, or if a gate was missed, which is noted on stderr; else 0."""
    if fail_under is not None and result.success_rate < fail_under:
        note(f"{result.success_rate:.1%} of the runs succeeded, fewer than --fail-under {fail_under:.1%}")
        return 1
    if strict and result.failed:
        note(f"{formatting.counted(result.failed, 'run')} failed, and --strict allows none")
        return 1
    return 0 if result.successful else 1


def plan_of(prepared: Prepared) -> dict[str, Any]:
    """Return what would be run, after checking that it could be."""
    from ..experiments.environment import target_environment
    from ..experiments.sources import source_of

    with target_environment(prepared.loaded):
        source = source_of(prepared.loaded, prepared.plan, prepared.target)
    planned = prepared.plan
    return {
        "name": prepared.name,
        "target": source.name,
        "config": str(prepared.loaded.path) if prepared.loaded.path else None,
        "inputs": len(planned.entries),
        "iterations": planned.iterations,
        "runs": len(planned) - len(prepared.finished_runs),
        "parallel": prepared.loaded.config.parallel_runs,
        "output": str(_parent(prepared.loaded, prepared.options)),
    }


def print_plan(facts: Mapping[str, Any], *, as_json: bool) -> None:
    """Print what `plan_of` returned."""
    if as_json:
        print_json(encode(facts))
        return
    output = console()
    for key, value in facts.items():
        output.print(f"{key:>10}  {value}", markup=False, soft_wrap=True)


def _parent(loaded: Loaded, options: Options) -> Path:
    return Path(options.output) if options.output else loaded.config.output_folder(loaded.base)


def print_result(result: Experiment, folder: ExperimentFolder, *, as_json: bool) -> None:
    """Print the result of an experiment, and what to do next."""
    shown = relative(result.folder)
    if as_json:
        print_json(encode({"folder": str(result.folder), "name": result.name, **dict(folder.summary["results"])}))
        return
    output = console()
    rate = f"{result.success_rate:.1%}"
    style = "green" if result.succeeded else "red" if not result.successful else "yellow"
    output.print(
        f"{result.successful} of {formatting.counted(result.total_runs, 'run')} succeeded ({rate})"
        f" in {formatting.duration(result.duration_seconds * 1000)}",
        style=style,
        soft_wrap=True,
    )
    output.print(f"results: {shown}", markup=False, soft_wrap=True)
    output.print(f"next:    fluxloop evaluate experiment {shown}", markup=False, soft_wrap=True, style="dim")
