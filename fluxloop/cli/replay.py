"""
``fluxloop replay``: run a recorded trace against the code of today, offline.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import FluxLoopError, ReplayError
from ..models import Trace
from ..reading.json_text import encode
from .filter_options import NoColor, folder_or
from .formatting import console, counted, print_json
from .own_streams import around_users_code
from .replay_doctor import diagnosed

if TYPE_CHECKING:
    from ..replay.rerun import Rerun

EPILOG = """
[bold]Examples[/]

  fluxloop replay 00a1b2c3                          run it again, its entry point is in the trace
  fluxloop replay 00a1b2c3 --target shop:support    name the function yourself
  fluxloop replay case.jsonl --diff                 a file of one trace; show both trees
  fluxloop replay 00a1b2c3 --match loose            for code whose prompts have changed
  fluxloop replay 00a1b2c3 --live search            the new search under the old conversation
  fluxloop replay 00a1b2c3 --fork-at 7f3e --output '{"found": 0}'    one tool gives another answer
  fluxloop replay 00a1b2c3 --fork-at 7f3e --input '{"city": "Bern"}' --rest recorded
  fluxloop replay 00a1b2c3 --fork-at 7f3e --model gpt-5 --save fork.jsonl
  fluxloop replay --doctor shop:support --runs 3    which lines make its requests differ from run to run
  git bisect run fluxloop replay case.jsonl --target shop:support

