"""
Check cassettes: whether they are whole, would replay as recorded, and fit today's code.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import orjson

from ..encoding.typed import NotImportedError, UntypedError, is_cut, is_masked, untyped
from ..errors import FluxLoopError
from ..models import SCHEMA_VERSION, ObservationData, Trace
from ..reading import read_traces
from ..reading.source import lines_of, open_records
from .recording import Place, is_expected, tree_of


def problems_in(path: Path) -> list[str]:
    """Return what keeps the cassette *path* from being replayed as recorded; empty if nothing does."""
    traces = list(read_traces(path))
    found: list[str] = damages_in(path, traces)
    if not traces:
        return [*found, "it has no trace"]
    found += [
        f"{trace.trace_id}: stale, recorded in format {trace.schema_version} of {SCHEMA_VERSION}"
        for trace in traces
        if trace.schema_version < SCHEMA_VERSION
    ]
    answers = [place.observation for place in tree_of(traces).walk() if place.is_answer()]
    if not answers:
        found.append("it has no call that could be answered: no model call, tool call or retrieval")
    for one in answers:
        what = f"{one.type.name} {one.name}"
        whole = one.metadata.get("replay")
        whole = whole if isinstance(whole, dict) else {}
        served = [whole[name] for name in ("value", "items") if name in whole] or [
            one.output,
            one.metadata.get("stream"),
        ]
        if "unsupported" in whole:
            found.append(f"{what}: the answer is an object of {whole['unsupported']}, which is not data")
        elif one.status is None or not (is_expected(one_place(one)) or one.status.value in ("cancelled", "abandoned")):
            found.append(f"{what}: was not recorded to its end")
        if (missing := _unbuilt(whole)) is not None:
            found.append(f"{what}: stale, the answer is an object of {missing}, which cannot be imported here")
        if any(map(is_cut, served)):
            found.append(f"{what}: the answer was cut when it was recorded")
        if any(map(is_masked, served)):
            found.append(f"{what}: a secret in the answer is masked")
    return found


def damages_in(path: Path, traces: list[Trace]) -> list[str]:
    """Return what is torn or missing in the file *path*, from which *traces* were read; empty if it is whole."""
    count, last = 0, b""
    for line in _lines(path):
        count, last = count + 1, line
    is_counted = count == len(traces) + sum(len(trace.observations) for trace in traces)
    if is_counted and _is_json(last):
        return []  # a last line that is torn belongs to the end of a trace, which is read without it
    found: list[str] = []
    known: set[str] = set()
    for number, line in enumerate(_lines(path, with_blank=True), 1):
        try:
            record: Any = orjson.loads(line.removeprefix(b"\xef\xbb\xbf")) if line.strip() else {"trace_id": None}
            if "parent_id" not in record:
                known.add(record["trace_id"])
        except (ValueError, TypeError, KeyError):
            found.append(f"line {number} is torn, or is not a record")
    found += [f"the end of trace {trace.trace_id} is missing" for trace in traces if trace.trace_id not in known]
    return found


def _is_json(line: bytes) -> bool:
    try:
        orjson.loads(line.removeprefix(b"\xef\xbb\xbf"))
    except ValueError:
        return False
    return True


def _lines(path: Path, *, with_blank: bool = False) -> Iterator[bytes]:
    """Yield the lines of a file, without the holes of a sparse one."""
    file = open_records(path) if path.is_file() else None
    if file is not None:
        with file:
            yield from (file.complete(line) for _, line in lines_of(file) if with_blank or line.strip())


def _unbuilt(whole: dict[str, Any]) -> str | None:
    """Return the class of an answer in *whole* that cannot be built here; None if all can."""
    try:
        for encoded in [whole["value"]] if "value" in whole else whole.get("items") or ():
            with suppress(NotImportedError):  # it is imported by the program
                untyped(encoded)
    except UntypedError as missing:
        return str(missing)
    return None


def divergences_in(path: Path) -> list[str]:
    """
    Run the entry points of the traces in the cassette *path* with today's code, and return where they diverge.

    A trace whose entry point was not recorded is skipped.
    """
    from .rerun import rerun

    found: list[str] = []
    for trace in read_traces(path):
        if not any("target" in root.metadata for root in trace.roots):
            continue
        try:
            again = rerun(trace)
        except FluxLoopError as problem:
            found.append(f"{trace.trace_id}: stale, {problem}")
            continue
        if not again.is_same:
            first = (again.first_divergence() or "another tree").splitlines()[0]
            found.append(f"{trace.trace_id}: stale, today's code diverges: {first}")
    return found


def one_place(observation: ObservationData) -> Any:
    """Return *observation* as a place without a tree."""
    return Place(observation, None)
