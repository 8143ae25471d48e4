"""
Turn the journals of dead processes in a spool into segments, so that what they left open is sent as ``crashed``.

A journal may also have observations that have ended; their records are sent, too, and take precedence in a collector.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import orjson

from .descriptors import Descriptor, lock, open_regular
from .inflight import NAME_PREFIX, crashed, is_alive, read_slots


def recover(folder: Path) -> None:
    """
    Write a segment for each journal of a dead process in *folder*, and remove the journal. Never raises OSError.

    Journals beside the files of `FileStorage` are theirs, and are left alone.
    """
    journals = journals_in(folder)
    if journals and any(folder.glob("observations*.jsonl")):
        return
    for path in journals:
        with suppress(OSError):  # removed by another process, no permission, or a full disk: the next call tries again
            _recover(path)


def journals_in(folder: Path) -> list[Path]:
    """Return the paths of the journals in *folder*, of running and of dead processes."""
    return sorted(folder.glob(f"{NAME_PREFIX}*"))


def _recover(path: Path) -> None:
    journal = Descriptor(open_regular(path, os.O_RDWR), path)
    try:
        if is_alive(path, lock(journal.fd)) or not journal.is_in_place():
            return
        if lines := b"".join(_lines(journal.fd)):
            _write_segment(path, lines)
        journal.remove()
    finally:
        journal.close()


def _lines(fd: int) -> Iterator[bytes]:
    """Yield the records of what is in a journal: its observations, and the traces of its roots."""
    for slot in read_slots(fd, alive=False):
        for record in filter(None, crashed(slot)):
            with suppress(TypeError):  # a number beyond 64 bits
                yield orjson.dumps(record) + b"\n"


def _write_segment(journal: Path, lines: bytes) -> None:
    """Write *lines* as a segment of the process of *journal*; it has its name when it is complete."""
    pid = journal.name.removeprefix(NAME_PREFIX).partition("-")[0]
    name = f"{pid if pid.isdecimal() else 0}-{os.urandom(6).hex()}-000000"
    unfinished = journal.with_name(f".{name}.tmp")
    try:
        with open(open_regular(unfinished, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file:
            file.write(lines)
        unfinished.rename(journal.with_name(f"{name}.jsonl"))
    except OSError:
        unfinished.unlink(missing_ok=True)
        raise
