"""
Turn what dead processes left open into ordinary records.

Readers show what is open in a dead process's journal as ``crashed``. `sweep` writes it to the files, after which they
are complete without the journals, and removes these.
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
from .inflight import NAME, crashed, is_alive, read_slots

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


MOST_DAYS = 8
"""How many days before an observation's its trace can have begun, for its record to be looked for."""


def sweep(folder: str | os.PathLike[str], *, dated: bool = True) -> int:
    """
    Write every observation a dead process left open in *folder* as ``crashed``, and remove the journals.

    Applying it again writes nothing twice, nor do two processes at once where there are locks. Journals of running
    processes are left alone.

    Args:
        folder: The ``base_path`` of a `FileStorage`.
        dated: As given to that `FileStorage`.

    Returns:
        How many observations were written.

    Raises:
        OSError: If the records could not be written; calling it again resumes where it stopped.
    """
    storage = FileStorage(folder, dated=dated, journal=False)
    return sum(_swept(path, storage) for path in sorted(storage.base_path.glob(f"{NAME}*")))


def _swept(path: Path, storage: FileStorage) -> int:
    try:
        journal = Descriptor(open_regular(path, os.O_RDWR), path)
    except OSError:
        return 0  # removed by now, or we may not change it
    try:
        if is_alive(path, lock(journal.fd)) or not journal.is_in_place():
            return 0  # its process runs, or another process has just swept it
        records = list(_new_records(read_slots(journal.fd, alive=False), storage))
        storage.write(records)
        journal.remove()
    finally:
        journal.close()
    return sum(record.kind == "observation" for record in records)


def _new_records(slots: list[dict[str, Any]], storage: FileStorage) -> Iterator[Record]:
    """Yield the records that *slots* represent, without those the files have: these observations ended."""
    starts = {slot["trace_id"]: slot.get("start_time") for slot in slots if "trace" in slot}
    lines: dict[tuple[Literal["observation", "trace"], str], dict[bytes, bytes]] = {}
    for slot in slots:
        day = _day(starts.get(slot["trace_id"], slot.get("start_time")))
        observation, trace = crashed(slot)
        _add(lines.setdefault(("observation", day), {}), "id", observation)
        if trace is not None:
            _add(lines.setdefault(("trace", day), {}), "trace_id", trace)
    for (kind, day), missing in lines.items():
        # The root may be in another process's journal, and have begun on another day.
        for path in sorted(p for p in storage.paths() if p.name[0] == kind[0] and p <= storage.path(kind, day))[
            -MOST_DAYS:
        ]:
            _drop_those_in(path, missing)
        yield from (Record(kind, day, line) for line in missing.values())


def _day(time: object) -> str:
    day = str(time)[:10].replace("-", "")
    return day if re.fullmatch(r"\d{8}", day) else datetime.now(UTC).strftime("%Y%m%d")


def _add(lines: dict[bytes, bytes], key: str, record: dict[str, Any]) -> None:
    """Add the line of *record* under its first bytes: its *key* and id, as all lines of its kind begin."""
    line = orjson.dumps({key: record[key], **record}) + b"\n"
    lines[_beginning(line)] = line


def _beginning(line: bytes) -> bytes:
    """Return the first key of a line and its value, which is an id."""
    return line[: line.find(b'"', line.find(b':"') + 2)]


def _drop_those_in(path: Path, lines: dict[bytes, bytes]) -> None:
    """Remove from *lines* those of records that are in the file at *path*."""
    with suppress(FileNotFoundError), open(path, "rb", opener=open_regular) as file:
        for line in file:
            lines.pop(_beginning(line), None)
