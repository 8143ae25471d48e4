"""
The report as Markdown: for pull requests, job summaries and terminals.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from ...shown import dollars, milliseconds, percent, signed

MOST_ROWS = 20
"""Rows of a table; summary.json has more."""


def markdown(summary: Mapping[str, Any]) -> str:
    """Return the report of *summary*."""
    return "\n".join(_lines(summary)) + "\n"


def _lines(summary: Mapping[str, Any]) -> Iterator[str]:
    mark = "✅" if summary["pass_fail_status"] == "pass" else "❌"
    yield f"# {mark} Evaluation of {_cell(summary['name'])}\n"
    yield f"{headline(summary)}\n"
    if summary.get("evaluation_goal"):
        yield f"**Goal**: {_cell(summary['evaluation_goal'])}\n"
    for gate in summary["failed_gates"]:
        yield f"- ❌ {_cell(gate)}"
    if summary["failed_gates"]:
        yield ""
    yield from _table(("", ""), _figures(summary))
    yield from _evaluators(summary)
    yield from _criteria(summary)
    yield from _comparison(summary)
    yield from _repeats(summary)
    if summary["persona_breakdown"]:
        yield "## Personas\n"
        rows = [
            (name, one["count"], percent(one["pass_rate"]), _score(one["average_score"]))
            for name, one in summary["persona_breakdown"].items()
        ]
        yield from _table(("Persona", "Runs", "Passed", "Score"), rows[:MOST_ROWS])
    failing = [one for one in summary["input_breakdown"] if one["pass_rate"] < 1]
    if failing:
        yield "## Inputs that did not pass\n"
        inputs = [(one["input"], one["persona"] or "", f"{one['passed']}/{one['runs']}") for one in failing[:MOST_ROWS]]
        yield from _table(("Input", "Persona", "Passed"), inputs)
    if summary["top_reasons"]:
        yield "## Most frequent reasons\n"
        yield from _table(("Reason", "Runs"), summary["top_reasons"])
    if summary["tools"]:
        yield "## Tools\n"
        tools = [(name, one["calls"], one["errors"]) for name, one in summary["tools"].items()]
        yield from _table(("Tool", "Calls", "Failed"), tools[:MOST_ROWS])
    for notice in summary["notices"]:
        yield f"> {_cell(notice)}"


def headline(summary: Mapping[str, Any]) -> str:
    """Return the result in one sentence."""
    score = summary["average_score"]
    shown = "nothing could be scored" if score is None else f"average score {score:.3f}"
    return (
        f"{summary['passed_traces']:,} of {summary['total_traces']:,} runs passed "
        f"({percent(summary['pass_rate'])}), {shown}, threshold {summary['threshold']:g}"
    )


def _figures(summary: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield "Pass rate", f"{percent(summary['pass_rate'])}{_range(summary['pass_rate_interval'], percent)}"
    if summary["average_score"] is not None:
        yield "Average score", f"{_score(summary['average_score'])}{_range(summary['average_score_interval'], _score)}"
    yield "Runs that succeeded", f"{summary['successful_runs']:,} of {summary['total_traces']:,}"
    if latency := summary["latency_ms"]:
        yield "Latency", f"p50 {milliseconds(latency['p50'])}, p95 {milliseconds(latency['p95'])}"
    if tokens := summary["tokens"]:
        yield "Tokens", f"{tokens.get('total_tokens', 0):,}"
    if summary["cost"] is not None:
        yield "Cost", f"{dollars(summary['cost'])} ({dollars(summary['cost_per_run'])} per run)"
    if summary["llm_calls"]:
        yield "Requests of judges", f"{summary['llm_calls']:,}"


def _evaluators(summary: Mapping[str, Any]) -> Iterator[str]:
    yield "## Evaluators\n"
    rows = []
    for name, one in summary["evaluator_stats"].items():
        rows.append((name, _score(one["average"]) or "skipped", one["count"], one["skipped"], one["errors"]))
    yield from _table(("Evaluator", "Average", "Scored", "Skipped", "Errors"), rows)
    rules = [
        (f"{name}: {rule}", counts["passed"], counts["failed"], counts["not_applicable"])
        for name, one in summary["evaluator_stats"].items()
        for rule, counts in one.get("rules", {}).items()
    ]
    if rules:
        yield from _table(("Rule", "Passed", "Failed", "Not applicable"), rules)
    for name, one in summary["evaluator_stats"].items():
        if note := one.get("note"):
            yield f"- {_cell(name)}: {_cell(note)}"
            yield ""


def _criteria(summary: Mapping[str, Any]) -> Iterator[str]:
    results = summary.get("success_criteria_results")
    if not results:
        return
    yield "## Success criteria\n"
    signs = {True: "✅", False: "❌", None: "–"}  # noqa: RUF001
    rows = [
        (f"{section}.{name}", signs[result["met"]], result["detail"])
        for section, found in results.items()
        if isinstance(found, Mapping)
        for name, result in found.items()
    ]
    yield from _table(("Criterion", "Met", ""), rows)


def _comparison(summary: Mapping[str, Any]) -> Iterator[str]:
    found = summary["analysis"].get("comparison")
    if not found:
        return
    yield f"## Compared with {_cell(str(summary['baseline']).rsplit('/', 1)[-1])}\n"
    yield (
        f"{found['inputs_compared']} inputs: {found['regression_count']} broke, {found['fix_count']} were fixed, "
        f"{found['trajectory_changes']} called other tools.\n"
    )
    yield from _table(("", "Before", "After", "Difference", "95 % interval", "p"), metric_rows(found["metrics"]))
    for title, name in (("Broke", "regressions"), ("Fixed", "fixes")):
        if found[name]:
            yield f"### {title}\n"
            rows = [(one["input"], one["persona"] or "", one["before"], one["after"]) for one in found[name]]
            yield from _table(("Input", "Persona", "Before", "After"), rows[:MOST_ROWS])


def metric_rows(metrics: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    """Yield the rows of a table of the metrics of a comparison."""
    for one in metrics.values():
        interval, p_value = one["interval"], one["p_value"]
        yield (
            one["title"],
            f"{one['before']:,.4g}",
            f"{one['after']:,.4g}",
            signed(one["difference"]),
            f"{signed(interval[0])} to {signed(interval[1])}" if interval else "",
            "" if p_value is None else f"{_probability(p_value)}{' *' if one['significant'] else ''}",
        )


def _probability(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def _repeats(summary: Mapping[str, Any]) -> Iterator[str]:
    repeats = summary["repeats"]
    if not repeats:
        return
    yield "## Repeats\n"
    times = repeats["runs_per_input"]
    yield f"{repeats['inputs']} inputs ran {times} times or more; {repeats['flaky_count']} are flaky.\n"
    rows = [(k, percent(value), percent(repeats["pass_hat_k"][k])) for k, value in repeats["pass_at_k"].items()]
    yield from _table(("k", "pass@k: one of k passes", "pass^k: all k pass"), rows)
    if repeats["flaky"]:
        flaky = [(one["input"], one["persona"] or "", f"{one['passed']}/{one['runs']}") for one in repeats["flaky"]]
        yield from _table(("Flaky input", "Persona", "Passed"), flaky[:MOST_ROWS])


def _table(headings: Sequence[str], rows: Iterable[Sequence[Any]]) -> Iterator[str]:
    yield f"| {' | '.join(headings)} |"
    yield f"|{'---|' * len(headings)}"
    for row in rows:
        yield f"| {' | '.join(_cell(value) for value in row)} |"
    yield ""


_SPECIAL = re.compile(r"([\\`*_\[\]<>|])")


def _cell(value: Any) -> str:
    """Return *value* on one line, with the characters escaped that Markdown or HTML would interpret."""
    return _SPECIAL.sub(r"\\\1", " ".join(str(value).split()))


def _score(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _range(interval: Sequence[float] | None, shown: Any) -> str:
    return f" ({shown(interval[0])} to {shown(interval[1])})" if interval else ""
