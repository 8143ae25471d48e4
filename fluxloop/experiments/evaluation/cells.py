"""
Add up the runs of each input, as numbers: what breakdowns, repeats and comparisons are computed from.
"""

from __future__ import annotations

import heapq
import json
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

import orjson

from ..recorded_runs import Run
from . import statistics
from .rules.values import label
from .samples import Sample
from .scores import RunScore
from .scratch import scratch_database, transaction

Key = tuple[str, str | None]
"""The input, see `Run.input_key`, and the persona."""


MOST_TRACE_IDS = 10
"""Traces of a cell that a comparison lists."""

MOST_TRAJECTORIES = 100
"""Different trajectories of a cell that are kept."""

MOST_IN_MEMORY = 2_000
"""Cells that are in memory. Further ones are in a temporary file."""

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
        return _dumps((counts, self._values, samples, tuple(self.trajectories), self.trace_ids, self.examples))

    @classmethod
    def decoded(cls, encoded: bytes) -> Cell:
        """Return the cell that `encoded` describes."""
        (label, *counts), values, samples, trajectories, trace_ids, examples = _loads(encoded)
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


class Cells:
    """The cells of an experiment: some in memory, and if there are more, the others in a temporary file."""

    def __init__(self, most_in_memory: int = MOST_IN_MEMORY) -> None:
        self._most = most_in_memory
        self._recent: dict[Key, Cell] = {}
        self._table: CellTable | None = None

    def __bool__(self) -> bool:
        return bool(self._recent) or self._table is not None

    def add(self, run: Run, score: RunScore) -> None:
        """Add one run to its cell."""
        key = run.input_key, run.persona
        cell = self._recent.get(key)
        if cell is None:
            if len(self._recent) >= self._most:
                self._spill()
            cell = self._recent[key] = Cell(label(run.data.get("input")))
        cell.add(run, score)

    def _spill(self) -> CellTable:
        self._table = table = self._table or CellTable()
        table.add(self._recent)
        self._recent = {}
        return table

    def items(self) -> Iterator[tuple[Key, Cell]]:
        """Yield the cells in the order of their first runs."""
        yield from self._recent.items() if self._table is None else self._spill().select("1")

    def get(self, key: Key) -> Cell | None:
        """Return the cell of *key*."""
        return self._recent.get(key) if self._table is None else self._spill().get(key)

    def worst(self, limit: int, *, flaky: bool = False) -> list[tuple[Key, Cell]]:
        """Return cells, or only the flaky ones, those with the lowest pass rate and score first."""
        if self._table is not None:
            where = "0 < passed AND passed < runs" if flaky else "1"
            return [*self._spill().select(where, "pass_rate, score, rowid", limit)]
        found = (item for item in self._recent.items() if item[1].is_flaky or not flaky)
        return heapq.nsmallest(limit, found, key=lambda item: (item[1].pass_rate, item[1].mean_score))

    def _repeated(self) -> Iterator[Cell]:
        if self._table is None:
            return (cell for cell in self._recent.values() if cell.runs > 1)
        return (cell for _, cell in self._spill().select("runs > 1"))

    def repeats(self) -> dict[str, Any] | None:
        """Return pass@k, pass^k, the variance and the flaky inputs; None if no input was run twice."""
        fewest = min((cell.runs for cell in self._repeated()), default=None)
        if fewest is None:
            return None
        largest = range(1, min(fewest, LARGEST_K) + 1)
        at, hat = {k: Sample() for k in largest}, {k: Sample() for k in largest}
        variances, different, flaky = Sample(), 0, 0
        for cell in self._repeated():
            for k in largest:
                at[k].add(statistics.pass_at_k(cell.runs, cell.passed, k))
                hat[k].add(statistics.pass_hat_k(cell.runs, cell.passed, k))
            variances.add(cell.scores.variance)
            different += len(cell.trajectories) > 1
            flaky += cell.is_flaky
        return {
            "inputs": len(variances),
            "runs_per_input": fewest,
            "pass_at_k": {str(k): sample.mean for k, sample in at.items()},
            "pass_hat_k": {str(k): sample.mean for k, sample in hat.items()},
            "score_variance": variances.mean,
            "different_trajectories": different,
            "flaky_count": flaky,
            "flaky": [
                {"input_id": key[0], "persona": key[1], "input": cell.label, "passed": cell.passed, "runs": cell.runs}
                for key, cell in self.worst(MOST_LISTED, flaky=True)
            ],
        }

    def by_input(self) -> list[dict[str, Any]]:
        """Return one row per cell, the worst first, up to `MOST_LISTED`."""
        return [row_of(key, cell) for key, cell in self.worst(MOST_LISTED)]


