"""
``fluxloop run``: run an experiment.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..errors import ConfigError, WriteError
from ..experiments.engines.contract import Engine
from ..experiments.folder import ExperimentFolder
from ..experiments.junit import check_writable, write_junit
from ..experiments.orchestration import EngineName, Progress
from ..experiments.preparing import Options, Prepared, prepare
from ..experiments.results import Experiment
from ..experiments.running import run_prepared
from .formatting import console, note
from .groups import command_group
from .own_streams import around_users_code
from .run_progress import SilentProgress, progress_for
from .run_results import exit_code, plan_of, print_plan, print_result
from .stopping import stoppable
from .usage_errors import reported

GO_ON = "finished runs are kept. Go on with: fluxloop run experiment --resume experiments/latest_*"
"""What the command prints after Ctrl-C."""

ASK_ABOVE = 100
"""Runs above which a person at a terminal is asked first. Pipes and CI are never asked."""

EPILOG = """
[bold]Examples[/]

  fluxloop run experiment                              as configs/simulation.yaml or setting.yaml says
  fluxloop run experiment --config agent.yaml -i 5     another file, each input five times
  fluxloop run experiment --parallel 16 --limit 20     quickly, and only 20 inputs
  fluxloop run experiment --input refund-3 --json      one input, its result as JSON
  fluxloop run experiment --fail-under 0.95 --junit r.xml    a gate in CI
  fluxloop run experiment --resume experiments/latest_*/     go on after Ctrl-C or a crash
  fluxloop run experiment --dry-run                    check everything, and run nothing

