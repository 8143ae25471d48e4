"""
Shared by the tests of reading and of the command line: golden files, outlines, journals, records.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fluxloop.models import Trace
from fluxloop.storage.journal import Journal

GOLDEN = Path(__file__).parent / "golden"


def drawn(trace: Trace) -> list[str]:
    """The trace and its observations, one line each: type, name and status, indented by depth."""
    lines = [f"{trace.name} [{trace.status or 'running'}]"]
    return lines + [f"{'  ' * depth}{o.type.name} {o.name} [{o.status or 'running'}]" for depth, o in trace.walk()]


def observation(id: str, parent: str | None = None, *, trace: str = "t1", **fields: Any) -> dict[str, Any]:
    """Return a finished TOOL observation in the record format, with its fields in the order of the files."""
    return {
        "id": id,
        "trace_id": trace,
        "parent_id": parent,
        "type": "TOOL",
        "name": id,
        "seq": 0,
        "start_time": "2026-01-17T14:30:22.123456Z",
        "end_time": "2026-01-17T14:30:22.456456Z",
        "duration_ms": 333.0,
        "status": "success",
        "level": "INFO",
        **fields,
    }


def trace_line(trace: str = "t1", **fields: Any) -> dict[str, Any]:
    """Return a trace in the record format."""
    return {
        "trace_id": trace,
        "name": trace,
        "session_id": "s1",
        "start_time": "2026-01-17T14:30:22.123456Z",
        "end_time": "2026-01-17T14:30:22.456456Z",
        "duration_ms": 333.0,
        "status": "success",
        "metadata": {},
        "tags": [],
        "schema": 1,
        **fields,
    }


def line(record: Any) -> bytes:
    """*record* as a line in the record format: compact, UTF-8, with its line end."""
    return json.dumps(record, separators=(",", ":"), ensure_ascii=False).encode() + b"\n"


def written(folder: Path, *records: Mapping[str, Any], day: str = "20260117") -> Path:
    """Append *records* to the files of *day* under *folder*, and return the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for record in records:
        kind = "observations" if "parent_id" in record else "traces"
        with (folder / f"{kind}_{day}.jsonl").open("ab") as file:
            file.write(line(record))
    return folder


def head(id: str, parent: str | None = None, *, trace: str = "t1", **fields: Any) -> dict[str, Any]:
    """The record of an open observation, as in a journal; that of a root has the beginning of the trace's line."""
    begun = observation(id, parent, trace=trace, **fields)
    for field in ("end_time", "duration_ms", "status", "level"):
        begun.pop(field, None)
    return begun if parent else {**begun, "trace": {"name": "Agent", "session_id": "s9", "tags": ["x"]}}


@contextmanager
def running(folder: Path, *heads: Mapping[str, Any]) -> Iterator[Journal]:
    """Keep *heads* in the journal of a living process: this one."""
    journal = Journal(folder)
    slots = [journal.put(line(one)[:-2]) for one in heads]
    yield journal
    for slot in slots:
        journal.free(slot)
    journal.close()


def died(folder: Path, *heads: Mapping[str, Any], process: str = "999999-dead") -> None:
    """Create the journal of a process that died while *heads* were open."""
    with running(folder, *heads):
        (alive,) = folder.glob(".inflight-*-*")
        shutil.copy(alive, folder / f"dead-{process}")
    (folder / f"dead-{process}").rename(folder / f".inflight-{process}")
