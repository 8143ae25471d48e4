"""
The result of an experiment in a test: what the fixtures ``fluxloop_runner`` and ``fluxloop_cli`` return.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..experiments.folder import ROWS, ExperimentFolder
from ..experiments.parsing import LINES
from ..experiments.parsing import OUTPUT as PARSED
from ..models import Trace
from ..reading import read_traces

MOST_SHOWN = 3
"""Errors that a message lists."""


@dataclass(frozen=True, slots=True)
class FluxLoopTestError:
    """A run that did not succeed."""

    iteration: int | None
    persona: str | None
    input_text: str | None
    message: str


@dataclass(frozen=True, slots=True)
class FluxLoopTestResult:
    """An experiment that was run in a test. Failed runs do not fail the test; `require_success` does."""

    total_runs: int
    failed_runs: int
    success_rate: float
    """From 0 to 1."""
    avg_duration_ms: float
    output_dir: Path
    """The folder of the experiment."""
    errors: tuple[FluxLoopTestError, ...] = ()
    stdout_path: Path | None = None
    """What the command printed; None for an experiment in this process, as the next two."""
    stderr_path: Path | None = None
    cli_command: str | None = None

    @classmethod
    def of_folder(cls, path: Path, **command: Any) -> FluxLoopTestResult:
        """Return the result of the experiment at *path*."""
        folder = ExperimentFolder.at(path)
        results = folder.summary["results"]
        failed = tuple(_error(row.data) for row in folder.rows() if not row.succeeded)
        return cls(
            results["total_runs"],
            results["total_runs"] - results["successful"],
            results["success_rate"],
            results["avg_duration_ms"],
            folder.path,
            failed,
            **command,
        )

    @property
    def experiment_dir(self) -> Path:
        """The same as `output_dir`."""
        return self.output_dir

    @property
    def summary_path(self) -> Path:
        """summary.json of the experiment."""
        return self.output_dir / "summary.json"

    @property
    def trace_summary_path(self) -> Path:
        """The file with a JSON object per run."""
        return self.output_dir / ROWS

    @property
    def per_trace_path(self) -> Path | None:
        """The file that ``fluxloop parse`` writes; None if the experiment is not parsed."""
        path = self.output_dir / PARSED / LINES
        return path if path.is_file() else None

    @property
    def succeeded(self) -> bool:
        """Whether all runs succeeded."""
        return self.total_runs > 0 and self.failed_runs == 0

    @property
    def traces(self) -> list[Trace]:
        """The traces of the runs, in the order of their start."""
        found = read_traces(ExperimentFolder.at(self.output_dir).artifacts)
        return sorted(found, key=lambda trace: str(trace.start_time))

    def require_success(self, threshold: float = 1.0, message: str | None = None, *, label: str | None = None) -> None:
        """
        Fail the test if fewer runs succeeded.

        Args:
            threshold: The lowest success rate, from 0 to 1.
            message: The message of the failure, before its details.
            label: What failed, in the message.

        Raises:
            AssertionError: If the success rate is lower, or if there was no run.
        """
        __tracebackhide__ = True
        if self.total_runs and self.success_rate >= threshold:
            return
        expected = "" if threshold >= 1 else f", expected at least {threshold:.0%}"
        head = message or f"{label or 'the experiment'} failed ({self.failed_runs} of {self.total_runs} runs{expected})"
        causes = [error.message for error in self.errors[:MOST_SHOWN]]
        more = [f"{len(self.errors) - MOST_SHOWN} more"] if len(self.errors) > MOST_SHOWN else []
        raise AssertionError(
            f"{head}: {'; '.join([*causes, *more]) or 'expected at least one run, found none'}\n  in {self.output_dir}"
        )

    def require_min_runs(self, min_runs: int) -> None:
        """Raise an `AssertionError` if there were fewer runs."""
        __tracebackhide__ = True
        if self.total_runs < min_runs:
            raise AssertionError(f"the experiment had {self.total_runs} runs, expected at least {min_runs}")

    def require_max_duration(self, max_ms: float) -> None:
        """Raise an `AssertionError` if the runs took longer on average."""
        __tracebackhide__ = True
        if self.avg_duration_ms > max_ms:
            raise AssertionError(
                f"the runs took {self.avg_duration_ms:.1f} ms on average, expected at most {max_ms} ms"
            )


def _error(row: Mapping[str, Any]) -> FluxLoopTestError:
    error = row.get("error")
    message = error if isinstance(error, str) else ": ".join(filter(None, map(str, (error or {}).values())))
    given = row.get("input")
    return FluxLoopTestError(
        row.get("iteration"), row.get("persona"), None if given is None else str(given), message or str(row["status"])
    )
