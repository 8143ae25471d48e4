"""
``fluxloop blame``: sample each model call of a trace again, and rank the calls by how often the outcome flips.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..reading.json_text import encode
from .filter_options import NoColor
from .formatting import console, counted, print_json
from .own_streams import around_users_code
from .replay import trace_at
from .usage_errors import reported

if TYPE_CHECKING:
    from ..replay.blaming import Blame

EPILOG = """
[bold]Examples[/]

  fluxloop blame 00a1b2c3 --check checks:refunded                 five samples of each model call
  fluxloop blame 00a1b2c3 --check checks:refunded --samples 20 --budget 2.50
  fluxloop blame case.jsonl --check checks:refunded --target shop:support --json

A check takes a fluxloop Trace and returns whether its outcome is right; a failed assert counts as no.
The model calls that are sampled run for real, and so do later calls that the recording does not have (see --rest).

[bold]Exit codes[/]: 0 the outcome flipped in at least one run, 1 it never flipped, 2 could not run.
"""

COLUMNS = "  rate  95 % interval  flips  other answers  step"


def blame(
    trace: Annotated[
        str,
        typer.Argument(
            metavar="TRACE",
            help="A trace's id as fluxloop list prints it, its beginning, or a .jsonl file of one trace.",
        ),
    ],
    check: Annotated[str, typer.Option(metavar="MODULE:FUNCTION", help="Whether the outcome of a trace is right.")],
    samples: Annotated[int, typer.Option(metavar="N", min=1, help="Runs per model call.")] = 5,
    budget: Annotated[
        float | None, typer.Option(metavar="USD", min=0, help="Stop when the model calls have cost this much.")
    ] = None,
    target: Annotated[
        str | None,
        typer.Option(metavar="MODULE:FUNCTION", help="What to run.", show_default="the recorded entry point"),
    ] = None,
    rest: Annotated[
        str, typer.Option(metavar="HOW", help="How later calls are answered: recorded, live or offline.")
    ] = "recorded",
    match: Annotated[str, typer.Option(metavar="MODE", help="How calls match: strict, fifo or loose.")] = "strict",
    path: Annotated[
        Path | None, typer.Option(help="Folder of records.", show_default="the configured base_path")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
    no_color: NoColor = False,
) -> None:
    """
    Sample each model call of a trace again, and rank the calls by how often the outcome of the run flips.
    """
    with reported(), around_users_code(as_json=as_json):
        from ..replay.blaming import blame as blamed
        from ..replay.entry import function_at

        recorded = trace_at(trace, path)
        function = function_at(check, "--check")
        options: dict[str, Any] = {"rest": rest, "match": match, "target": target}
        with _progress(is_shown=not as_json) as on_sample:
            result = blamed(recorded, function, samples=samples, budget=budget, on_sample=on_sample, **options)
    if as_json:
        print_json(encode(_facts(result)))
    else:
        _print(result, color=not no_color)
    raise typer.Exit(0 if result.has_found else 1)


@contextmanager
def _progress(*, is_shown: bool) -> Iterator[Callable[[int, int], None] | None]:
    """Show how many samples were taken, if standard error is a terminal."""
    if not is_shown or not sys.stderr.isatty():
        yield None
        return
    from rich.progress import Progress

    with Progress(console=console(stderr=True), transient=True) as progress:
        task = progress.add_task("sampling")
        yield lambda taken, total: progress.update(task, completed=taken, total=total)


def _facts(result: Blame) -> dict[str, Any]:
    steps = [{**dataclasses.asdict(step), "rate": step.rate, "interval": step.interval} for step in result.steps]
    facts = {"trace_id": result.trace_id, "outcome": result.outcome, "spent_usd": result.spent}
    return {**facts, "complete": result.is_complete, "steps": steps}


def _print(result: Blame, *, color: bool) -> None:
    output = console(color=color)

    def line(text: str, style: str = "") -> None:
        output.print(text, style=style, markup=False, highlight=False, soft_wrap=True)

    line(f"the recorded outcome is {'right' if result.outcome else 'wrong'}; a flip is the other outcome")
    line(COLUMNS, "dim")
    for step in result.steps:
        low, high = step.interval or (0.0, 1.0)
        numbers = f"{step.rate:6.0%}  {low:5.0%} to {high:4.0%}  {step.flips:>2} of {step.samples:<3}"
        where = f"call {step.number}  {step.path} > {step.name}  {step.id}"
        line(f"{numbers} {step.changed:>5} of {step.samples:<3}  {where}", "bold" if step.flips else "")
        if step.failures:
            line(f"        {counted(len(step.failures), 'run')} did not count: {step.failures[0]}", "yellow")
    if result.spent:
        line(f"spent ${result.spent:.4f}")
    if not result.is_complete:
        line("the budget was spent before all samples were taken", "yellow")
    if not result.has_found:
        line("no run had another outcome: take more samples, or sample with --rest live")
