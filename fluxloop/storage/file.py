"""
Records as lines of JSON in plain files, one `os.write` per record.

A record is in the file before `FileStorage.write` returns, so it survives whatever happens to the process. There are
no threads and no buffers: a fork writes nothing twice, exiting adds nothing, and since each line is one write on an
``O_APPEND`` descriptor, writers never tear each other's lines.
"""

from __future__ import annotations

import errno
import os
import re
import threading
from itertools import chain
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from ..errors import WriteError
from ..forks import after_fork
from .decoding import decoded
from .descriptors import open_regular
from .event_loops import unguarded
from .journal import Journal
from .record_file import NO_RIGHT, NOT_A_FILE, RecordFile, explained, exposure

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from .contract import Record

CHECK_REMOVED_S = 0.1
"""For how long records may go to a file that was removed, until they are written again to a new one; the end of a
trace always checks. Checking each record would cost a second system call."""

MOST_UNCHECKED = 100
"""How many records may; so many are held in memory."""

CHECK_RENAMED_S = 0.5
"""For how long records may go to a file that was renamed, where they can be read all that time."""

MOST_OPEN = 8
"""Files held open: two a day, and a trace belongs to the day it began, so a few days can be in use at once."""

LITTLE_SPACE_BYTES = 100_000_000
"""Free space below which `FileStorage.check` reports a problem: a busy agent writes that much within the hour."""


