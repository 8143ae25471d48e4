"""
Read the journals in a folder: what is open in running processes, and what was open when others died.

The format, and what a journal may hold, is described in ``docs/record-format.md``.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from ..enums import SCHEMA_VERSION, Status
from .decoding import decoded
from .descriptors import Descriptor, is_running, lock, open_regular

NAME = ".inflight-"
"""The first part of each journal's file name; process number and random letters follow."""

SLOT_BYTES = 1024
"""Enough for every field of a record's beginning, and for the input of most; part of the format."""

MOST_SLOTS = 65_536
"""Observations of one process that a journal shows at once. A larger file is not a journal, and is not read."""

MOST_TIDIED = 100
"""Journals that `tidy` looks at."""

MOST_TIDIED_BYTES = 1_048_576
"""Size of the largest journal that `tidy` reads: it runs when a program records for the first time."""


class Inflight(NamedTuple):
    """What one journal holds: observations that are open, or were open when their process died."""

    alive: bool
    path: Path
    records: list[dict[str, Any]]
    """The beginning of each record; that of a root also has ``trace``, the beginning of its trace's line."""


def read_journals(folder: str | os.PathLike[str]) -> Iterator[Inflight]:
    """
    Yield what every journal in *folder* holds, in the order of their names.

    A journal may also hold observations that have ended: their records are in the files, which take precedence.
    """
    for path in sorted(Path(folder).glob(f"{NAME}*")):
        try:
            journal = Descriptor(open_regular(path, os.O_RDONLY), path)
            # No process can begin to use the file while we hold its lock: it stays dead while we read.
            alive = is_alive(path, lock(journal.fd, shared=True))
            yield Inflight(alive, path, read_slots(journal.fd, alive=alive))
        except OSError:
            continue  # removed by now, since its process ended well, or we may not read it


def is_alive(path: Path, locked: bool | None) -> bool:
    """Whether the process of a journal runs, given what `lock` returned for its file."""
    if locked is not None:
        return not locked
    pid = path.name.removeprefix(NAME).partition("-")[0]
    return pid.isdecimal() and is_running(int(pid))


def read_slots(fd: int, *, alive: bool) -> list[dict[str, Any]]:
    """Return the records in the slots of a journal, without those that are only partly written."""
    slots = _content(fd)
    again = _content(fd) if alive else slots  # a slot that changes while we read it differs between two reads
    starts = (start for start in range(0, len(slots), SLOT_BYTES) if slots[start])
    whole = (slots[s : s + SLOT_BYTES] for s in starts if slots[s : s + SLOT_BYTES] == again[s : s + SLOT_BYTES])
    heads = (slot[: slot.index(b"\n")] for slot in whole if b"\n" in slot)
    return [record for head in heads for record in decoded(head + b"}") if record.keys() >= {"id", "trace_id"}]


def _content(fd: int) -> bytes:
    """Return the content of a journal; nothing if the file is too large to be one."""
    size = os.fstat(fd).st_size
    return os.pread(fd, size, 0) if size <= MOST_SLOTS * SLOT_BYTES else b""


def tidy(folder: Path) -> None:
    """Remove the journals of dead processes in which nothing is open: `os._exit` leaves those."""
    for path in islice(folder.glob(f"{NAME}*"), MOST_TIDIED):
        try:
            journal = Descriptor(open_regular(path, os.O_RDWR), path)
            is_small = os.fstat(journal.fd).st_size <= MOST_TIDIED_BYTES
            if is_small and not is_alive(path, lock(journal.fd)) and not any(_content(journal.fd)[::SLOT_BYTES]):
                journal.remove()
        except OSError:
            pass  # removed by now, or we may not remove it


def crashed(record: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """
    Return the observation, and for a root the trace, that a *record* of a dead process's journal represents.

    Both are complete records of the status ``crashed``, without an end, which is unknown.
    """
    observation = {**record, "status": str(Status.CRASHED), "level": "INFO"}
    trace = observation.pop("trace", None)
    if trace is None:
        return observation, None
    shared = {field: record[field] for field in ("name", "start_time", "input") if field in record}
    ending = {"status": str(Status.CRASHED), "schema": SCHEMA_VERSION}
    return observation, {"trace_id": record.get("trace_id"), **shared, **trace, **ending}
