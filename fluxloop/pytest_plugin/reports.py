"""
The reports of a session: one HTML page with the traces, a summary in Markdown, and a line in the terminal.

Each process writes the part of each test to a file as soon as it ends, so that no session keeps traces in memory and
the worker processes of ``pytest-xdist`` have one report.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any

import pytest

from ..errors import FluxLoopError
from ..models import Trace
from ..trace_html import html_of

_PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>FluxLoop test report</title>
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<style>:root {{ color-scheme: light dark }} body {{ font-family: sans-serif; margin: 2em }}
summary {{ cursor: pointer }} section {{ margin: 0 0 1em }} h2 {{ font-size: 1em; margin: 0 }}
.failed h2 {{ color: #c62828 }}</style></head><body><h1>FluxLoop test report</h1><p>{line}</p>
"""


def _parts(path: str) -> Path:
    return Path(f"{path}.parts")


def start_report(path: str, *, is_worker: bool) -> None:
    """Create the folder for the parts of the report; what an interrupted session left is removed."""
    folder = _parts(path)
    if not is_worker:
        shutil.rmtree(folder, ignore_errors=True)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise pytest.UsageError(f"--fluxloop-report: cannot write {path}: {error.strerror}") from error


def add_to_report(path: str, report: pytest.TestReport, traces: list[Trace]) -> None:
    """Add a test with its *traces*."""
    body = "".join(html_of(trace) for trace in traces) or "<p>recorded nothing</p>"
    part = {"test": report.nodeid, "outcome": report.outcome, "html": body, "seconds": round(report.duration, 3)}
    with (_parts(path) / f"{os.getpid()}.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(part) + "\n")


def join_report(path: str) -> str:
    """Write the page from its parts, the failed tests first, and return a line with its path."""
    folder = _parts(path)
    files = sorted(folder.glob("*.jsonl"))
    counts = {True: 0, False: 0}
    for part in _read(files):
        counts[part["outcome"] == "failed"] += 1
    line = f"{counts[True]} failed, {counts[False]} other tests"
    try:
        with open(path, "w", encoding="utf-8") as page:
            page.write(_PAGE.format(line=line))
            for failed in (True, False):
                page.writelines(_section(part) for part in _read(files) if (part["outcome"] == "failed") is failed)
            page.write("</body></html>\n")
    except OSError as error:
        return f"FluxLoop: the report {path} could not be written: {error.strerror}"
    shutil.rmtree(folder, ignore_errors=True)
    return f"FluxLoop report: {path} ({line})"


def _read(files: list[Path]) -> Any:
    for file in files:
        with file.open(encoding="utf-8") as lines:
            for line in lines:
                try:
                    yield json.loads(line)
                except ValueError:
                    continue  # the last line of a worker that crashed


def _section(part: Mapping[str, Any]) -> str:
    outcome = escape(part["outcome"])
    shown = " open" if outcome == "failed" else ""
    return (
        f'<section class="{outcome}"><details{shown}><summary><b>{escape(part["test"])}</b> {outcome} '
        f"{part['seconds']:.3f} s</summary>{part['html']}</details></section>\n"
    )


def add_summary_row(path: str, report: pytest.TestReport, facts: Mapping[str, Any], *, first: bool) -> None:
    """Add the row of a test to the summary in Markdown; the *first* one starts the file."""
    cost = facts.get("fluxloop_cost")
    cells = [
        report.nodeid.replace("|", "\\|"),
        report.outcome,
        facts["fluxloop_traces"],
        facts["fluxloop_model_calls"],
        facts["fluxloop_tokens"],
        "" if cost is None else f"${cost:.6f}",
    ]
    header = "| test | outcome | traces | model calls | tokens | cost |\n|---|---|---:|---:|---:|---:|\n"
    try:
        with open(path, "w" if first else "a", encoding="utf-8") as file:
            file.write((header if first else "") + f"| {' | '.join(map(str, cells))} |\n")
    except OSError as error:
        raise FluxLoopError(f"--fluxloop-summary: cannot write {path}: {error.strerror}") from error


def totals_line(sums: Mapping[str, float]) -> str:
    """Return the line that a session ends with."""
    cost = f", ${sums['fluxloop_cost']:.4f}" if "fluxloop_cost" in sums else ""
    tests, traces, calls, tokens = (
        f"{sums[key]:,.0f} {noun}{'' if sums[key] == 1 else 's'}"
        for key, noun in (
            ("tests", "test"),
            ("fluxloop_traces", "trace"),
            ("fluxloop_model_calls", "model call"),
            ("fluxloop_tokens", "token"),
        )
    )
    return f"FluxLoop: {tests} recorded {traces}, {calls}, {tokens}{cost}"