[bold]Exit codes[/]: 0 the same trajectory (--doctor: the same requests), 1 another one, 2 could not run.
"""


def replay(
    trace: Annotated[
        str | None,
        typer.Argument(
            metavar="TRACE",
            help="A trace's id as fluxloop list prints it, its beginning, or a .jsonl file.",
            show_default=False,
        ),
    ] = None,
    target: Annotated[
        str | None,
        typer.Option(metavar="MODULE:FUNCTION", help="What to run.", show_default="the recorded entry point"),
    ] = None,
    match: Annotated[str, typer.Option(metavar="MODE", help="How calls match: strict, fifo or loose.")] = "strict",
    live: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Run these calls for real: a name, or tools, models, all. Repeat it."),
    ] = None,
    path: Annotated[
        Path | None, typer.Option(help="Folder of records.", show_default="the configured base_path")
    ] = None,
    fork_at: Annotated[
        str | None, typer.Option(metavar="ID", help="Change one recorded step: its id.", show_default=False)
    ] = None,
    output: Annotated[
        str | None, typer.Option(metavar="JSON", help="The answer of that step.", show_default=False)
    ] = None,
    given: Annotated[
        str | None,
        typer.Option("--input", metavar="JSON", help="Run it with this input, or these arguments.", show_default=False),
    ] = None,
    model: Annotated[
        str | None, typer.Option(metavar="NAME", help="Run it with this model.", show_default=False)
    ] = None,
    rest: Annotated[
        str, typer.Option(metavar="HOW", help="How later calls are answered: live, recorded or offline.")
    ] = "live",
    secret: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VARIABLE", help="Put a masked secret back, from an environment variable."),
    ] = None,
    save: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the new trace, a .jsonl file.", show_default=False)
    ] = None,
    diff: Annotated[bool, typer.Option("--diff", help="Show both trees, also if they are the same.")] = False,
    doctor: Annotated[
        str | None,
        typer.Option(metavar="MODULE:FUNCTION", help="Find what makes its requests differ.", show_default=False),
    ] = None,
    runs: Annotated[int, typer.Option(metavar="N", min=2, help="Runs that --doctor compares.")] = 3,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
    no_color: NoColor = False,
) -> None:
    """
    Run a recorded trace against today's code; its model and tool calls are answered from the recording.

    Nothing is sent over the network, except by calls that are named with --live, and by a step of --fork-at and those
    after it. A text that is not JSON is taken as it is. With --doctor, the function runs in
    processes of its own, its calls answered from TRACE; without a TRACE, from a first run without arguments.
    """
    try:
        if doctor is not None:
            known = trace_at(trace, path) if trace else None
            diagnosis = diagnosed(doctor, known, runs, as_json=as_json, color=not no_color)
            raise typer.Exit(0 if diagnosis.is_reproducible else 1)
        options = fork_options(fork_at, output, given, model, rest)
        with around_users_code(as_json=as_json):
            again = _run_again(trace, path, target, secret or [], save, match=match, live=live or (), **options)
    except FluxLoopError as error:
        sys.stderr.write(f"fluxloop replay: {error}\n")
        raise typer.Exit(2) from None
    if as_json:
        print_json(encode(_facts(again)))
    else:
        _print(again, diff=diff, color=not no_color)
    raise typer.Exit(0 if again.is_same else 1)


def _run_again(
    trace: str | None, path: Path | None, target: str | None, secrets: list[str], save: Path | None, **options: Any
) -> Rerun:
    """Replay the trace that is named *trace*, and write the new one to the file *save*."""
    if trace is None:
        raise ReplayError(
            "expected a trace to replay: its id as fluxloop list prints it, its beginning, or a .jsonl file"
        )
    from ..replay.rerun import rerun
    from ..replay.unmasking import secrets_of_environment

    again = rerun(trace_at(trace, path), target, secrets=secrets_of_environment(secrets), **options)
    if save is not None:
        from ..replay.cassette_files import write

        write(save, again.traces)
    return again


def fork_options(
    fork_at: str | None, output: str | None, given: str | None, model: str | None, rest: str
) -> dict[str, Any]:
    """
    Return the options of a fork for `fluxloop.replay`; none without *fork_at*.

    Raises:
        ReplayError: If something is to be changed without *fork_at*.
    """
    changes = {"output": output, "input": given, "model": model}
    found: dict[str, Any] = {name: text for name, text in changes.items() if text is not None}
    if fork_at is None:
        if found:
            raise ReplayError(f"--{next(iter(found))} changes a recorded step: name the step with --fork-at ID")
        return {}
    return {
        "fork_at": fork_at,
        "rest": rest,
        **{name: text if name == "model" else _json_or_text(text) for name, text in found.items()},
    }


def _json_or_text(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def trace_at(trace: str, path: Path | None) -> Trace:
    """
    Return the trace of a file, or the one whose id begins or ends with *trace*.

    Raises:
        FluxLoopError: If there is none, or several.
    """
    from ..replay.sources import traces_in

    file = Path(trace)
    is_file = path is None and (file.suffix == ".jsonl" or file.is_dir())
    found = traces_in(file, None) if is_file else traces_in(folder_or(path), trace)
    if len(found) > 1:
        raise ReplayError(f"{trace} has {len(found)} traces: give the id of one of them, and --path {trace}")
    return found[0]


def _facts(again: Rerun) -> dict[str, Any]:
    facts: dict[str, Any] = {"same": again.is_same, "target": again.target, "error": again.error}
    return {
        **facts,
        "first_divergence": again.first_divergence(),
        **dataclasses.asdict(again.report),
        "diff": again.diff(),
    }


def _print(again: Rerun, *, diff: bool, color: bool) -> None:
    output = console(color=color)

    def line(text: str, style: str = "") -> None:
        output.print(text, style=style, markup=False, highlight=False, soft_wrap=True)

    report = again.report
    counts = f"{counted(report.hits, 'call')} answered, {report.live:,} live"
    if report.forked_at is not None:
        line(f"forked at {report.forked_at}")
    if again.is_same:
        line(f"the same trajectory: {counts}")
    else:
        line(
            f"another trajectory: {counts}, {counted(len(report.misses), 'miss')}, {len(report.unused):,} not made",
            "red",
        )
        line(f"first divergence: {again.first_divergence()}")
    if again.error and again.error not in report.misses:
        line(f"the run ended with {again.error.splitlines()[0]}")
    if diff or not again.is_same:
        for each in again.diff():
            line(each, {"+": "green", "-": "red"}.get(each[:1], ""))
