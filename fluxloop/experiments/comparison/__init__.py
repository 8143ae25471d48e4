"""
``fluxloop compare``: what changed between two experiments, input by input.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ...errors import WriteError
from ..evaluation import cells_of, outside_loops
from ..evaluation.configuration import EvaluationConfig, load_config
from ..evaluation.pairs import Comparison, Pair, compared
from ..evaluation.rules.values import short
from ..folder import ExperimentFolder
from ..recorded_runs import recorded_runs
from ..run_data import Run
from .page import write_comparison
from .trajectories import DiffLine, outline, tree_diff

MOST_DIFFS = 50
"""Inputs whose trees are compared; the broken ones first, then the fixed ones, then those with other tools."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One input whose runs differ."""

    pair: Pair
    lines: tuple[DiffLine, ...]
    """The trees of one run of each experiment, compared; empty where neither was recorded."""
    outputs: tuple[str, str]
    """The answers, or the errors, of these two runs."""


@dataclass(frozen=True, slots=True)
class ExperimentComparison:
    """The result of `compare`."""

    before: Path
    after: Path
    result: Comparison
    differences: tuple[Difference, ...]
    report: Path | None = None
    """The page, if one was written."""

    @property
    def regressed(self) -> bool:
        """Whether an input broke, or the pass rate or the score fell significantly."""
        return self.result.regressed

    def as_json(self) -> dict[str, Any]:
        """Return the comparison as data."""
        return {
            "before": str(self.before),
            "after": str(self.after),
            **self.result.as_json(),
            "differences": [
                {
                    "input_id": one.pair.key[0],
                    "persona": one.pair.key[1],
                    "change": one.pair.change,
                    "before_output": one.outputs[0],
                    "after_output": one.outputs[1],
                    "tree": [f"{line.sign} {line.text}" for line in one.lines],
                }
                for one in self.differences
            ],
        }


def compare(
    before: str | os.PathLike[str],
    after: str | os.PathLike[str],
    *,
    config: str | Path | Mapping[str, Any] | EvaluationConfig | None = None,
    html: str | os.PathLike[str] | None = None,
    api_key: str | None = None,
) -> ExperimentComparison:
    """
    Compare two experiments: which inputs broke or were fixed, and what their runs did differently.

    Both are scored in the same way, as `evaluate` scores them; nothing is written to their folders.

    Args:
        before: The folder, link or name of the earlier experiment.
        after: The later one.
        config: As for `evaluate`.
        html: A file to which the comparison is written as a page.
        api_key: The key of the judges; None reads the environment.

    Raises:
        ConfigError: If the configuration has a mistake.
        ReadError: If an experiment does not exist, or has no runs.
        WriteError: If the page cannot be written.
    """
    chosen = config if isinstance(config, EvaluationConfig) else load_config(config)
    first, second = ExperimentFolder.at(before), ExperimentFolder.at(after)

    def work() -> ExperimentComparison:
        result = compared(cells_of(first, chosen, api_key), cells_of(second, chosen, api_key))
        return ExperimentComparison(first.path, second.path, result, _differences(first, second, result))

    comparison = outside_loops(work)
    if html is None:
        return comparison
    path = Path(html)
    try:
        write_comparison((first.path.name, second.path.name), comparison.result, comparison.differences, path)
    except OSError as error:
        raise WriteError(f"{path} cannot be written: {error.strerror or error}") from error
    return replace(comparison, report=path)


def _differences(first: ExperimentFolder, second: ExperimentFolder, result: Comparison) -> tuple[Difference, ...]:
    chosen = [*result.changed("broken"), *result.changed("fixed"), *result.other_trajectories][:MOST_DIFFS]
    old = _runs(first, [pair.before.example(passed=pair.change != "fixed") for pair in chosen])
    new = _runs(second, [pair.after.example(passed=pair.change != "broken") for pair in chosen])
    found = []
    for pair, before, after in zip(chosen, old, new, strict=True):
        lines = tree_diff(outline(before), outline(after)) if before and after else []
        found.append(Difference(pair, tuple(lines), (_answer(before), _answer(after))))
    return tuple(found)


def _runs(folder: ExperimentFolder, trace_ids: list[str]) -> list[Run | None]:
    """Return the runs with these traces, read in one pass."""
    wanted = set(trace_ids)
    found = {run.row.trace_id: run for run in recorded_runs(folder, wanted)} if wanted else {}
    return [found.get(trace_id) for trace_id in trace_ids]


def _answer(run: Run | None) -> str:
    if run is None:
        return ""
    return f"{run.row.status}: {run.error}" if run.error and not run.row.succeeded else short(run.output)
