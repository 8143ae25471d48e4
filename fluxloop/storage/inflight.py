"""
Read the journals in a folder: the open observations of running processes, and those that were open in dead ones.

The format is described in ``docs/record-format.md``.
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

NAME_PREFIX = ".inflight-"
"""The prefix of the file names of journals; a process id and random characters follow."""

SLOT_BYTES = 1024
"""The size of a slot: enough for the first fields of a record, and for most inputs. Part of the format."""

ECHO_BYTES = 48
"""The number of bytes of a slot's text, with its newline, that are repeated after it. Part of the format."""

MAX_SLOTS = 65_536
"""The limit of observations in a journal. A larger file is not a journal, and is not read."""

MAX_READS = 5
"""The limit of reads of a slot that changes each time."""

MAX_REMOVED = 100
"""The limit of journals that `remove_empty` inspects."""

MAX_EMPTY_BYTES = 1_048_576
"""The size of the largest journal that `remove_empty` reads, because it runs before the first record of a program."""


class Inflight(NamedTuple):
    """The content of one journal: observations that are open, or were open when their process died."""

    alive: bool
    path: Path
    records: list[dict[str, Any]]
    """The first fields of each record. A root also has ``trace``, the first fields of its trace."""


def read_journals(folder: str | os.PathLike[str]) -> Iterator[Inflight]:
    """
    Yield the content of each journal in *folder*, ordered by file name.

    A journal may also contain observations that have ended. Their records are in the files, which take precedence.
    """
    for path in sorted(Path(folder).glob(f"{NAME_PREFIX}*")):
        try:
            journal = Descriptor(open_regular(path, os.O_RDONLY), path)
            # No process can start to use the file while its lock is held here.
            alive = is_alive(path, lock(journal.fd, shared=True))
            yield Inflight(alive, path, read_slots(journal.fd, alive=alive))
        except OSError:
            continue  # removed by its process, or no permission


def is_alive(path: Path, locked: bool | None) -> bool:
    """Return whether the process of a journal runs, given the result of `lock` for its file."""
    if locked is not None:
        return not locked
    pid = path.name.removeprefix(NAME_PREFIX).partition("-")[0]
    return pid.isdecimal() and is_running(int(pid))


def read_slots(fd: int, *, alive: bool) -> list[dict[str, Any]]:
    """Return the records in the slots of a journal, without partly written ones."""
    slots = content(fd)
    again = content(fd) if alive else slots
    starts = (start for start in range(0, len(slots), SLOT_BYTES) if slots[start])
    used = (_stable(fd, start, slots[start : start + SLOT_BYTES], again) for start in starts)
    heads = (slot.partition(b"\n")[0] for slot in used if b"\n" in slot and (not alive or is_whole(slot)))
    return [record for head in heads for record in decoded(head + b"}") if record.keys() >= {"id", "trace_id"}]


def _stable(fd: int, start: int, slot: bytes, again: bytes) -> bytes:
    """
    Return the *slot* at *start* as two reads show it; *again* is the second read of the whole file.

    A reader can be suspended in the middle of a read, and see the end of what was written meanwhile. Empty if the slot
    keeps changing: each observation in it has ended.
    """
    second = again[start : start + SLOT_BYTES]
    for _ in range(MAX_READS):
        if slot == second:
            return slot
        slot, second = second, os.pread(fd, SLOT_BYTES, start)
    return b""


def is_whole(slot: bytes) -> bool:
    """
    Return whether a *slot* has the text of one write, and not parts of two.

    A process can be suspended in the middle of a write, so reading twice would not show that.
    """
    length = slot.index(b"\n") + 1
    return slot.startswith(slot[: min(length, ECHO_BYTES)], length)


def content(fd: int) -> bytes:
    """Return the content of a journal; empty if the file is too large to be a journal."""
    size = os.fstat(fd).st_size
    return os.pread(fd, size, 0) if size <= MAX_SLOTS * SLOT_BYTES else b""


def remove_empty(folder: Path) -> None:
    """Remove the journals of dead processes that have no open observations; `os._exit` leaves such files."""
    for path in islice(folder.glob(f"{NAME_PREFIX}*"), MAX_REMOVED):
        try:
            journal = Descriptor(open_regular(path, os.O_RDWR), path)
            is_small = os.fstat(journal.fd).st_size <= MAX_EMPTY_BYTES
            if is_small and not is_alive(path, lock(journal.fd)) and not any(content(journal.fd)[::SLOT_BYTES]):
                journal.remove()
        except OSError:
            pass  # removed by another process, or no permission


def crashed(record: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """
    Return the observation, and for a root the trace, for a *record* in the journal of a dead process.

    Both are complete records with the status ``crashed``, and without an end, which is unknown.
    """
    observation = {**record, "status": str(Status.CRASHED), "level": "INFO"}
    trace = observation.pop("trace", None)
    if trace is None:
        return observation, None
    shared = {field: record[field] for field in ("name", "start_time", "input") if field in record}
    ending = {"status": str(Status.CRASHED), "schema": SCHEMA_VERSION}
    return observation, {"trace_id": record.get("trace_id"), **shared, **trace, **ending}
