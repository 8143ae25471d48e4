"""
A comparison as one page.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ..evaluation.reports.markdown import metric_rows
from ..pages import render

if TYPE_CHECKING:
    from . import ExperimentComparison


def write_comparison(comparison: ExperimentComparison, path: Path) -> None:
    """Write *comparison* as a page to *path*."""
    values = {
        "before": comparison.before.name,
        "after": comparison.after.name,
        "comparison": comparison.result.as_json(),
        "metric_rows": [*metric_rows(comparison.result.metrics)],
        "differences": comparison.differences,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    try:
        part.write_text(render("comparison.html.j2", values), encoding="utf-8", errors="replace")
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
