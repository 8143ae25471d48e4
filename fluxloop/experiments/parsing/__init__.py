"""
``fluxloop parse experiment``: a Markdown file per run, and one JSON line per run, from the records of an experiment.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ...errors import ReadError, WriteError
from ..folder import ExperimentFolder
from ..line_file import private
from ..recorded_runs import recorded_runs
from ..run_data import Run
from .lines import line_of
from .markdown import document

OUTPUT = "per_trace_analysis"
"""The folder of the results within the experiment."""

LINES = "per_trace.jsonl"


@dataclass(frozen=True, slots=True)
class Parsed:
    """The result of `parse`."""

    folder: Path
    """The experiment."""
    output: Path
    """The folder with the results."""
    runs: int
    failed: int
    """Runs that did not succeed."""
    without_records: int
    """Runs that have no records in the artifacts."""
    missing: str | None = None
    """A notice if the experiment is not complete."""


def parse(
    path: str | os.PathLike[str], *, output: str | None = None, on_run: Callable[[Run], None] | None = None
) -> Parsed:
    """
    Write what each run of the experiment at *path* did; see ``docs/evaluation.md``.

    Parsing again replaces the files: the same experiment always gives the same result. The old ones stay until the new
    ones are complete.

    Args:
        path: The folder of an experiment, a link to it, or its name.
        output: The name of the folder for the results within the experiment; by default `OUTPUT`.
        on_run: Called after each run, for a display of progress.

    Raises:
        ReadError: If there is no such experiment, or it has no runs.
        WriteError: If the results cannot be written.
    """
    folder = ExperimentFolder.at(path)
    target = folder.path / (output or OUTPUT)
    _check(target, folder)
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    runs = failed = without = 0
    try:
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        with open(part / LINES, "wb", opener=private) as lines:
            for number, run in enumerate(recorded_runs(folder)):
                runs += 1
                failed += not run.row.succeeded
                without += not run.records
                _write(f"{part}/{file_name(run, number)}", document(run).encode("utf-8", "replace"))
                lines.write(line_of(run))
                if on_run:
                    on_run(run)
        if not runs:
            raise ReadError(folder.what_is_missing(0) or f"{folder.path} has no finished runs")
        _replace(part, target)
    except (ReadError, KeyboardInterrupt):
        raise
    except OSError as error:
        raise WriteError(f"{target} cannot be written: {error.strerror or error}") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return Parsed(folder.path, target, runs, failed, without, folder.what_is_missing(runs))


def _write(path: str, content: bytes) -> None:
    """Write a new file with three system calls; a file object takes longer than its document."""
    fd = private(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_BINARY", 0))
    try:
        rest = memoryview(content)
        while rest:
            rest = rest[os.write(fd, rest) :]
    finally:
        os.close(fd)


def file_name(run: Run, number: int) -> str:
    """Return the name of the Markdown file of *run*: iteration and trace id, without characters that paths reserve."""
    iteration = run.data.get("iteration")
    safe = _RESERVED.sub("_", run.row.trace_id)[:120]
    return f"{iteration if isinstance(iteration, int) else 0:02d}_{safe or number}.md"


_RESERVED = re.compile(r"[^\w-]")


def is_parsed(folder: ExperimentFolder) -> bool:
    """Return whether the results are there and not older than the runs."""
    lines = folder.path / OUTPUT / LINES
    with suppress(OSError):
        return lines.stat().st_mtime_ns >= (folder.path / "trace_summary.jsonl").stat().st_mtime_ns
    return False


def _check(target: Path, folder: ExperimentFolder) -> None:
    """Refuse a target that holds something else than earlier results: it will be replaced."""
    if target.resolve().parent != folder.path.resolve():
        raise ReadError(f"output must be the name of a folder within the experiment, got {target.name!r}")
    if target.exists() and not (target / LINES).is_file() and any(target.iterdir() if target.is_dir() else [target]):
        raise ReadError(
            f"{target} exists and does not hold results of this command. Next step: choose another --output"
        )


def _replace(part: Path, target: Path) -> None:
    old = target.with_name(f".{target.name}.{os.getpid()}.old")
    if target.exists():
        target.rename(old)
    part.rename(target)
    shutil.rmtree(old, ignore_errors=True)
