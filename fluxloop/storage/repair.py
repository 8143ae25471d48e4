"""
Turn what dead processes left open into ordinary records.

Readers show a dead process's journal as ``crashed`` as it is. `sweep` writes that down for good, so that the
files alone tell the story and the journals can go.
"""

from __future__ import annotations

import os
import re
from datetime import UTC, datetime
from io import FileIO
from typing import TYPE_CHECKING, Any, Literal

import orjson

from . import Record
from .descriptors import Descriptor, lock
from .file import FileStorage
from .journal import crashed, is_alive, read_slots
from .slots import NAME

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def sweep(folder: str | os.PathLike[str], *, dated: bool = True) -> int:
    """
    Write every observation a dead process left open in *folder* as ``crashed``, and remove the journals.

    Applying it again writes nothing twice, nor do two processes at once where there are locks. A process that
    still runs is left alone.

    Args:
        folder: The ``base_path`` of a `FileStorage`.
        dated: As given to that `FileStorage`.

    Returns:
        How many observations were written.

    Raises:
        OSError: If the records could not be kept; what was not done is still there to be done.
    """
    storage = FileStorage(folder, dated=dated)
    return sum(_swept(path, storage) for path in sorted(storage.base_path.glob(f"{NAME}*")))


def _swept(path: Path, storage: FileStorage) -> int:
    try:
        journal = Descriptor(os.open(path, os.O_RDWR | getattr(os, "O_BINARY", 0)))
    except OSError:
        return 0  # gone by now, or not ours to change
    try:
        if is_alive(path, lock(journal.fd)) or not journal.is_at(str(path)):
            return 0  # its process runs, or somebody else has just swept it
        with FileIO(journal.fd, closefd=False) as file:
            records = list(_new_records(read_slots(file, alive=False), storage))
        storage.write(records)
        journal.remove(path)
    finally:
        journal.close()
    return sum(record.kind == "observation" for record in records)


def _new_records(slots: list[dict[str, Any]], storage: FileStorage) -> Iterator[Record]:
    """What the *slots* come to as records, without those the files have: they ended after all."""
    begun = {slot["trace_id"]: slot.get("start_time") for slot in slots if "trace" in slot}
    lines: dict[tuple[Literal["observation", "trace"], str], dict[bytes, bytes]] = {}
    for slot in slots:
        day = _day(begun.get(slot["trace_id"], slot.get("start_time")))
        observation, trace = crashed(slot)
        _note(lines.setdefault(("observation", day), {}), "id", observation)
        if trace is not None:
            _note(lines.setdefault(("trace", day), {}), "trace_id", trace)
    for (kind, day), missing in lines.items():
        _forget_those_in(storage.path(kind, day), missing)
        yield from (Record(kind, day, line) for line in missing.values())


def _day(time: object) -> str:
    day = str(time)[:10].replace("-", "")
    return day if re.fullmatch(r"\d{8}", day) else datetime.now(UTC).strftime("%Y%m%d")


def _note(lines: dict[bytes, bytes], key: str, record: dict[str, Any]) -> None:
    """Add the line of *record* under how it begins: with its *key*, as all lines of its kind do."""
    line = orjson.dumps({key: record[key], **record}) + b"\n"
    lines[_beginning(line)] = line


def _beginning(line: bytes) -> bytes:
    """The first key of a line with its value, which is an id."""
    return line[: line.find(b'"', line.find(b':"') + 2)]


def _forget_those_in(path: Path, lines: dict[bytes, bytes]) -> None:
    try:
        with path.open("rb") as file:
            for line in file:
                lines.pop(_beginning(line), None)
    except FileNotFoundError:
        pass  # all of them are new