[bold]Exit codes[/]: 0 done, 1 no run succeeded or a gate was missed, 2 the experiment could not run, 130 after Ctrl-C,
143 after SIGTERM.
"""

app = command_group("Run an agent over inputs, and keep what it did in a folder.", EPILOG)


ConfigOption = Annotated[
    Path | None,
    typer.Option("--config", "-c", help="A YAML file, or a folder of them. Default: configs/ or setting.yaml."),
]
IterationsOption = Annotated[
    int | None, typer.Option("--iterations", "-i", min=1, metavar="N", help="Run each input N times.")
]
ParallelOption = Annotated[int | None, typer.Option(min=1, metavar="N", help="Execute N runs at the same time.")]
NameOption = Annotated[str | None, typer.Option(help="The name of the experiment.")]
OutputOption = Annotated[Path | None, typer.Option("--output", "-o", help="Where its folder is created.")]
TimeoutOption = Annotated[float | None, typer.Option(metavar="SECONDS", help="The most time that a run may take.")]
RetriesOption = Annotated[int | None, typer.Option(min=0, metavar="N", help="Execute a failed run up to N more times.")]
LimitOption = Annotated[int | None, typer.Option(min=1, metavar="N", help="Use the first N inputs.")]
OnlyOption = Annotated[
    list[str] | None, typer.Option("--input", metavar="ID", help="Use this input. Repeat it for several.")
]
PersonasOption = Annotated[str | None, typer.Option("--personas", "-p", metavar="A,B", help="Use these personas.")]
SeedOption = Annotated[int | None, typer.Option(help="The seed from which the seed of each run is derived.")]
FailUnderOption = Annotated[
    float | None, typer.Option(min=0, max=1, metavar="RATE", help="Exit with 1 if fewer runs succeed, as in 0.95.")
]
StrictOption = Annotated[bool, typer.Option("--strict", help="Exit with 1 if any run fails.")]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Check everything, print the plan, run nothing.")]
ResumeOption = Annotated[Path | None, typer.Option(metavar="DIR", help="Execute the missing runs of this experiment.")]
EngineOption = Annotated[
    EngineName | None,
    typer.Option(help="Where runs are executed: in this process, in worker processes, or on Ray."),
]
RayAddressOption = Annotated[
    str | None,
    typer.Option(metavar="A", help="The Ray cluster, for --engine ray. Default: RAY_ADDRESS, or this machine."),
]
AsJsonOption = Annotated[bool, typer.Option("--json", help="Print the result as one JSON object and nothing else.")]
JunitOption = Annotated[Path | None, typer.Option(metavar="FILE", help="Also write the runs as JUnit XML.")]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before a large experiment.")]
NoDisplayOption = Annotated[bool, typer.Option("--no-display", help="Print plain lines, also in a terminal.")]


@app.command(epilog=EPILOG)
def experiment(
    *,
    config: ConfigOption = None,
    iterations: IterationsOption = None,
    parallel: ParallelOption = None,
    name: NameOption = None,
    output: OutputOption = None,
    timeout: TimeoutOption = None,
    retries: RetriesOption = None,
    limit: LimitOption = None,
    only: OnlyOption = None,
    personas: PersonasOption = None,
    seed: SeedOption = None,
    fail_under: FailUnderOption = None,
    strict: StrictOption = False,
    dry_run: DryRunOption = False,
    resume: ResumeOption = None,
    engine: EngineOption = None,
    ray_address: RayAddressOption = None,
    as_json: AsJsonOption = False,
    junit: JunitOption = None,
    yes: YesOption = False,
    no_display: NoDisplayOption = False,
) -> None:
    """
    Run the agent over every input, each in a trace of its own, and write what it did to a folder.
    """
    values = {
        "iterations": iterations,
        "parallel_runs": parallel,
        "name": name,
        "runner.timeout_seconds": timeout,
        "runner.max_retries": retries,
        "limit": limit,
        "seed": seed,
    }
    chosen = Options(
        {key: value for key, value in values.items() if value is not None},
        tuple(only or ()),
        tuple(each.strip() for each in (personas or "").split(",") if each.strip()),
        None if output is None else str(output),
    )
    with stoppable(GO_ON), reported(), around_users_code(as_json=as_json):
        prepared = _prepared(config, chosen, resume)
        if dry_run:
            plan = plan_of(prepared)
        else:
            _confirm(prepared, is_confirmed=yes)
            progress = SilentProgress() if as_json else progress_for(console(), plain=no_display)
            result, folder = _ran(prepared, _engine(engine, ray_address), progress, junit)
    if dry_run:
        print_plan(plan, as_json=as_json)
        return
    print_result(result, folder, as_json=as_json)
    if code := exit_code(result, fail_under=fail_under, strict=strict):
        raise typer.Exit(code)


def _prepared(config: Path | None, chosen: Options, resume: Path | None) -> Prepared:
    prepared = prepare(config, chosen, resume=resume)
    for warning in prepared.loaded.warnings:
        note(warning)
    return prepared


def _ran(
    prepared: Prepared, engine: EngineName | Engine | None, progress: Progress, junit: Path | None
) -> tuple[Experiment, ExperimentFolder]:
    if junit is not None:
        check_writable(junit)
    try:
        result = run_prepared(prepared, engine=engine, progress=progress, install=True)
    except WriteError as exc:
        for advice in getattr(exc, "__notes__", ()):
            note(advice)
        raise
    folder = ExperimentFolder.at(result.folder)
    if junit is not None:
        write_junit(junit, folder)
    return result, folder


def _engine(name: EngineName | None, ray_address: str | None) -> EngineName | Engine | None:
    if ray_address is None:
        return name
    if name not in (None, "ray"):
        raise ConfigError(f"--ray-address belongs to --engine ray, got --engine {name}")
    from ..experiments.engines.ray_cluster import RayEngine

    return RayEngine(ray_address)


def _confirm(prepared: Prepared, *, is_confirmed: bool) -> None:
    """Ask a person before a large experiment, and exit with 2 if the answer is no."""
    count = len(prepared.plan) - len(prepared.finished_runs)
    if is_confirmed or count <= ASK_ABOVE or not console().is_terminal or not _is_person():
        return
    if not typer.confirm(f"{count:,} runs of {prepared.target_name}. Continue?", default=True):
        raise typer.Exit(2)


def _is_person() -> bool:
    import sys

    from ..settings.dotenv import in_ci

    return sys.stdin is not None and sys.stdin.isatty() and not in_ci()
