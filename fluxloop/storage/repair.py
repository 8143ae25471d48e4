"""
Write the open observations of dead processes to the record files.

Readers show observations in the journals of dead processes as ``crashed``. `sweep` writes them to the record files and
removes those journals.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

import orjson

from .contract import Record
from .descriptors import Descriptor, lock, open_regular
from .file import FileStorage
from .inflight import NAME_PREFIX, crashed, is_alive, read_slots

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


MAX_DAYS = 8
"""The limit of days before the start of an observation in which the files are searched for its record."""


def sweep(folder: str | os.PathLike[str], *, dated: bool = True) -> int:
    """
    Write each observation that a dead process left open in *folder* as ``crashed``, and remove its journal.

    Repeated calls write nothing twice; nor do several processes, if the file system supports locks. Journals of running
    processes are not changed.

    Args:
        folder: The ``base_path`` of a `FileStorage`.
        dated: The option ``dated`` of that `FileStorage`.

    Returns:
        The number of written observations.

    Raises:
        OSError: If the records could not be written; another call continues the work.
    """
    storage = FileStorage(folder, dated=dated, journal=False)
    return sum(_swept(path, storage) for path in sorted(storage.base_path.glob(f"{NAME_PREFIX}*")))


def _swept(path: Path, storage: FileStorage) -> int:
    try:
        journal = Descriptor(open_regular(path, os.O_RDWR), path)
    except OSError:
        return 0  # removed by another process, or no permission
    try:
        if is_alive(path, lock(journal.fd)) or not journal.is_in_place():
            return 0  # its process runs, or another process has just removed it
        records = list(_new_records(read_slots(journal.fd, alive=False), storage))
        storage.write(records)
        journal.remove()
    finally:
        journal.close()
    return sum(record.kind == "observation" for record in records)


def _new_records(slots: list[dict[str, Any]], storage: FileStorage) -> Iterator[Record]:
    """Yield the records for *slots*, except for those that are in the files because their observations have ended."""
    starts = {slot["trace_id"]: slot.get("start_time") for slot in slots if "trace" in slot}
    lines: dict[tuple[Literal["observation", "trace"], str], dict[bytes, bytes]] = {}
    for slot in slots:
        day = _day(starts.get(slot["trace_id"], slot.get("start_time")))
        observation, trace = crashed(slot)
        _add(lines.setdefault(("observation", day), {}), "id", observation)
        if trace is not None:
            _add(lines.setdefault(("trace", day), {}), "trace_id", trace)
    for (kind, day), missing in lines.items():
        # The root may be in the journal of another process, and may have started on another day.
        for path in sorted(p for p in storage.paths() if p.name[0] == kind[0] and p <= storage.path(kind, day))[
            -MAX_DAYS:
        ]:
            _drop_those_in(path, missing)
        yield from (Record(kind, day, line) for line in missing.values())


def _day(time: object) -> str:
    day = str(time)[:10].replace("-", "")
    return day if re.fullmatch(r"\d{8}", day) else datetime.now(UTC).strftime("%Y%m%d")


def _add(lines: dict[bytes, bytes], key: str, record: dict[str, Any]) -> None:
    """Add the line of *record* under its first bytes, which contain its *key* and id."""
    line = orjson.dumps({key: record[key], **record}) + b"\n"
    lines[_beginning(line)] = line


def _beginning(line: bytes) -> bytes:
    """Return the first bytes of a line, up to the end of the id."""
    return line[: line.find(b'"', line.find(b':"') + 2)]


def _drop_those_in(path: Path, lines: dict[bytes, bytes]) -> None:
    """Remove the lines from *lines* whose records are in the file at *path*."""
    with suppress(FileNotFoundError), open(path, "rb", opener=open_regular) as file:
        for line in file:
            lines.pop(_beginning(line), None)
