"""
The runs as test cases in the format of JUnit, which CI systems show.
"""

from __future__ import annotations

import re
import tempfile
from pathlib import Path
from xml.sax.saxutils import escape, quoteattr

from ...recorded_runs import Run
from ..rules.values import label, short
from ..scores import RunScore


class JunitReport:
    """
    A file of test cases: a run that did not succeed is an error, one that did not pass a failure.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        self._cases = tempfile.TemporaryFile()  # noqa: SIM115
        self._count = self._failures = self._errors = 0
        self._seconds = 0.0

    def close(self) -> None:
        """Close the file of the cases so far."""
        self._cases.close()

    def add(self, run: Run, score: RunScore) -> None:
        """Add a run."""
        seconds = (run.duration_ms or 0.0) / 1000
        self._count += 1
        self._seconds += seconds
        name = f"{label(run.data.get('input'))[:80]} [{_number(run)}]"
        case = f"<testcase classname={_attribute(run.persona or 'runs')} name={_attribute(name)} time='{seconds:.3f}'>"
        text = "\n".join(f"{evaluator}: {reason}" for evaluator, reason in score.reasons.items())
        details = f"{text}\ntrace {run.row.trace_id}\noutput: {short(run.output)}"
        if not run.row.succeeded:
            self._errors += 1
            case += f"<error message={_attribute(run.error or run.row.status)}>{_text(details)}</error>"
        elif not score.passed:
            self._failures += 1
            shown = "no score" if score.final is None else f"score {score.final:.3f}"
            case += f"<failure message={_attribute(shown)}>{_text(details)}</failure>"
        self._cases.write(f"{case}</testcase>\n".encode("utf-8", "replace"))

    def finish(self, name: str) -> None:
        """Write the file."""
        counts = f"tests='{self._count}' failures='{self._failures}' errors='{self._errors}' time='{self._seconds:.3f}'"
        self._cases.seek(0)
        with open(self._path, "wb") as file:
            file.write(b"<?xml version='1.0' encoding='utf-8'?>\n")
            file.write(f"<testsuites {counts}><testsuite name={_attribute(name)} {counts}>\n".encode())
            while piece := self._cases.read(1 << 20):
                file.write(piece)
            file.write(b"</testsuite></testsuites>\n")


def _number(run: Run) -> str:
    number, iteration = run.data.get("run"), run.data.get("iteration")
    return f"run {number}" if number is not None else f"iteration {iteration}"


_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that XML 1.0 does not allow, not even as references."""


def _text(text: str) -> str:
    return escape(_NOT_XML.sub("�", text))


def _attribute(text: str) -> str:
    return quoteattr(_NOT_XML.sub("�", text))
