"""
What has begun and not ended, kept where a killed process cannot take it along.

Each writing process has one hidden file of fixed slots, mapped into memory: beginning an observation fills a slot,
ending it clears the slot, and neither costs a system call. Whatever moment the process dies at, the file tells which
observations were open. The format is in ``docs/record-format.md``.
"""

from __future__ import annotations

import atexit
import math
import os
import sys
import threading
from io import FileIO
from itertools import islice
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any, NamedTuple
from weakref import WeakSet

from ..encoding import ids
from ..enums import SCHEMA_VERSION, Status
from .decoding import decoded
from .descriptors import Descriptor, lock, runs
from .slots import NAME, NOTHING, SLOT_BYTES, Slots

if TYPE_CHECKING:
    from collections.abc import Iterator

RETRY_S = 1.0
"""After a journal could not be made (disk full, folder not writable), observations begin without it for so long."""

EXIT_S = 0.5
"""How long the exit waits for a thread that is just making a journal; one stuck on a dead disk must not hold it up."""

MOST_TIDIED = 100
"""Journals a process looks at, when it makes its own, for those it can remove."""

_BRACE = ord("{")


class Journal:
    """
    The journal of this process for one folder, made when the first observation begins.

    Recording does not depend on it: where it cannot be kept, `put` returns -1 and `trouble` says why.

    Args:
        folder: Where the records go; made if it is not there.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        self.trouble: str | None = None
        """Why the last attempt to make or to enlarge the file failed."""
        self._live: Slots = NOTHING
        self._retry_at = 0.0
        _journals.add(self)

    def put(self, head: bytes, rest: bytes = b"") -> int:
        """
        Note that an observation has begun.

        Args:
            head: Its record from the opening brace on, without the closing one.
            rest: More fields, beginning with a comma; left out when the slot is too small for both.

        Returns:
            The slot, for `free`; -1 if there is none. Never raises an Exception.
        """
        size = len(head) + len(rest)  # told before they are joined: the rest may be large
        if size >= SLOT_BYTES:
            size, rest = len(head), b""
            if size >= SLOT_BYTES:
                return -1
        live = self._live
        try:
            slot = live.free.pop()  # one step under the GIL, like the append in `free`: no slot has two owners
        except IndexError:
            live, slot = self._more()
            if slot < 0:
                return -1
        slots, start = live.map, slot * SLOT_BYTES
        after = start + 1
        slots[after : after + size] = head[1:] + rest + b"\n"
        slots[start] = _BRACE  # last, for until now the slot is free and what it holds may be half written
        return live.base + slot

    def free(self, slot: int) -> None:
        """Note that the observation of *slot* has ended; -1 and slots from before a fork are ignored."""
        live = self._live
        slot -= live.base
        start = slot * SLOT_BYTES
        if 0 <= slot < live.count and (slots := live.map)[start]:
            slots[start] = 0
            live.free.append(slot)

    def close(self) -> None:
        """Remove the file if nothing is open in it; otherwise it stays in use, and after us for its readers."""
        with _changing:
            live, nothing_open = self._live, len(self._live.free) == self._live.count
            if nothing_open and live is not NOTHING:
                self._live = NOTHING
                live.remove()

    def follow(self) -> None:
        """Go on in a new file, with all that is open now, if ours was removed or renamed."""
        with _changing:
            live = self._live
            if live is NOTHING or live.file.is_at(str(live.path)):
                return
            try:
                live.move(self.folder)
            except (OSError, ValueError) as exc:
                self._failed(exc)

    def _more(self) -> tuple[Slots, int]:
        """The free slot of a new or larger file, or -1."""
        with _changing:
            try:
                if monotonic() >= self._retry_at:
                    self._provide()
                return self._live, self._live.free.pop()
            except (OSError, ValueError) as exc:  # ValueError: from mmap, where a file system cannot map files
                self._failed(exc)
            except IndexError:
                pass  # all are in use, and it may not grow
            return self._live, -1

    def _provide(self) -> None:
        if self._live is NOTHING:
            _tidy(self.folder)
            _close_at_the_end_of_a_worker()
            made = Slots(self.folder)
            if self._live is NOTHING:  # unless a signal handler recorded something meanwhile
                self._live = made
        elif not self._live.free:
            self._live.grow()

    def _failed(self, exc: Exception) -> None:
        self.trouble = f"cannot keep a journal of open observations in {self.folder}: {exc}"
        self._retry_at = monotonic() + RETRY_S

    def _forked(self) -> None:
        """In the child: leave the parent's file, its lock and its slots alone."""
        self._live, parents = NOTHING, self._live
        if parents is not NOTHING:
            # Now, not when they are collected: the lock lasts until its last copy is closed, and a parent that
            # was killed must not look alive because its child is. An explicit unlock would take it from the parent.
            parents.map.close()
            parents.file.close()