class FileStorage:
    """
    Store records in ``observations_YYYYMMDD.jsonl`` and ``traces_YYYYMMDD.jsonl`` under a folder.

    The folder and the files are made by the first record, not before. Any number of threads, processes and
    forks may write to the same folder.

    Args:
        base_path: The folder; a relative one is taken from the working directory as it is now.
        dated: False for one ``observations.jsonl`` and one ``traces.jsonl`` without a date.
        mode: Permissions of the files it makes, narrowed by the umask. Traces hold what users typed and what tools
            returned, so by default only the owner may read them.
        journal: Whether to keep a journal of open observations. Without it, what was open when a process died is
            missing, and each observation costs one system call less.
    """

    def __init__(
        self,
        base_path: str | os.PathLike[str] = "./traces",
        *,
        dated: bool = True,
        mode: int = 0o600,
        journal: bool = True,
    ) -> None:
        self.base_path = Path(base_path).expanduser().absolute()
        self.journal = Journal(self.base_path) if journal else None
        self._dated = dated
        self._mode = mode
        self._files: dict[tuple[str, str], RecordFile] = {}
        _storages.add(self)

    def write(self, records: Sequence[Record]) -> None:
        """
        Append *records* to their files, each with one system call.

        Raises:
            WriteError: If records could not be written, after the others were; the text names a remedy.
        """
        now = monotonic()
        failure: WriteError | None = None
        for kind, day, line in records:
            key = (kind, day) if self._dated else (kind, "")
            file = self._files.get(key)
            try:
                if file is None or file.check_at <= now:
                    unguarded(self._check, key, line)
                else:
                    if (written := os.write(file.fd, line)) != len(line):
                        file.finish(line, written)
                    file.unchecked.append(line)
                    if len(file.unchecked) > MOST_UNCHECKED or file.is_removed:  # the latter by another thread
                        unguarded(self._check, key, file=file)
                if kind == "trace":
                    unguarded(self._check, key)
                    unguarded(self._check, ("observation", key[1]))
            except OSError as exc:
                failure = self._failed(exc, key, line, failure)
        if failure is not None:
            raise failure

    def flush(self, timeout: float | None = None) -> bool:
        """
        Write again what went to a file that was removed meanwhile; nothing else can be outstanding.

        Raises:
            WriteError: As `write`.
        """
        for key in list(self._files):
            unguarded(self._check, key)
        return True

    def close(self) -> None:
        """Close the files; a later `write` opens them again. Raises as `flush`, afterwards."""
        try:
            self.flush()
        finally:
            self._files = {}
            if self.journal is not None:
                unguarded(self.journal.close)

    def read(self) -> Iterator[dict[str, Any]]:
        """Yield every record in the folder, day by day, observations first; pieces of records are left out."""
        for path in self.paths():
            if path.is_file():
                with open(path, "rb", opener=open_regular) as file:
                    yield from chain.from_iterable(map(decoded, file))

    def path(self, kind: str, day: str) -> Path:
        """Return the file of the records of this *kind* and *day* (``YYYYMMDD``)."""
        return self.base_path / (f"{kind}s_{day}.jsonl" if self._dated else f"{kind}s.jsonl")

    def paths(self) -> list[Path]:
        """Return what has the name of a file of records, day by day, observations first."""
        name = re.compile(r"(observation|trace)s_(\d{8})\.jsonl" if self._dated else r"(observation|trace)s()\.jsonl")
        found = [
            (match[2], match[1], path)
            for path in self.base_path.glob("*.jsonl")
            if (match := name.fullmatch(path.name))
        ]
        return [path for _, _, path in sorted(found)]

    def check(self) -> list[str]:
        """Return what prevents records from being stored here, or exposes them, as sentences. Changes nothing."""
        import shutil  # these two weigh more than everything else here, and only `fluxloop doctor` needs them
        import tempfile

        try:
            folder = next(p for p in (self.base_path, *self.base_path.parents) if p.exists())
            with tempfile.TemporaryFile(dir=folder):
                free_bytes = shutil.disk_usage(folder).free
        except OSError as exc:
            return [str(explained(exc, f"write to {self.base_path}"))]
        problems = [problem for path in self.paths() if (problem := self._problem_with(path))]
        if free_bytes < LITTLE_SPACE_BYTES:
            problems.append(f"{folder} has only {free_bytes // 1_000_000} MB free. Free some space on that disk.")
        if self.journal is not None and self.journal.trouble:
            problems.append(self.journal.trouble)
        return problems

    def _problem_with(self, path: Path) -> str | None:
        if not path.is_file():
            return f"{path} is not a regular file. {NOT_A_FILE}"
        if not os.access(path, os.W_OK):
            return f"{path} may not be written to. {NO_RIGHT}"
        return exposure(path, path.stat(), self._mode)

    def _failed(self, exc: OSError, key: tuple[str, str], line: bytes, earlier: WriteError | None) -> WriteError | None:
        """Return the error to raise after *line* could not be written, with the losses of an *earlier* one."""
        file = self._files.get(key)
        if file is not None:
            file.check_at = 0.0  # the next record finds out whether the file is the cause
            if exc.errno == errno.EBADF:  # the program has closed it: this line was not written, those before were
                file.unchecked.clear()
                try:
                    unguarded(self._check, key, line)
                    return earlier
                except OSError as again:
                    exc = again
        error = exc if isinstance(exc, WriteError) else explained(exc, f"write a record to {self.path(*key)}")
        if earlier is not None:
            earlier.lost += error.lost
        return earlier or error

    def _check(self, key: tuple[str, str], line: bytes = b"", file: RecordFile | None = None) -> None:
        """Check that *file* is in its place, or else open it again; then write *line*, and what the removal took."""
        lines = [line] if line else []
        with _checking:
            current = self._files.get(key)
            file = file or current
            if file is None:
                if lines:
                    self._opened(key).write(lines)
                return
            checked = len(file.unchecked)
            if file.stat() is None:
                file.is_removed = True  # first: lines that other threads still add are found by them
                missing = file.unchecked[:]
                del file.unchecked[: len(missing)]
                replacement = current if current is not None and current is not file else self._opened(key)
                replacement.write(missing + lines)
                return
            del file.unchecked[:checked]
            now = monotonic()
            if file.check_path_at <= now:
                file.check_path_at = now + CHECK_RENAMED_S
                if not file.is_in_place():
                    file = self._opened(key)
                elif self.journal is not None:
                    self.journal.verify()
            file.check_at = now + CHECK_REMOVED_S
            file.write(lines)

    def _opened(self, key: tuple[str, str]) -> RecordFile:
        """Open the file; if it was open, it is not in its place, and the others have to be checked as well."""
        if self._files.pop(key, None) is not None:
            for file in self._files.values():
                file.check_at = file.check_path_at = 0.0
        file = self._files[key] = RecordFile.at(self.path(*key), self._mode)
        now = monotonic()
        file.check_at, file.check_path_at = now + CHECK_REMOVED_S, now + CHECK_RENAMED_S
        while len(self._files) > MOST_OPEN:
            self._files.pop(next(iter(self._files)))
        if self.journal is not None:
            self.journal.verify()
        return file

    def _forked(self) -> None:
        self._files = {}  # the child opens its own: the parent may be about to close all it has


_storages: WeakSet[FileStorage] = WeakSet()
_checking = threading.RLock()
"""Held while a file is opened or checked. Re-entrant: a signal handler or a finalizer may record, too."""


def _forked() -> None:
    global _checking
    _checking = threading.RLock()  # another thread of the parent may have held it
    for storage in list(_storages):
        storage._forked()


after_fork(_forked)