class CellTable:
    """
    Cells in a temporary file.

    Those that are added to one that is there already become a row of their own, and are merged when they are read: to
    search for each at once would take as long as everything else that is done with it.
    """

    def __init__(self) -> None:
        self._database = scratch_database(self)
        self._database.execute("CREATE TABLE cells (key BLOB, runs INT, passed INT, pass_rate REAL, score REAL, cell BLOB)")
        self._is_merged = True

    def add(self, cells: Mapping[Key, Cell]) -> None:
        """Add the runs of *cells*."""
        if cells:
            rows = ((_dumps(key), *_row_values(cell)) for key, cell in cells.items())
            with transaction(self._database):
                self._database.executemany("INSERT INTO cells VALUES (?, ?, ?, ?, ?, ?)", rows)
            self._is_merged = False

    def _merge(self) -> None:
        """Let each key have one row, at the place of its first."""
        if self._is_merged:
            return
        self._is_merged = True
        execute = self._database.execute
        execute("CREATE INDEX IF NOT EXISTS by_key ON cells (key)")
        execute("CREATE TEMP TABLE repeated AS SELECT key FROM cells GROUP BY key HAVING count(*) > 1")
        with transaction(self._database):
            for (key,) in execute("SELECT key FROM repeated"):
                (first, encoded), *others = execute("SELECT rowid, cell FROM cells WHERE key = ? ORDER BY rowid", (key,))
                cell = Cell.decoded(encoded)
                for _, later in others:
                    cell.merge(Cell.decoded(later))
                execute("DELETE FROM cells WHERE key = ? AND rowid > ?", (key, first))
                execute(
                    "UPDATE cells SET runs = ?, passed = ?, pass_rate = ?, score = ?, cell = ? WHERE rowid = ?",
                    (*_row_values(cell), first),
                )
        execute("DROP TABLE repeated")

    def get(self, key: Key) -> Cell | None:
        """Return the cell of *key*."""
        self._merge()
        found = self._database.execute("SELECT cell FROM cells WHERE key = ?", (_dumps(key),)).fetchone()
        return Cell.decoded(found[0]) if found else None

    def select(self, where: str, order: str = "rowid", limit: int = -1) -> Iterator[tuple[Key, Cell]]:
        """Yield the cells that SQL describes; a negative *limit* means all."""
        self._merge()
        query = f"SELECT key, cell FROM cells WHERE {where} ORDER BY {order} LIMIT ?"
        for key, cell in self._database.execute(query, (limit,)):
            input_key, persona = _loads(key)
            yield (input_key, persona), Cell.decoded(cell)


def _row_values(cell: Cell) -> tuple[int, int, float, float, bytes]:
    return cell.runs, cell.passed, cell.pass_rate, cell.mean_score, cell.encoded()


def _dumps(value: Any) -> bytes:
    try:
        return orjson.dumps(value)
    except TypeError:  # a text with a lone surrogate
        return json.dumps(value).encode()


def _loads(encoded: bytes) -> Any:
    try:
        return orjson.loads(encoded)
    except ValueError:
        return json.loads(encoded)


LARGEST_K = 16
"""The largest k of pass@k and pass^k that is reported."""

MOST_LISTED = 200
"""Inputs that a summary lists; per_trace.jsonl has every run."""


def row_of(key: Key, cell: Cell) -> dict[str, Any]:
    """Return *cell* as a row of a summary."""
    return {
        "input_id": key[0],
        "persona": key[1],
        "input": cell.label,
        "runs": cell.runs,
        "passed": cell.passed,
        "pass_rate": cell.pass_rate,
        "average_score": cell.scores.mean if cell.scores else None,
        "avg_duration_ms": cell.durations.mean if cell.durations else None,
        "cost": cell.costs.total if cell.costs else None,
    }
