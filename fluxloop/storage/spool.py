"""
The spool: a folder with the records that wait to be sent to a collector.

A process appends each record to its *segment*, ``<pid>-<random>-<number>.jsonl``, with the code of `FileStorage`, and
keeps an exclusive lock on it. A segment without a lock belongs to a process that has ended; the process that locks it
sends it, so no two processes send the same segment. A segment that was sent to its end is removed.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

from .clock import seconds
from .contract import Record
from .descriptors import lock
from .file import FileStorage
from .record_file import RecordFile
from .segment import segments_in

SPOOL = ".spool"
"""The name of the folder within ``base_path``. It has a folder for each collector, since records are not sent to
another collector than the one that they were recorded for."""

REFUSED = "refused.jsonl"
"""The file of records that the collector rejected."""

SEGMENT_BYTES = 128_000_000
"""The size above which a new segment is begun, so that the space of sent records is freed."""

QUIET_S = 1.0
"""How long after its last use by the writer a sent segment is removed: a thread may still be about to write to it."""

_ATTEMPTS = 100
"""Attempts to lock a new segment. Another process can only have locked it while it was empty, to remove it."""


class Spool(FileStorage):
    """
    The segments that this process writes, in *folder*.

    A record is in the segment when `write_line` returns, as with `FileStorage`.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        super().__init__(folder, journal=False, compact_histories=False)  # sent as they are
        self._retired: list[tuple[float, RecordFile]] = []
        """Segments that are no longer written to, and the time since then; they stay locked until they are removed."""
        self._stems: set[str] = set()
        self._begin()

    def _begin(self) -> None:
        self._number = 0
        self._stem = f"{os.getpid()}-{os.urandom(6).hex()}"
        self._stems.add(self._stem)
        self._segment = f"{self._stem}-{self._number:06}"

    def write_line(self, line: bytes, *, is_last: bool) -> None:
        """
        Append *line*; *is_last* is whether its trace has ended.

        Raises:
            WriteError: If the line could not be written.
        """
        key = ("observation", self._segment)
        self.write((Record("observation", key[1], line),))
        if is_last:
            self._confirm(key)

    def path(self, kind: str, day: str) -> Path:
        """Return the path of the segment *day*."""
        return self.base_path / f"{day}.jsonl"

    def paths(self) -> list[Path]:
        """Return the segments in the folder, by age."""
        return segments_in(self.base_path)

    def own(self) -> list[Path]:
        """Return the segments of this process that exist, in the order in which they were written."""
        files = [file for _, file in self._retired] + list(self._files.values())
        return [Path(file.path) for file in files]

    def is_own(self, path: Path) -> bool:
        """Return whether the segment at *path* was written by this storage in this process, also before `close`."""
        return path.name.rpartition("-")[0] in self._stems

    def retire(self) -> None:
        """Begin a new segment with the next record, if the current one is large."""
        key = ("observation", self._segment)
        file = self._files.get(key)
        if file is not None and os.fstat(file.fd).st_size > SEGMENT_BYTES:
            self._number += 1
            self._segment = f"{self._stem}-{self._number:06}"
            if (popped := self._files.pop(key, None)) is not None:
                self._retired.append((seconds(), popped))

    def is_idle(self, path: Path) -> bool:
        """Return whether no thread can still write to the segment at *path*."""
        return any(file.path == str(path) and seconds() - since > QUIET_S for since, file in self._retired)

    def forget(self, path: Path) -> None:
        """Unlock the segment at *path*, which was removed."""
        self._retired = [(since, file) for since, file in self._retired if file.path != str(path)]

    def close(self) -> None:
        """Close and unlock all segments; a later record begins a new one."""
        try:
            super().close()
        finally:
            self._retired = []
            self._begin()

    def _opened(self, key: tuple[str, str]) -> RecordFile:
        for _ in range(_ATTEMPTS):
            file = super()._opened(key)
            # A thread that has read the name of a segment before it was retired still writes to it: it is locked here.
            is_retired = any(retired.path == file.path for _, retired in self._retired)
            if is_retired or (lock(file.fd) is not False and file.is_in_place()):
                break
            time.sleep(0.001)
        return file

    def _forked(self) -> None:
        # Close explicitly: the lock lasts until the last copy of the descriptor is closed, and a frame of another
        # thread of the parent may refer to it for ever.
        for file in [file for _, file in self._retired] + list(self._files.values()):
            file.close()
        super()._forked()
        self._retired, self._stems = [], set()
        self._begin()
