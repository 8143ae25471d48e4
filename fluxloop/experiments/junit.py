"""
Runs as test cases in the format of JUnit, which CI systems show.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from xml.sax.saxutils import escape, quoteattr

from ..storage.record_file import write_error
from .folder import ExperimentFolder, Row


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a test case did not pass."""

    kind: Literal["error", "failure"]
    """``error`` for a run that did not succeed, ``failure`` for one that did and is not good enough."""
    message: str
    type: str = ""
    details: str = ""


class JunitFile:
    """
    A file of test cases. Memory does not grow with their number.

    Args:
        path: The file; its folder is created.

    Raises:
        WriteError: If it cannot be written, as all methods do.
    """

    def __init__(self, path: Path) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._cases = tempfile.TemporaryFile()  # noqa: SIM115
        except OSError as exc:
            raise write_error(exc, f"write {path}", choice="--junit") from exc
        self._path = path
        self._counts = {"tests": 0, "failure": 0, "error": 0}
        self._seconds = 0.0

    def close(self) -> None:
        """Close the file of the cases so far."""
        self._cases.close()

    def add(self, group: str, name: str, duration_ms: float | None, problem: Problem | None) -> None:
        """Add a test case, which passed unless it has a *problem*."""
        seconds = (duration_ms or 0.0) / 1000
        self._seconds += seconds
        self._counts["tests"] += 1
        case = f"<testcase classname={_attribute(group)} name={_attribute(name)} time='{seconds:.3f}'>"
        if problem is not None:
            self._counts[problem.kind] += 1
            kind = f" type={_attribute(problem.type)}" if problem.type else ""
            start = f"<{problem.kind}{kind} message={_attribute(problem.message)}>"
            case += f"{start}{_text(problem.details)}</{problem.kind}>"
        try:
            self._cases.write(f"{case}</testcase>\n".encode("utf-8", "replace"))
        except OSError as exc:
            raise write_error(exc, f"write {self._path}", choice="--junit") from exc

    def finish(self, name: str) -> None:
        """Write the file, with *name* as that of the suite."""
        tests, failures, errors = self._counts.values()
        counts = f"tests='{tests}' failures='{failures}' errors='{errors}' time='{self._seconds:.3f}'"
        try:
            self._cases.seek(0)
            with open(self._path, "wb") as file:
                file.write(b"<?xml version='1.0' encoding='utf-8'?>\n")
                file.write(f"<testsuites {counts}><testsuite name={_attribute(name)} {counts}>\n".encode())
                while piece := self._cases.read(1 << 20):
                    file.write(piece)
                file.write(b"</testsuite></testsuites>\n")
        except OSError as exc:
            raise write_error(exc, f"write {self._path}", choice="--junit") from exc


def check_writable(path: Path) -> None:
    """Raise WriteError if a file cannot be created at *path*, so that this is known before the experiment."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "ab"):
            pass
        if not path.stat().st_size:
            path.unlink()
    except OSError as exc:
        raise write_error(exc, f"write {path}", choice="--junit") from exc


def write_junit(path: Path, experiment: ExperimentFolder) -> None:
    """
    Write one test case for each run of *experiment*.

    Raises:
        WriteError: If the file cannot be written.
    """
    file = JunitFile(path)
    try:
        for row in experiment.rows():
            data = row.data
            name = f"{data.get('input_id')} [iteration {data.get('iteration')}]"
            name += f" [{data['persona']}]" if data.get("persona") else ""
            file.add(experiment.name, name, data.get("duration_ms"), _problem(row))
        file.finish(experiment.name)
    finally:
        file.close()


def _problem(row: Row) -> Problem | None:
    if row.succeeded:
        return None
    error = row.data.get("error")
    found: Mapping[str, object] = error if isinstance(error, Mapping) else {"message": error}
    return Problem("error", str(found.get("message") or row.status), str(found.get("type") or row.status))


_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that XML 1.0 does not allow, not even as references."""


def _text(text: str) -> str:
    return escape(_NOT_XML.sub("\ufffd", text))


def _attribute(text: str) -> str:
    return quoteattr(_NOT_XML.sub("\ufffd", text))
