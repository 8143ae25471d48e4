"""
The report as one page: figures, charts, and a table of the runs with the trace of each.
"""

from __future__ import annotations

import tempfile
from typing import Any, BinaryIO

import orjson

from ....reading.values import first_words, in_json
from ...pages import json_for_script, render, write_page
from ...pages.packs import Packs
from ...recorded_runs import Run
from ..configuration import EvaluationConfig
from ..rules.values import label
from ..scores import RunScore
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

    def add(self, run: Run, score: RunScore) -> None:
        """Add a run."""
        self._count += 1
        self._scores.add(score.final)
        self._durations.add(run.duration_ms)
        if self._row_bytes <= 0:
            return
        row = _row(run, score)
        packs = self._details[score.passed]
        if packs.is_full:
            self._without_detail += 1
        else:
            row["place"] = packs.add(json_for_script(_detail(run, score)))
        line = (b",\n" if self._shown else b"") + json_for_script(row)
        self._shown += 1
        self._row_bytes -= len(line)
        self._rows.write(line)

    def write(self, summary: dict[str, Any], file: BinaryIO) -> None:
        """Write the page."""
        values = {
            "summary": summary,
            "headline": headline(summary),
            "charts": charts(summary, self._scores, self._durations),
            "metric_rows": [*metric_rows((summary["analysis"].get("comparison") or {}).get("metrics", {}))],
            "hidden": self._count - self._shown,
            "without_detail": self._without_detail,
            "detail_megabytes": sum(DETAIL_BYTES.values()) >> 20,
        }
        passed, failed = self._details[True].finished(), self._details[False].finished()
        page = render("report.html.j2", values, "report.js")
        write_page(page, {"data": self._rows, "passed": passed, "failed": failed}, file)


def _row(run: Run, score: RunScore) -> dict[str, Any]:
    return {
        "trace_id": run.row.trace_id,
        "run": run.data.get("run"),
        "iteration": run.data.get("iteration"),
        "input_id": run.input_key[:LONGEST_CELL],
        "persona": run.persona or "",
        "input": label(run.data.get("input")),
        "output": label(run.error if run.error and not run.row.succeeded else run.output),
        "status": run.row.status,
        "passed": score.passed,
        "score": None if score.final is None else round(score.final, 4),
        "ms": None if run.duration_ms is None else round(run.duration_ms, 2),
        "tokens": run.tokens.get("total_tokens"),
        "cost": run.cost,
    }


def _detail(run: Run, score: RunScore) -> dict[str, Any]:
    values = {"Input": run.data.get("input"), "Output": run.output, "Expected": run.data.get("expected")}
    steps = [_step(depth, record) for depth, record in run.tree[:MOST_STEPS]]
    return {
        "values": [[name, _cut(value)] for name, value in values.items() if value is not None],
        "error": run.error,
        "scores": [
            {
                "name": one.name,
                "score": one.score,
                "passed": one.passed,
                "note": one.error or one.label or one.reason,
                "rules": [[rule.rule, rule.passed, rule.reason[:LONGEST_VALUE]] for rule in one.rules],
            }
            for one in score.scores
        ],
        "steps": steps,
        "more_steps": max(0, len(run.records) - MOST_STEPS),
    }


def _step(depth: int, record: dict[str, Any]) -> list[Any]:
    get = record.get
    return [
        depth,
        get("type"),
        str(get("name", ""))[:LONGEST_CELL],
        get("status") or "running",
        get("duration_ms"),
        _brief(get("input")),
        _brief(get("error") or get("output")),
    ]


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
