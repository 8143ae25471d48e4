"""
Store records in plain files, as lines of JSON, with one `os.write` per record.

A record is in the file when `FileStorage.write` returns, so it survives the end of the process. There are no threads
and no buffers, so a fork writes nothing twice and the exit writes nothing. Each line is one write to an ``O_APPEND``
descriptor, so lines of different writers do not mix.
"""

from __future__ import annotations

import errno
import os
import re
import threading
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from ..errors import WriteError
from ..forks import after_fork
from .decoding import has_trace_id
from .event_loops import unguarded
from .histories import LARGE_BYTES
from .journal import Journal
from .record_file import NO_PERMISSION, NOT_A_FILE, RecordFile, exposure, write_error
from .record_input import RecordInput

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from .contract import Record

CHECK_REMOVED_S = 0.1
"""The interval of checks whether a file was removed, besides those at the end of each trace. Records since the last
check are written again to a new file. A check per record would need a second system call per record."""

MAX_UNCHECKED = 100
"""The number of records after which a file is checked; they are kept in memory until then."""

CHECK_RENAMED_S = 0.5
"""The interval of checks whether a file was renamed. Records in a renamed file are not lost."""

MAX_OPEN = 8
"""The limit of open files. Each day has two, and traces of several days can be open at the same time."""

LOW_SPACE_BYTES = 100_000_000
"""The free space below which `FileStorage.check` reports a problem: a busy agent writes that much in an hour."""


