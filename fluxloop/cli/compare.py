"""
``fluxloop compare``: what changed between two experiments, or between two traces.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from ..errors import ConfigError
from ..experiments.comparison import Difference
from ..experiments.comparison import compare as compared
from ..experiments.evaluation.pairs import NOTHING_COMPARED
from ..experiments.evaluation.time_limits import ending_the_process
from ..reading.json_text import encode, escaped
from .compare_traces import is_trace, print_traces, second_experiment
from .evaluate import print_comparison
from .experiment_commands import failing_with_2
from .formatting import console, counted, note, print_json

EPILOG = """
[bold]Examples[/]

  fluxloop compare experiments/checkout_20260117_143022 experiments/latest_checkout
  fluxloop compare before after --html difference.html
  fluxloop compare before after --json --strict
  fluxloop compare 00a1b2c3 7f3e9d10                two traces: their trees
  fluxloop compare 7f3e9d10                         a fork, with the trace that it was forked from

Runs are paired by input and persona. Both experiments are scored in the same way, as fluxloop evaluate does.

[bold]Exit codes[/]: 0 done, 1 regressed (with --strict), 2 could not compare, wrong usage.
"""

MOST_SHOWN = 10
"""Inputs whose difference is printed; --full prints all, --html and --json have them too."""

_STYLES = {"-": "red", "+": "green", " ": "dim", "…": "dim"}
_CHANGES = {"broken": "bold red", "fixed": "bold green", "same": "bold"}


@failing_with_2
def compare(
    before: Annotated[str, typer.Argument(help="The earlier experiment, or a trace.", metavar="DIR_A")],
    after: Annotated[
        str | None, typer.Argument(help="The later experiment, or a trace.", metavar="DIR_B", show_default=False)
    ] = None,
    config: Annotated[
        Path | None, typer.Option("--config", "-c", metavar="FILE", help="The evaluation.yaml.", show_default=False)
    ] = None,
    html: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the comparison as a page.", show_default=False)
    ] = None,
    full: Annotated[bool, typer.Option("--full", help="Print every input that changed.")] = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit with 1 if the experiment regressed, or no input is in both.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")] = False,
    path: Annotated[
        Path | None, typer.Option(help="Folder of the traces.", show_default="the configured base_path")
    ] = None,
) -> None:
    """
    Show which inputs broke or were fixed, and what their runs did differently; or how two traces differ.
    """
    if after is None and (needed := second_experiment(before)):
        raise ConfigError(needed)
    if after is None or is_trace(before, path):
        is_same = print_traces(before, after, path, as_json=as_json)
        if strict and not is_same:
            raise typer.Exit(1)
        return
    with ending_the_process():
        comparison = compared(before, after, config=config, html=html)
    if as_json:
        print_json(encode(comparison.as_json()))
    else:
        output = console()
        print_comparison(output, comparison.result.as_json())
        shown = comparison.differences if full else comparison.differences[:MOST_SHOWN]
        for difference in shown:
            output.print(_difference(difference), soft_wrap=True)
        if len(shown) < len(comparison.differences):
            note(f"{counted(len(comparison.differences) - len(shown), 'more input')} changed; --full prints all")
        if comparison.report:
            output.print(str(comparison.report), markup=False, soft_wrap=True)
    if strict and not comparison.result.inputs:
        note(NOTHING_COMPARED)
    if strict and (comparison.regressed or not comparison.result.inputs):
        raise typer.Exit(1)


def _difference(difference: Difference) -> Text:
    pair = difference.pair
    text = Text("\n").append(pair.change, style=_CHANGES[pair.change])
    text.append(f"  {pair.after.label}")
    text.append(f"  as {escaped(pair.key[1])}" if pair.key[1] else "", style="dim")
    text.append(f"  {pair.before.passed}/{pair.before.runs} -> {pair.after.passed}/{pair.after.runs} passed")
    if difference.outputs[0] != difference.outputs[1]:
        text.append(f"\n  - {escaped(difference.outputs[0])}", style="red")
        text.append(f"\n  + {escaped(difference.outputs[1])}", style="green")
    for line in difference.lines:
        text.append(f"\n    {line.sign} {line.text}", style=_STYLES[line.sign])
    return text
