"""
``fluxloop evaluate experiment``: judge every run of an experiment, add the results up, and write the reports.
"""

from __future__ import annotations

import asyncio
import contextvars
import os
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import gettempdir
from typing import Any, TypeVar

from ...errors import ConfigError, ReadError, WriteError
from ..configuration.models import MOST
from ..folder import ExperimentFolder
from ..parsing import is_parsed, parse
from ..recorded_runs import recorded_runs
from ..run_data import Run
from .cells import Cells
from .configuration import EvaluationConfig, RuleEvaluator, Weighted, load_config
from .conventions import evaluator_of
from .judges import Cache
from .pairs import NOTHING_COMPARED, Comparison, compared
from .reports import REPORTS, Reports
from .rules import rule_of
from .scores import RunScore
from .scoring import Scorer
from .summary import summary_of
from .totals import Totals

Result = TypeVar("Result")

OUTPUT = "evaluation"
"""The folder of the results within the experiment."""

CACHE = "evaluation_cache.jsonl"
"""The answers of judges; it stays when an experiment is evaluated again."""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The result of `evaluate`."""

    folder: Path
    """The experiment."""
    output: Path
    """The folder with the results."""
    summary: Mapping[str, Any]
    """The content of summary.json."""
    failed_gates: tuple[str, ...] = ()
    """The conditions that are not met, one line each: of `fail_under`, and with `strict` the others."""

    @property
    def passed(self) -> bool:
        """Whether every condition is met."""
        return not self.failed_gates

    @property
    def pass_rate(self) -> float | None:
        """The share of the runs that passed."""
        return self.summary["pass_rate"]  # type: ignore[no-any-return]

    @property
    def average_score(self) -> float | None:
        """The mean score of the runs, from 0 to 1; None if nothing could be scored."""
        return self.summary["average_score"]  # type: ignore[no-any-return]

    def require_passed(self) -> None:
        """Raise an `AssertionError` that lists the conditions which are not met, for tests."""
        if self.failed_gates:
            raise AssertionError("\n".join(self.failed_gates))


def evaluate(
    path: str | os.PathLike[str],
    *,
    config: str | Path | Mapping[str, Any] | None = None,
    evaluators: Sequence[Any] = (),
    rules: Sequence[Any] = (),
    baseline: str | os.PathLike[str] | None = None,
    fail_under: float | None = None,
    strict: bool = False,
    threshold: float | None = None,
    output: str | None = None,
    report: str | None = None,
    junit: str | os.PathLike[str] | None = None,
    api_key: str | None = None,
    sample_rate: float | None = None,
    max_llm_calls: int | None = None,
    evaluator_timeout: float | None = None,
    on_run: Callable[[Run, RunScore], None] | None = None,
) -> Evaluation:
    """
    Evaluate the experiment at *path*, and write the results to its folder ``evaluation``.

    Args:
        path: The folder of an experiment, a link to it, or its name.
        config: The path of an ``evaluation.yaml``, or its content as a mapping. None searches ``configs/`` and the
            working directory; without any, a run passes if it succeeded with an output.
        evaluators: Evaluators in Python, added to those of the configuration: functions or objects, in the conventions
            of LangSmith, openevals, agentevals, autoevals, pydantic-evals or DeepEval.
        rules: Rules, added to those of the configuration: ``["success", {"tool_called": {"tool": "search"}}]``.
        baseline: An earlier experiment to compare with; it is evaluated in the same way, and stays as it is.
        fail_under: The lowest mean score, from 0 to 1, with which the evaluation passes.
        strict: Whether a success criterion that is not met, a regression, a baseline without common inputs, a failed
            evaluator, or an experiment that is not complete is a failed gate too.
        threshold: The score from which a run passes, instead of that of the configuration.
        output: The name of the folder for the results within the experiment.
        report: ``html``, ``md`` or ``both``, instead of that of the configuration.
        junit: A file to which the runs are written as test cases, for CI systems.
        api_key: The key of the judges; None reads ``FLUXLOOP_LLM_API_KEY`` or ``OPENAI_API_KEY``.
        sample_rate: The share of the runs that judges see.
        max_llm_calls: The largest number of requests of judges.
        evaluator_timeout: Seconds that an evaluator may take for one run. A call that takes longer is interrupted, and
            is an error of the evaluator. After three in a row it is not called again.
        on_run: Called after each run, for a display of progress.

    Raises:
        ConfigError: If the configuration has a mistake.
        ReadError: If there is no such experiment, or it has no runs.
        WriteError: If the results cannot be written.
    """
    chosen = configured(load_config(config), evaluators, rules, threshold, report, sample_rate, max_llm_calls)
    if evaluator_timeout is not None:
        if not 0 < evaluator_timeout <= MOST:
            raise ConfigError(f"evaluator_timeout must be greater than 0 and at most {MOST:,}, got {evaluator_timeout}")
        chosen = replace(chosen, limits=replace(chosen.limits, evaluator_timeout_s=evaluator_timeout))
    if fail_under is not None and not 0 <= fail_under <= 1:
        raise ConfigError(f"fail_under must be a number from 0 to 1, got {fail_under}")
    job = _Job(ExperimentFolder.at(path), chosen, output or OUTPUT, api_key, on_run)
    source = baseline or chosen.baseline
    before = ExperimentFolder.at(source) if source else None
    return outside_loops(lambda: job.run(before, fail_under, strict, Path(junit) if junit else None))


def configured(
    config: EvaluationConfig,
    evaluators: Sequence[Any],
    rules: Sequence[Any],
    threshold: float | None,
    report: str | None,
    sample_rate: float | None,
    max_llm_calls: int | None,
) -> EvaluationConfig:
    """Return *config* with what was given in Python or as options; see `evaluate`."""
    own = tuple(rule_of(rule, Path(), f"rules[{number}]") for number, rule in enumerate(rules))
    code = tuple(Weighted(evaluator_of(one)) for one in evaluators)
    if (own or code) and config.source == "defaults":
        config = replace(config, rule_evaluators=())
    config = replace(
        config,
        rule_evaluators=(*config.rule_evaluators, *([RuleEvaluator("rules", own)] if own else [])),
        code_evaluators=(*config.code_evaluators, *code),
        threshold=config.threshold if threshold is None else threshold,
        report=report or config.report,
    )
    for name, value, high in (("sample_rate", sample_rate, 1.0), ("threshold", threshold, 1.0)):
        if value is not None and not 0 <= value <= high:
            raise ConfigError(f"{name} must be a number from 0 to {high:g}, got {value}")
    if config.report not in REPORTS:
        raise ConfigError(f"report must be one of {', '.join(REPORTS)}, got {config.report!r}")
    limits = config.limits
    if sample_rate is not None:
        limits = replace(limits, sample_rate=sample_rate)
    if max_llm_calls is not None:
        limits = replace(limits, max_llm_calls=max_llm_calls)
    names = config.names
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise ConfigError(f"two evaluators have the name {twice!r}; give each its own")
    return replace(config, limits=limits)


@dataclass(frozen=True, slots=True)
class _Job:
    folder: ExperimentFolder
    config: EvaluationConfig
    output: str
    api_key: str | None
    on_run: Callable[[Run, RunScore], None] | None

    def run(
        self, baseline: ExperimentFolder | None, fail_under: float | None, strict: bool, junit: Path | None
    ) -> Evaluation:
        target = self.folder.path / self.output
        if target.resolve().parent != self.folder.path.resolve():
            raise ReadError(f"output must be the name of a folder within the experiment, got {self.output!r}")
        if target.exists() and not _is_of_evaluations(target):
            raise ReadError(f"{target} does not hold results of this command. Next step: choose another --output")
        if not is_parsed(self.folder):
            parse(self.folder.path)
        before = cells_of(baseline, self.config, self.api_key) if baseline else None
        try:
            target.mkdir(exist_ok=True)
            with ExitStack() as stack:
                reports = stack.enter_context(Reports(target, self.config, self.folder, junit))
                totals, llm_calls = self._scored(reports, target)
                comparison = compared(before, totals.cells) if before is not None else None
                name = str(baseline.path) if baseline else ""
                summary = summary_of(totals, self.folder, llm_calls=llm_calls, comparison=comparison, baseline=name)
                gates = _failed_gates(summary, comparison, fail_under, strict)
                summary |= {
                    "overall_score": summary["average_score"],
                    "pass_fail_status": "fail" if gates else "pass",
                    "failed_gates": gates,
                    "by_evaluator": {name: one["average"] for name, one in summary["evaluator_stats"].items()},
                }
                reports.finish(summary)
        except (ReadError, WriteError):
            raise
        except OSError as error:
            raise WriteError(f"{target} cannot be written: {error.strerror or error}") from error
        except sqlite3.OperationalError as error:
            raise WriteError(f"a temporary file in {gettempdir()} cannot be written: {error}") from error
        finally:
            with suppress(OSError):  # it holds results
                target.rmdir()
        return Evaluation(self.folder.path, target, summary, tuple(gates))

    def _scored(self, reports: Reports, target: Path) -> tuple[Totals, int]:
        totals = Totals(self.config)
        scorer = Scorer(self.config, Cache(target / CACHE if self.config.limits.cache else None), self.api_key)
        for run, score in scorer.scored(recorded_runs(self.folder)):
            totals.add(run, score)
            reports.add(run, score)
            if self.on_run:
                self.on_run(run, score)
        if not totals.everything.count:
            raise ReadError(self.folder.what_is_missing(0) or f"{self.folder.path} has no finished runs")
        return totals, scorer.llm_calls


def _is_of_evaluations(target: Path) -> bool:
    """Whether *target* is a folder with results, or without files except those of an evaluation that was killed."""
    if not target.is_dir():
        return False
    names = {path.name for path in target.iterdir() if not path.name.endswith(".part")}
    return not names or not names.isdisjoint(RESULTS)


RESULTS = ("summary.json", CACHE)
"""Files that only `evaluate` writes in a folder within an experiment."""


def cells_of(folder: ExperimentFolder, config: EvaluationConfig, api_key: str | None = None) -> Cells:
    """Score the runs of *folder* as *config* says and add them up, without writing to it."""
    cells = Cells()
    cache = folder.path / OUTPUT / CACHE
    scorer = Scorer(config, Cache(cache if cache.is_file() and os.access(cache, os.W_OK) else None), api_key)
    for run, score in scorer.scored(recorded_runs(folder)):
        cells.add(run, score)
    if not cells:
        raise ReadError(f"{folder.path} has no finished runs")
    return cells


def _failed_gates(
    summary: Mapping[str, Any], comparison: Comparison | None, fail_under: float | None, strict: bool
) -> list[str]:
    gates = []
    score = summary["average_score"]
    if fail_under is not None and (score is None or score < fail_under):
        found = "nothing could be scored" if score is None else f"the average score is {score:.3f}"
        gates.append(f"{found}, {fail_under:.3f} is required")
    if not strict:
        return gates
    if summary["state"] != "finished":
        gates.append(f"the experiment is {summary['state']}: {summary['total_traces']} of its runs were evaluated")
    for section, results in (summary.get("success_criteria_results") or {}).items():
        for name, result in results.items() if isinstance(results, Mapping) else ():
            if result["met"] is False:
                gates.append(f"{section}.{name}: {result['detail']}")
    if comparison is not None and comparison.regressed:
        broken = comparison.counts["broken"]
        gates.append(f"{broken} inputs broke since the baseline" if broken else "the score fell since the baseline")
    if comparison is not None and not comparison.inputs:
        gates.append(NOTHING_COMPARED)
    for name, one in summary["evaluator_stats"].items():
        if one["errors"]:
            gates.append(f"evaluator {name} failed in {one['errors']} runs: {one.get('note', '')}")
    return gates


def outside_loops(work: Callable[[], Result]) -> Result:
    """Call *work*, which runs an event loop of its own: in a thread if a loop runs here, as in a notebook."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return work()
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(contextvars.copy_context().run, work).result()
