"""
The report as one page: figures, charts, and a table of the runs with the trace of each.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from typing import Any, BinaryIO

import orjson

from ....reading.json_text import encode
from ....reading.values import first_words, in_json
from ...pages import json_for_script, render, write_page
from ...pages.packs import Packs
from ...run_data import Run
from ..configuration import EvaluationConfig
from ..rules.values import label
from ..scores import RunScore, Score
from .charts import Histogram, charts
from .markdown import headline, metric_rows

ROW_BYTES = 24 << 20
"""Bytes that the rows of runs may take; further runs are counted and not shown."""

DETAIL_BYTES = {False: 12 << 20, True: 6 << 20}
"""
Bytes that the compressed traces of runs that did not pass may take, and of those that did. Further runs have a row
without a trace.
"""

LONGEST_VALUE = 4_000
"""Characters of an input or output that a run shows in full."""

LONGEST_CELL = 160
"""Characters of a value in a row or in a step."""

MOST_STEPS = 300
"""Steps of a trace that are shown."""

STEP_BYTES = 400
"""Bytes of a step, on average, up to which values are written in full; they are about those of two `LONGEST_CELL`."""


class HtmlReport:
    """
    The page of one evaluation.

    Args:
        config: The configuration.
    """

    def __init__(self, config: EvaluationConfig) -> None:
        self._config = config
        self._rows = tempfile.TemporaryFile()  # noqa: SIM115
        self._row_bytes = ROW_BYTES
        self._details = {passed: Packs(limit) for passed, limit in DETAIL_BYTES.items()}
        self._count = self._shown = self._without_detail = 0
        self._scores, self._durations = Histogram(1.0), Histogram()

    def close(self) -> None:
        """Delete the files of the rows and traces so far."""
        self._rows.close()
        for packs in self._details.values():
            packs.close()

    def add(self, run: Run, score: RunScore, results: bytes | None = None) -> None:
        """Add a run; *results* are those of its evaluators as JSON, if they are encoded already."""
        self._count += 1
        self._scores.add(score.final)
        self._durations.add(run.duration_ms)
        if self._row_bytes <= 0:
            return
        packs = self._details[score.passed]
        place = None
        if packs.is_full:
            self._without_detail += 1
        else:
            place = packs.add(_detail(run, score, results))
        line = (b",\n" if self._shown else b"") + json_for_script((*_row(run, score), place))
        self._shown += 1
        self._row_bytes -= len(line)
        self._rows.write(line)

    def write(self, summary: dict[str, Any], file: BinaryIO) -> None:
        """Write the page."""
        values = {
            "summary": summary,
            "headline": headline(summary),
            "charts": charts(summary, self._scores, self._durations),
            "reasons": _reasons(summary),
            "metric_rows": [*metric_rows((summary["analysis"].get("comparison") or {}).get("metrics", {}))],
            "hidden": self._count - self._shown,
            "without_detail": self._without_detail,
            "detail_megabytes": sum(DETAIL_BYTES.values()) >> 20,
        }
        passed, failed = self._details[True].finished(), self._details[False].finished()
        page = render("report.html.j2", values, "report.js")
        write_page(page, {"data": self._rows, "passed": passed, "failed": failed}, file)


def _reasons(summary: dict[str, Any]) -> list[tuple[str, int]]:
    """Return the reasons and the types of errors with their counts, the most frequent first."""
    reasons = [(reason, count) for reason, count in summary["top_reasons"]]
    errors = [(f"error type {name}", count) for name, count in summary["error_types"].items()]
    return sorted([*reasons, *errors], key=lambda one: -one[1])


def _row(run: Run, score: RunScore) -> tuple[Any, ...]:
    """Return the members of a row of the table, as the page's script names them, without the place of the trace."""
    duration = run.duration_ms
    return (
        run.trace_id,
        run.data.get("run"),
        run.input_key[:LONGEST_CELL],
        run.persona or "",
        label(run.data.get("input")),
        label(run.error if run.error and not run.succeeded else run.output),
        run.status,
        score.passed,
        None if score.final is None else round(score.final, 4),
        None if duration is None else round(duration, 2),
        run.tokens.get("total_tokens"),
        run.cost,
    )


def _detail(run: Run, score: RunScore, results: bytes | None) -> bytes:
    """Return what a row shows when it is opened, as JSON."""
    if results is None or len(results) > LONGEST_VALUE:
        results = _dumps({one.name: _short_result(one) for one in score.scores})
    values = {"Input": run.data.get("input"), "Output": run.output, "Expected": run.data.get("expected")}
    head = {
        "values": [(name, _cut(value)) for name, value in values.items() if value is not None],
        "error": run.error,
        "more_steps": max(0, len(run.records) - MOST_STEPS),
    }
    return b'{"facts":%b,"scores":%b,"steps":%b}' % (_dumps(head), results, _steps(run.tree[:MOST_STEPS]))


def _short_result(score: Score) -> dict[str, Any]:
    result = score.as_json()
    for one in (result, *result.get("rules", ())):
        if "reason" in one:
            one["reason"] = one["reason"][:LONGEST_VALUE]
    return result


def _steps(tree: Sequence[tuple[int, dict[str, Any]]]) -> bytes:
    """
    Return the steps of a trace as JSON: lists of depths, types, names, statuses, milliseconds, inputs and outputs.

    The page shows the beginning of a value as text. Small values are written as they are, which is quicker than to make
    that text for every step of every run.
    """
    records = [record for _, record in tree]
    columns: list[list[Any]] = [
        [depth for depth, _ in tree],
        [record.get("type") for record in records],
        [record.get("name", "") for record in records],
        [record.get("status") or "running" for record in records],
        [record.get("duration_ms") for record in records],
        [record.get("input") for record in records],
        [record.get("error") or record.get("output") for record in records],
    ]
    try:
        encoded = orjson.dumps(columns)
        if len(encoded) <= STEP_BYTES * len(records):
            return encoded
    except TypeError:  # a number beyond 64 bits, or deeper than orjson goes
        pass
    columns[2] = [str(name)[:LONGEST_CELL] for name in columns[2]]
    columns[5:] = [[_brief(value) for value in column] for column in columns[5:]]
    return _dumps(columns)


def _dumps(value: Any) -> bytes:
    try:
        return orjson.dumps(value, default=str)
    except TypeError:  # as above, or a lone surrogate
        return encode(value).encode("utf-8", "replace")


def _brief(value: Any) -> str:
    """Return the beginning of *value*: a text as it is, everything else as JSON, which is quick to make."""
    if value is None:
        return ""
    if type(value) is not str:
        try:
            encoded = orjson.dumps(value, default=str)
            if len(encoded) <= LONGEST_CELL:
                return encoded.decode()
            value = encoded[: 4 * LONGEST_CELL].decode("utf-8", "ignore")
        except TypeError:  # a number beyond 64 bits, or deeper than orjson goes
            value = first_words(value, LONGEST_CELL)
    return value if len(value) <= LONGEST_CELL else f"{value[:LONGEST_CELL]}…"


def _cut(value: Any) -> str:
    text = value if isinstance(value, str) else in_json(value)
    return text if len(text) <= LONGEST_VALUE else f"{text[:LONGEST_VALUE]}… ({len(text):,} characters)"
