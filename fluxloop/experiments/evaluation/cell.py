"""
The runs of one input as one persona, added up.
"""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Any

import orjson

from ..run_data import Run
from .samples import Sample
from .scores import RunScore

Key = tuple[str, str | None]
"""The input, see `Run.input_key`, and the persona."""


MOST_TRACE_IDS = 10
"""Traces of a cell that a comparison lists."""

MOST_TRAJECTORIES = 100
"""Different trajectories of a cell that are kept."""

Trajectories = frozenset[tuple[str, ...]]
"""The tools of each run, in order."""


Values = tuple[float | None, float | None, float | None, int | None]
"""The score of one run, its milliseconds, US dollars and tokens, as far as they are known."""


class Cell:
    """The runs of one input as one persona; several where the experiment has iterations."""

    __slots__ = ("_samples", "_values", "examples", "label", "passed", "runs", "succeeded", "trace_ids", "trajectories")

    def __init__(self, label: str) -> None:
        self.label = label
        """The input on one line."""
        self.runs = self.passed = self.succeeded = 0
        self._values: Values = (None, None, None, None)
        """Of the first run: most inputs have only one, and do not need the samples."""
        self._samples: tuple[Sample, Sample, Sample, Sample] | None = None
        self.trajectories: Trajectories = frozenset()
        self.trace_ids: tuple[str, ...] = ()
        """Those of the first runs."""
        self.examples: list[str | None] = [None, None]
        """The trace of the first run that did not pass, and of the first that did."""

    @property
    def samples(self) -> tuple[Sample, Sample, Sample, Sample]:
        """Scores, milliseconds, US dollars and tokens of the runs for which they are known."""
        if self._samples is None:
            self._samples = Sample(), Sample(), Sample(), Sample()
            self._add_to_samples(self._values)
        return self._samples

    def _add_to_samples(self, values: Values) -> None:
        for sample, value in zip(self.samples, values, strict=True):
            if value is not None:
                sample.add(value)

    @property
    def scores(self) -> Sample:
        """The scores of the runs that have one."""
        return self.samples[0]

    @property
    def durations(self) -> Sample:
        """Milliseconds of the runs whose duration is known."""
        return self.samples[1]

    @property
    def costs(self) -> Sample:
        """US dollars of the runs whose cost is known."""
        return self.samples[2]

    @property
    def tokens(self) -> Sample:
        """Tokens of the runs whose number is known."""
        return self.samples[3]

    @property
    def mean_score(self) -> float:
        """The mean of the scores; 0 if there is none."""
        return self._values[0] or 0.0 if self._samples is None else self._samples[0].mean

    @property
    def pass_rate(self) -> float:
        """The share of the runs that passed."""
        return self.passed / self.runs if self.runs else 0.0

    @property
    def is_flaky(self) -> bool:
        """Whether some runs passed and others did not."""
        return 0 < self.passed < self.runs

    def add(self, run: Run, score: RunScore) -> None:
        """Add one run."""
        values = score.final, run.duration_ms, run.cost, run.tokens.get("total_tokens")
        trajectory = tuple(run.tool_names)
        if self.runs:
            self._add_to_samples(values)
            if trajectory not in self.trajectories and len(self.trajectories) < MOST_TRAJECTORIES:
                self.trajectories = _shared(self.trajectories | {trajectory})
        else:
            self._values = values
            self.trajectories = _alone(trajectory)
        self.runs += 1
        self.passed += score.passed
        self.succeeded += run.succeeded
        if len(self.trace_ids) < MOST_TRACE_IDS:
            self.trace_ids += (run.trace_id,)
        if self.examples[score.passed] is None:
            self.examples[score.passed] = run.trace_id

    def merge(self, later: Cell) -> None:
        """Add the runs of *later*."""
        self.runs += later.runs
        self.passed += later.passed
        self.succeeded += later.succeeded
        for own, other in zip(self.samples, later.samples, strict=True):
            own.merge(other)
        self.trajectories = frozenset([*self.trajectories, *later.trajectories][:MOST_TRAJECTORIES])
        self.trace_ids = (*self.trace_ids, *later.trace_ids)[:MOST_TRACE_IDS]
        self.examples = [mine or theirs for mine, theirs in zip(self.examples, later.examples, strict=True)]

    def example(self, *, passed: bool) -> str:
        """Return the trace of a run that passed, or that did not; of any run if there is none."""
        return self.examples[passed] or self.trace_ids[0]

    def encoded(self) -> bytes:
        """Return what `decoded` reads."""
        samples = None if self._samples is None else [sample.as_list() for sample in self._samples]
        counts = self.label, self.runs, self.passed, self.succeeded
        return dumps((counts, self._values, samples, tuple(self.trajectories), self.trace_ids, self.examples))

    @classmethod
    def decoded(cls, encoded: bytes) -> Cell:
        """Return the cell that `encoded` describes."""
        (label, *counts), values, samples, trajectories, trace_ids, examples = loads(encoded)
        cell = cls(label)
        cell.runs, cell.passed, cell.succeeded = counts
        cell._values = tuple(values)
        if samples is not None:
            scores, durations, costs, tokens = map(Sample.of_list, samples)
            cell._samples = scores, durations, costs, tokens
        cell.trajectories = _shared(frozenset(map(tuple, trajectories)))
        cell.trace_ids, cell.examples = tuple(trace_ids), examples
        return cell


@lru_cache(maxsize=1_000)
def _shared(trajectories: Trajectories) -> Trajectories:
    """Return one object for equal values: most inputs have the same trajectories."""
    return trajectories


@lru_cache(maxsize=1_000)
def _alone(trajectory: tuple[str, ...]) -> Trajectories:
    return _shared(frozenset([trajectory]))


def dumps(value: Any) -> bytes:
    """Return what `loads` reads."""
    try:
        return orjson.dumps(value)
    except TypeError:  # a text with a lone surrogate
        return json.dumps(value).encode()


def loads(encoded: bytes) -> Any:
    """Return what `dumps` encoded; tuples are lists then."""
    try:
        return orjson.loads(encoded)
    except ValueError:
        return json.loads(encoded)
