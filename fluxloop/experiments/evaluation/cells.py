"""
Add up the runs of each input, as numbers: what breakdowns, repeats and comparisons are computed from.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping
from typing import Any

from ..run_data import Run
from . import statistics
from .cell import Cell, Key, dumps, loads
from .rules.values import label
from .samples import Sample
from .scores import RunScore
from .scratch import scratch_database, transaction

MOST_IN_MEMORY = 2_000
"""Cells that are in memory. Further ones are in a temporary file."""


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
        self._database.execute(
            "CREATE TABLE cells (key BLOB, runs INT, passed INT, pass_rate REAL, score REAL, cell BLOB)"
        )
        self._is_merged = True

    def add(self, cells: Mapping[Key, Cell]) -> None:
        """Add the runs of *cells*."""
        if cells:
            rows = ((dumps(key), *_row_values(cell)) for key, cell in cells.items())
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
                (first, encoded), *others = execute(
                    "SELECT rowid, cell FROM cells WHERE key = ? ORDER BY rowid", (key,)
                )
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
        found = self._database.execute("SELECT cell FROM cells WHERE key = ?", (dumps(key),)).fetchone()
        return Cell.decoded(found[0]) if found else None

    def select(self, where: str, order: str = "rowid", limit: int = -1) -> Iterator[tuple[Key, Cell]]:
        """Yield the cells that SQL describes; a negative *limit* means all."""
        self._merge()
        query = f"SELECT key, cell FROM cells WHERE {where} ORDER BY {order} LIMIT ?"
        for key, cell in self._database.execute(query, (limit,)):
            input_key, persona = loads(key)
            yield (input_key, persona), Cell.decoded(cell)


def _row_values(cell: Cell) -> tuple[int, int, float, float, bytes]:
    return cell.runs, cell.passed, cell.pass_rate, cell.mean_score, cell.encoded()


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
