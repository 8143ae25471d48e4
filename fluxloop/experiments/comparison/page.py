"""
A comparison as one page.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..evaluation.pairs import Comparison
from ..evaluation.reports.markdown import metric_rows
from ..pages import render


def write_comparison(names: tuple[str, str], result: Comparison, differences: Sequence[object], path: Path) -> None:
    """
    Write a comparison as a page to *path*.

    Args:
        names: Those of the two experiments.
        result: The comparison.
        differences: The inputs whose runs differ, as `fluxloop.experiments.comparison.Difference`.
        path: The file, which is replaced.
    """
    values = {
        "before": names[0],
        "after": names[1],
        "comparison": result.as_json(),
        "metric_rows": [*metric_rows(result.metrics)],
        "differences": differences,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    try:
        part.write_text(render("comparison.html.j2", values), encoding="utf-8", errors="replace")
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
