"""
The files of an evaluation, written while runs are scored: memory does not grow with their number.

Each file gets its name when all are complete; an evaluation that fails leaves the earlier ones as they were.
"""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import orjson

from ....reading.json_text import encode
from ...folder import ExperimentFolder
from ...junit import JunitFile
from ...line_file import private
from ...run_data import Run
from ..configuration import EvaluationConfig
from ..scores import RunScore
from .html import HtmlReport
from .junit import case_of
from .markdown import markdown

REPORTS = ("both", "html", "md")
"""Which reports can be chosen."""


class Reports:
    """
    The files of one evaluation.

    Args:
        target: The folder of the results.
        config: The configuration.
        folder: The experiment.
        junit: The file of test cases, if it is wanted.
    """

    def __init__(self, target: Path, config: EvaluationConfig, folder: ExperimentFolder, junit: Path | None) -> None:
        self._target = target
        self._config = config
        self._name = folder.name
        self._parts: list[tuple[Path, Path]] = []
        self._lines = open(self._part(target / "per_trace.jsonl"), "wb", opener=private)  # noqa: SIM115
        self._html = HtmlReport(config) if config.report in ("both", "html") else None
        self._junit = JunitFile(self._part(junit)) if junit else None

    def __enter__(self) -> Reports:
        return self

    def __exit__(self, *exception: object) -> None:
        self._lines.close()
        if self._html:
            self._html.close()
        if self._junit:
            self._junit.close()
        for part, _ in self._parts:
            part.unlink(missing_ok=True)

    def add(self, run: Run, score: RunScore) -> None:
        """Add one run to every file."""
        results = results_of(score)
        self._lines.write(line_of(run, score, results))
        if self._html:
            self._html.add(run, score, results)
        if self._junit:
            self._junit.add(*case_of(run, score))

    def finish(self, summary: dict[str, Any]) -> None:
        """Write what needs the whole *summary*, and give every file its name."""
        self._lines.close()
        with open(self._part(self._target / "summary.json"), "wb", opener=private) as file:
            file.write(_indented(summary))
        if self._config.report in ("both", "md"):
            with open(self._part(self._target / "report.md"), "wb", opener=private) as file:
                file.write(markdown(summary).encode("utf-8", "replace"))
        if self._html:
            with open(self._part(self._target / "report.html"), "wb", opener=private) as file:
                self._html.write(summary, file)
        if self._junit:
            self._junit.finish(self._name)
        for part, path in self._parts:
            part.replace(path)
        self._parts.clear()

    def _part(self, path: Path) -> Path:
        part = path.with_name(f".{path.name}.part")
        self._parts.append((part, path))
        return part


def _indented(summary: dict[str, Any]) -> bytes:
    try:
        return orjson.dumps(summary, option=orjson.OPT_INDENT_2, default=str)
    except TypeError:  # a text of an evaluator with a lone surrogate
        return json.dumps(summary, indent=2, default=str).encode()


def results_of(score: RunScore) -> bytes | None:
    """Return what each evaluator found, as JSON; None if orjson cannot encode it."""
    try:
        return orjson.dumps({one.name: one.as_json() for one in score.scores}, default=str)
    except TypeError:  # a lone surrogate
        return None


def line_of(run: Run, score: RunScore, results: bytes | None) -> bytes:
    """Return the result of *run* as one line of ``per_trace.jsonl``; *results* is what `results_of` returns."""
    get = run.data.get
    line = {
        "trace_id": run.trace_id,
        "run": get("run"),
        "iteration": get("iteration"),
        "persona": run.persona,
        "input_id": get("input_id"),
        "success": run.succeeded,
        "status": run.status,
        "duration_ms": run.duration_ms,
        "cost": run.cost,
        "tokens": run.tokens or None,
        "scores": {one.name: one.score for one in score.scores},
        "final_score": score.final,
        "pass": score.passed,
        "reasons": score.reasons,
        "results": None if results is None else orjson.Fragment(results),
        "error": run.error,
        "meta": {"input": get("input"), "output": run.output, "expected": get("expected")},
    }
    if results is not None:
        with suppress(TypeError):  # a number beyond 64 bits, or deeper than orjson goes
            return orjson.dumps(line, default=str, option=orjson.OPT_APPEND_NEWLINE)
    line["results"] = {one.name: one.as_json() for one in score.scores}
    return f"{encode(line)}\n".encode()