class FileStorage:
    """
    Stores records in ``observations_YYYYMMDD.jsonl`` and ``traces_YYYYMMDD.jsonl`` in a folder, and scores in
    ``scores_YYYYMMDD.jsonl``.

    The first record creates the folder and the files. Any number of threads, processes and forks can write to the same
    folder.

    Args:
        base_path: The folder; a relative path is resolved immediately.
        dated: False for one ``observations.jsonl`` and one ``traces.jsonl`` without a date.
        mode: The permissions of new files, restricted by the umask. By default only the owner can read them, because
            traces contain the inputs of users and the results of tools.
        journal: Whether to keep a journal of open observations. Without it, each observation needs one system call
            less, but observations that are open when a process dies are lost.
        compact_histories: Whether a large record refers to an earlier record of its file for messages that are in it
            already. False writes every record as it is.
    """

    def __init__(
        self,
        base_path: str | os.PathLike[str] = "./traces",
        *,
        dated: bool = True,
        mode: int = 0o600,
        journal: bool = True,
        compact_histories: bool = True,
    ) -> None:
        self.base_path = Path(base_path).expanduser().absolute()
        self.journal = Journal(self.base_path) if journal else None
        self._dated = dated
        self._mode = mode
        self._compact_histories = compact_histories
        self._files: dict[tuple[str, str], RecordFile] = {}
        _storages.add(self)

    def write(self, records: Sequence[Record]) -> None:
        """
        Append *records* to their files, each with one system call.

        Raises:
            WriteError: If some records could not be written; the others were. The message suggests a solution.
        """
        failure: WriteError | None = None
        for kind, day, line in records:
            try:
                self.append_record(kind, day, line)
                if kind == "trace":
                    self._confirm_trace(day, line)
            except WriteError as exc:
                if failure is not None:
                    failure.lost += exc.lost
                failure = failure or exc
        if failure is not None:
            raise failure

    def append_record(self, kind: str, day: str, line: bytes) -> None:
        """Do as `write` for one record that is not of a trace, without the cost of a `Record`."""
        key = (kind, day) if self._dated else (kind, "")
        file = self._files.get(key)
        try:
            if file is None or file.check_at <= monotonic():
                unguarded(self._check, key, line)
                return
            if len(line) >= LARGE_BYTES:
                file.append(line)
            elif (written := os.write(file.fd, line)) != len(line):
                file.finish(line, written)
            unchecked = file.unchecked
            unchecked.append(line)
            if len(unchecked) > MAX_UNCHECKED or file.is_removed:  # the latter by another thread
                unguarded(self._check, key, file=file)
        except OSError as exc:
            self._handle_error(exc, key, line)

    def flush(self, timeout: float | None = None) -> bool:
        """
        Write the last records again if their file was removed. Nothing else is ever pending.

        Raises:
            WriteError: As for `write`.
        """
        for key in list(self._files):
            unguarded(self._check, key)
        return True

    def close(self) -> None:
        """Flush and close the files; a later `write` opens them again. Raises as `flush`, after closing."""
        try:
            self.flush()
        finally:
            self._files = {}
            if self.journal is not None:
                unguarded(self.journal.close)

    def read(self) -> Iterator[dict[str, Any]]:
        """Yield all records in the folder, by day, observations first. Incomplete records are skipped."""
        for path in self.paths():
            if path.is_file():
                with RecordInput(path) as file:
                    for line in file:
                        for found, _ in file.records(line, has_trace_id):
                            if not isinstance(found.record, str):
                                yield found.record

    def path(self, kind: str, day: str) -> Path:
        """Return the path of the file for records of this *kind* and *day* (``YYYYMMDD``)."""
        return self.base_path / (f"{kind}s_{day}.jsonl" if self._dated else f"{kind}s.jsonl")

    def paths(self) -> list[Path]:
        """Return all paths that have the name of a record file, by day, observations first."""
        name = re.compile(
            r"(observation|score|trace)s_(\d{8})\.jsonl" if self._dated else r"(observation|score|trace)s()\.jsonl"
        )
        found = [
            (match[2], match[1], path)
            for path in self.base_path.glob("*.jsonl")
            if (match := name.fullmatch(path.name))
        ]
        return [path for _, _, path in sorted(found)]

    def check(self) -> list[str]:
        """Return a message for each problem that prevents storing records here or exposes them. Changes nothing."""
        import shutil  # both are slow to import, and only `fluxloop doctor` needs them
        import tempfile

        try:
            folder = next(p for p in (self.base_path, *self.base_path.parents) if p.exists())
            with tempfile.TemporaryFile(dir=folder):
                free_bytes = shutil.disk_usage(folder).free
        except OSError as exc:
            return [str(write_error(exc, f"write to {self.base_path}"))]
        problems = [problem for path in self.paths() if (problem := self._problem_with(path))]
        if free_bytes < LOW_SPACE_BYTES:
            problems.append(f"{folder} has only {free_bytes // 1_000_000} MB free. Free some space on that disk.")
        if self.journal is not None and self.journal.problem:
            problems.append(self.journal.problem)
        return problems

    def _problem_with(self, path: Path) -> str | None:
        if not path.is_file():
            return f"{path} is not a regular file. {NOT_A_FILE}"
        if not os.access(path, os.W_OK):
            return f"{path} may not be written to. {NO_PERMISSION}"
        return exposure(path, path.stat(), self._mode)

    def _handle_error(self, exc: OSError, key: tuple[str, str], line: bytes) -> None:
        """Raise a `WriteError` after writing *line* failed, unless a second attempt succeeds."""
        file = self._files.get(key)
        if file is not None:
            file.check_at = 0.0  # the next record checks the file
            if exc.errno == errno.EBADF:  # the program closed the descriptor; all earlier lines were written
                file.unchecked.clear()
                try:
                    unguarded(self._check, key, line)
                    return
                except OSError as again:
                    exc = again
        raise exc if isinstance(exc, WriteError) else write_error(exc, f"write a record to {self.path(*key)}")

    def _confirm_trace(self, day: str, line: bytes) -> None:
        """Check that the files with the records of a trace were not removed; *line* is that of the trace."""
        day = day if self._dated else ""
        try:
            self._confirm(("trace", day))
            self._confirm(("observation", day))
        except OSError as exc:
            self._handle_error(exc, ("trace", day), line)

    def _confirm(self, key: tuple[str, str]) -> None:
        """Do as `_check`, but faster if the file was not removed."""
        file = self._files.get(key)
        if file is not None:
            with _files_lock:
                checked = len(file.unchecked)
                if is_in_place := file.stat() is not None:
                    del file.unchecked[:checked]
            if not is_in_place:
                unguarded(self._check, key)

    def _check(self, key: tuple[str, str], line: bytes = b"", file: RecordFile | None = None) -> None:
        """Check *file*, open it again if it was removed or renamed, then write *line* and the lines that were lost."""
        lines = [line] if line else []
        with _files_lock:
            current = self._files.get(key)
            file = file or current
            if file is None:
                if lines:
                    self._open_again(key).write(lines)
                return
            checked = len(file.unchecked)
            if file.stat() is None:
                file.is_removed = True  # set first, so that other threads check after adding a line
                missing = file.unchecked[:]
                del file.unchecked[: len(missing)]
                replacement = current if current is not None and current is not file else self._open_again(key)
                replacement.write(missing + lines)
                return
            del file.unchecked[:checked]
            now = monotonic()
            if file.check_path_at <= now:
                file.check_path_at = now + CHECK_RENAMED_S
                if not file.is_in_place():
                    file = self._open_again(key)
                elif self.journal is not None:
                    self.journal.verify()
            file.check_at = now + CHECK_REMOVED_S
            file.write(lines)

    def _open_again(self, key: tuple[str, str]) -> RecordFile:
        """Open the file. If it was open, it was removed or renamed: the other files have to be checked too."""
        if self._files.pop(key, None) is not None:
            for file in self._files.values():
                file.check_at = file.check_path_at = 0.0
        file = self._files[key] = self._opened(key)
        for (kind, _), other in list(self._files.items()):
            if kind == key[0] and other is not file and other.histories is not None:
                other.histories.forget()  # of another day: few records follow, which need not be in memory for ever
        now = monotonic()
        file.check_at, file.check_path_at = now + CHECK_REMOVED_S, now + CHECK_RENAMED_S
        while len(self._files) > MAX_OPEN:
            self._files.pop(next(iter(self._files)))
        if self.journal is not None:
            self.journal.verify()
        return file

    def _opened(self, key: tuple[str, str]) -> RecordFile:
        return RecordFile.at(self.path(*key), self._mode, compact=self._compact_histories)

    def _forked(self) -> None:
        self._files = {}  # the child opens its own descriptors


_storages: WeakSet[FileStorage] = WeakSet()
_files_lock = threading.RLock()
"""Held while a file is opened or checked. Re-entrant, because a signal handler or a finalizer may record."""


def _forked() -> None:
    global _files_lock
    _files_lock = threading.RLock()  # another thread of the parent may have held it
    for storage in list(_storages):
        storage._forked()


after_fork(_forked)
