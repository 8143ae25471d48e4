"""
``fluxloop evaluate experiment``: judge the runs of an experiment, and fail if they are not good enough.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from ..experiments.evaluation import OUTPUT, Evaluation, evaluate
from ..experiments.evaluation.cells import MOST_LISTED
from ..experiments.evaluation.reports.markdown import headline, metric_rows
from ..experiments.evaluation.time_limits import ending_the_process
from ..experiments.shown import dollars, milliseconds, percent
from ..reading.json_text import encode, escaped
from .experiment_commands import Folders, Overwrite, experiment_at, failing_with_2, progress
from .formatting import console, counted, note, print_json
from .groups import command_group
from .own_streams import around_users_code

EPILOG = """
[bold]Examples[/]

  fluxloop evaluate experiment experiments/latest_*/
  fluxloop evaluate experiment checkout --fail-under 0.8 --junit results.xml
  fluxloop evaluate experiment checkout --baseline experiments/checkout_20260117_143022 --strict
  fluxloop evaluate experiment checkout --config strict.yaml --json

Without --config it reads configs/evaluation.yaml or evaluation.yaml; without either, a run passes if it succeeded
with an output. Judges without an API key are skipped. The rules are in docs/evaluation.md.

[bold]Exit codes[/]: 0 done, 1 a gate failed (--fail-under, --strict), 2 could not evaluate, wrong usage,
130 after Ctrl-C, 143 after SIGTERM.
"""

app = command_group("Judge the runs of an experiment, and write the reports.", EPILOG)


ConfigOption = Annotated[
    Path | None, typer.Option("--config", "-c", metavar="FILE", help="The evaluation.yaml.", show_default=False)
]
BaselineOption = Annotated[
    str | None, typer.Option(metavar="DIR", help="An earlier experiment to compare with.", show_default=False)
]
FailUnderOption = Annotated[
    float | None, typer.Option(metavar="S", help="Exit with 1 if the average score is lower (0 to 1).")
]
StrictOption = Annotated[
    bool,
    typer.Option("--strict", help="Exit with 1 for an unmet criterion, a regression or a failed evaluator too."),
]
ThresholdOption = Annotated[
    float | None, typer.Option(metavar="S", help="The score from which a run passes.", show_default="0.7")
]
ReportOption = Annotated[str | None, typer.Option(metavar="KIND", help="html, md or both.", show_default="both")]
JunitOption = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Write the runs as test cases for CI.", show_default=False)
]
OutputOption = Annotated[str, typer.Option("--output", "-o", metavar="NAME", help="Folder within the experiment.")]
SampleRateOption = Annotated[
    float | None, typer.Option(metavar="R", help="The share of the runs that judges see.", show_default="1.0")
]
MaxLlmOption = Annotated[
    int | None, typer.Option(metavar="N", help="The most requests of judges.", show_default="no limit")
]
EvaluatorTimeoutOption = Annotated[
    float | None,
    typer.Option(metavar="SECONDS", help="The most time of an evaluator for one run.", show_default="300"),
]
LlmApiKeyOption = Annotated[
    str | None,
    typer.Option(envvar="FLUXLOOP_LLM_API_KEY", help="The key of the judges.", show_default=False),
]
AsJsonOption = Annotated[bool, typer.Option("--json", help="Print summary.json and nothing else.")]


@app.command("experiment", epilog=EPILOG)
@failing_with_2
def evaluate_experiment(
    folders: Folders,
    config: ConfigOption = None,
    baseline: BaselineOption = None,
    fail_under: FailUnderOption = None,
    strict: StrictOption = False,
    threshold: ThresholdOption = None,
    report: ReportOption = None,
    junit: JunitOption = None,
    output: OutputOption = OUTPUT,
    sample_rate: SampleRateOption = None,
    max_llm: MaxLlmOption = None,
    evaluator_timeout: EvaluatorTimeoutOption = None,
    llm_api_key: LlmApiKeyOption = None,
    overwrite: Overwrite = False,
    as_json: AsJsonOption = False,
) -> None:
    """
    Score every run, compare with a baseline, and write summary.json, per_trace.jsonl, report.md and report.html.
    """
    with around_users_code(as_json=as_json), progress("evaluated", shown=not as_json) as count, ending_the_process():
        evaluation = evaluate(
            experiment_at(folders),
            config=config,
            baseline=baseline,
            fail_under=fail_under,
            strict=strict,
            threshold=threshold,
            output=output,
            report=report,
            junit=junit,
            api_key=llm_api_key,
            sample_rate=sample_rate,
            max_llm_calls=max_llm,
            evaluator_timeout=evaluator_timeout,
            on_run=lambda run, score: count(),
        )
    if as_json:
        print_json(encode(evaluation.summary))
    else:
        _print(evaluation)
    if not evaluation.passed:
        raise typer.Exit(1)


def _print(evaluation: Evaluation) -> None:
    output, summary = console(), evaluation.summary
    output.print(Text(headline(summary), style="bold"), soft_wrap=True)
    output.print(_evaluators(summary))
    if facts := [*_facts(summary)]:
        output.print("; ".join(facts), markup=False, style="dim", soft_wrap=True)
    if comparison := summary["analysis"].get("comparison"):
        print_comparison(output, comparison)
    for reason, runs in summary["top_reasons"][:5]:
        output.print(Text(f"  {runs:>5} x {escaped(reason)}"), soft_wrap=True)
    for notice in _notices(summary):
        note(notice)
    reports = [path for name in ("report.html", "report.md") if (path := evaluation.output / name).is_file()]
    if reports:
        output.print(str(reports[0]), markup=False, soft_wrap=True)
    for gate in evaluation.failed_gates:
        output.print(Text(f"FAILED: {escaped(gate)}", style="bold red"), soft_wrap=True)


def _facts(summary: Any) -> Iterator[str]:
    if latency := summary["latency_ms"]:
        yield f"latency p50 {milliseconds(latency['p50'])}, p95 {milliseconds(latency['p95'])}"
    if summary["cost"] is not None:
        yield f"cost {dollars(summary['cost'])}"
    if repeats := summary["repeats"]:
        k = str(min(repeats["runs_per_input"], max(map(int, repeats["pass_at_k"]))))
        yield f"pass@{k} {percent(repeats['pass_at_k'][k])}, pass^{k} {percent(repeats['pass_hat_k'][k])}"
        yield counted(repeats["flaky_count"], "flaky input")


def _notices(summary: Any) -> Iterator[str]:
    for name, one in summary["evaluator_stats"].items():
        if one.get("note"):
            yield f"{name}: {escaped(one['note'])}"
    yield from summary["notices"]


MOST_LABELS = 5
"""Labels of an evaluator that are printed, the most frequent first; the reports have more."""


def _evaluators(summary: Any) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("evaluator")
    for name in ("average", "scored", "skipped", "errors"):
        table.add_column(name, justify="right")
    for name, one in summary["evaluator_stats"].items():
        average = "" if one["average"] is None else f"{one['average']:.3f}"
        table.add_row(Text(escaped(name)), average, *(f"{one[key] or ''}" for key in ("count", "skipped", "errors")))
        for rule, counts in one.get("rules", {}).items():
            if counts["failed"]:
                table.add_row(Text(f"  {escaped(rule)}: {counts['failed']} failed", style="red"))
        for label, count in [*one.get("labels", {}).items()][:MOST_LABELS]:
            table.add_row(Text(f"  {escaped(label):.60}: {count}", style="dim"))
    return table


def print_comparison(output: Any, comparison: Any) -> None:
    """Print the figures of a comparison, as `fluxloop.experiments.evaluation.pairs` returns it."""
    counts = f"{comparison['regression_count']} broke, {comparison['fix_count']} were fixed"
    changes = f"{comparison['trajectory_changes']} called other tools"
    output.print(f"{counted(comparison['inputs_compared'], 'input')} compared: {counts}, {changes}", markup=False)
    for place, name in (("the baseline", "only_in_baseline"), ("the later experiment", "only_here")):
        if keys := comparison[name]:
            more = " or more" if len(keys) == MOST_LISTED else ""
            output.print(f"{counted(len(keys), 'input')}{more} only in {place}, not compared", markup=False)
    if other := comparison.get("other_inputs"):
        text = "has" if other == 1 else "have"
        text = f"{counted(other, 'input')} {text} another text under the same id: give each input an id of its own"
        output.print(text, markup=False, style="yellow", soft_wrap=True)
    if not comparison["metrics"]:
        return
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("")
    for name in ("before", "after", "difference", "95 % interval", "p"):
        table.add_column(name, justify="right")
    for row in metric_rows(comparison["metrics"]):
        table.add_row(*row)
    output.print(table)