class Inflight(NamedTuple):
    """What one journal tells: observations that are open right now, or were when their process died."""

    alive: bool
    path: Path
    records: list[dict[str, Any]]
    """The beginning of each record; that of a root also has ``trace``, the beginning of its trace's line."""


def read_journals(folder: str | os.PathLike[str]) -> Iterator[Inflight]:
    """
    Yield what every journal in *folder* tells, in the order of their names.

    An observation that ended just before its process died can be in a journal and in the files; the files are right.
    """
    for path in sorted(Path(folder).glob(f"{NAME}*")):
        try:
            with path.open("rb", buffering=0) as file:
                # While we hold the lock nobody can begin to use the file: what was dead is dead while we read.
                alive = is_alive(path, lock(file.fileno(), shared=True))
                records = read_slots(file, alive=alive)
        except OSError:
            continue  # removed by now, since its process ended well, or not ours to read
        yield Inflight(alive, path, records)


def is_alive(path: Path, taken: bool | None) -> bool:
    """Whether the process of a journal lives, given what `lock` said of its file."""
    if taken is not None:
        return not taken
    pid = path.name.removeprefix(NAME).partition("-")[0]
    return pid.isdecimal() and runs(int(pid))


def read_slots(file: FileIO, *, alive: bool) -> list[dict[str, Any]]:
    """Return the records that stand in the slots of an open journal, leaving out what is half written."""
    file.seek(0)
    slots = file.read()
    if alive:  # a slot may change under our eyes: what looks the same twice was not changing
        file.seek(0)
        again = file.read()
    else:
        again = slots
    starts = (start for start in range(0, len(slots), SLOT_BYTES) if slots[start])
    whole = (slots[s : s + SLOT_BYTES] for s in starts if slots[s : s + SLOT_BYTES] == again[s : s + SLOT_BYTES])
    heads = (slot[: slot.index(b"\n")] for slot in whole if b"\n" in slot)
    return [record for head in heads for record in decoded(head + b"}") if record.keys() >= {"id", "trace_id"}]


def crashed(record: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """
    Return the observation, and for a root the trace, that a *record* of a dead journal stands for.

    Both are complete records of the status ``crashed``, without an end: nobody knows when it was.
    """
    observation = {**record, "status": str(Status.CRASHED), "level": "INFO"}
    trace = observation.pop("trace", None)
    if trace is None:
        return observation, None
    shared = {field: record[field] for field in ("name", "start_time", "input") if field in record}
    ending = {"status": str(Status.CRASHED), "schema": SCHEMA_VERSION}
    return observation, {"trace_id": record.get("trace_id"), **shared, **trace, **ending}


_journals: WeakSet[Journal] = WeakSet()
_changing = threading.RLock()
"""Held while a file is made, enlarged or removed. Re-entrant: a signal handler or a finalizer may record, too."""


def _forked() -> None:
    global _changing
    _changing = threading.RLock()  # the old one may be held by a thread the child does not have
    for journal in list(_journals):
        journal._forked()


def _tidy(folder: Path) -> None:
    """Remove what processes left that ended without a chance to (`os._exit`), if nothing was open in it."""
    for path in islice(folder.glob(f"{NAME}*"), MOST_TIDIED):
        try:
            journal = Descriptor(os.open(path, os.O_RDWR | getattr(os, "O_BINARY", 0)))
            with FileIO(journal.fd, closefd=False) as file:
                if not is_alive(path, lock(journal.fd)) and not any(file.read()[::SLOT_BYTES]):
                    journal.remove(path)
        except OSError:
            pass  # gone by now, or not ours to remove


def _close_at_the_end_of_a_worker() -> None:
    """A worker of `multiprocessing` ends by `os._exit`, past `atexit`; it has finalizers of its own instead."""
    processes = sys.modules.get("multiprocessing.process")
    if processes is not None and processes.parent_process() is not None:
        from multiprocessing.util import Finalize

        Finalize(None, _close_all, exitpriority=0)


def _close_all() -> None:
    for journal in list(_journals):
        journal.close()


@atexit.register
def _exiting() -> None:
    if not _changing.acquire(timeout=EXIT_S):
        return
    try:
        _close_all()
        for journal in list(_journals):
            journal._retry_at = math.inf  # what still runs now is not worth a new file nobody would remove
    finally:
        _changing.release()


ids.after_fork(_forked)
