"""
Write the runs of an experiment as JUnit XML, which CI systems show.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element, ElementTree, SubElement

from ..storage.record_file import write_error
from .folder import ExperimentFolder

_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that no XML document can contain."""


def write_junit(path: str | os.PathLike[str], experiment: ExperimentFolder) -> None:
    """
    Write one test case for each run.

    Raises:
        WriteError: If the file cannot be written.
    """
    suite = Element("testsuite", name=_text(experiment.name))
    counts = {"tests": 0, "failures": 0, "errors": 0}
    seconds = 0.0
    for row in experiment.rows():
        data = row.data
        counts["tests"] += 1
        duration = (data.get("duration_ms") or 0) / 1000
        seconds += duration
        name = f"{data.get('input_id')} [iteration {data.get('iteration')}]"
        name += f" [{data['persona']}]" if data.get("persona") else ""
        case = SubElement(suite, "testcase", classname=_text(experiment.name), name=_text(name), time=f"{duration:.3f}")
        if not row.succeeded:
            counts["errors"] += 1
            error: Mapping[str, Any] = data.get("error") or {}
            message = str(error.get("message") or row.status)
            SubElement(case, "error", type=_text(str(error.get("type") or row.status)), message=_text(message))
    for key, count in counts.items():
        suite.set(key, str(count))
    suite.set("time", f"{seconds:.3f}")
    try:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        ElementTree(suite).write(path, encoding="utf-8", xml_declaration=True)
    except OSError as exc:
        raise write_error(exc, f"write {path}") from exc


def _text(text: str) -> str:
    return _NOT_XML.sub("\ufffd", text)
