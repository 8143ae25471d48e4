"""
Count what the runs of an experiment came to.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import Any

from .folder import ExperimentFolder, Row


@dataclass(slots=True)
class Totals:
    """Counts of the finished runs. They use the same memory for any number of runs."""

    planned: int
    finished: int = 0
    succeeded: int = 0
    timed_out: int = 0
    cancelled: int = 0
    retried: int = 0
    duration_ms: float = 0.0
    tokens: dict[str, int] = field(default_factory=dict)
    cost: float | None = None
    started: float = field(default_factory=monotonic)

    def add(self, row: Mapping[str, Any]) -> None:
        """Count the row of a run."""
        status = row.get("status")
        self.finished += 1
        self.succeeded += status == "success"
        self.timed_out += status == "timeout"
        self.cancelled += status == "cancelled"
        self.retried += (row.get("attempts") or 1) > 1
        self.duration_ms += row.get("duration_ms") or 0.0
        for name, count in (row.get("token_usage") or {}).items():
            self.tokens[name] = self.tokens.get(name, 0) + count
        if row.get("cost") is not None:
            self.cost = (self.cost or 0.0) + row["cost"]

    @property
    def failed(self) -> int:
        """The runs that did not succeed."""
        return self.finished - self.succeeded

    @property
    def success_rate(self) -> float:
        """The share of the finished runs that succeeded, from 0 to 1."""
        return self.succeeded / self.finished if self.finished else 0.0

    @property
    def seconds(self) -> float:
        """The time since the start."""
        return monotonic() - self.started

    def as_json(self) -> dict[str, Any]:
        """Return the member ``results`` of summary.json."""
        return {
            "total_runs": self.planned,
            "finished": self.finished,
            "successful": self.succeeded,
            "failed": self.failed,
            "timed_out": self.timed_out,
            "cancelled": self.cancelled,
            "retried": self.retried,
            "success_rate": round(self.success_rate, 6),
            "avg_duration_ms": round(self.duration_ms / self.finished, 3) if self.finished else 0.0,
            "duration_seconds": round(self.seconds, 3),
            "token_usage": self.tokens or None,
            "cost": None if self.cost is None else round(self.cost, 10),
        }


@dataclass(frozen=True, slots=True)
class Experiment:
    """A finished or interrupted experiment: its folder, and the counts of its runs."""

    folder: Path
    name: str
    total_runs: int
    successful: int
    failed: int
    success_rate: float
    duration_seconds: float
    cost: float | None

    @property
    def succeeded(self) -> bool:
        """Whether all runs were finished and succeeded."""
        return self.successful == self.total_runs

    def rows(self) -> Iterator[Row]:
        """Yield the runs in the order in which they ended."""
        return ExperimentFolder.at(self.folder).rows()
