"""
Find the record files of a path, and open them without ever blocking.

A `Source` is a folder of records or one file of it. Only regular files are opened: a FIFO, a socket, a device or a
folder that has the name of a record file is left out. Lines are read in bounded pieces, and holes of sparse files are
skipped.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

from ..errors import ReadError
from ..storage.decoding import Json, start_text, trace_id_of
from ..storage.inflight import read_journals
from ..storage.record_input import RecordInput

LONGEST_LINE_BYTES = 64 << 20
"""A longer line is not decoded. It bounds the memory that one line can take."""

OpenObservations = list[tuple[bool, Json]]
"""The open observations of a trace: whether the process is alive, and the beginning of the record."""


@dataclass(frozen=True, slots=True)
class Source:
    """
    A folder of records, one day of it, or a single file with a name of its own.

    Each method lists the folder again, since a running program adds files to it.
    """

    path: Path
    """As given."""
    folder: Path | None
    """The folder with the files and journals; None for a file with a name of its own."""
    day: str | None = None
    """The only day to read, ``""`` for undated files; None for all."""

    @classmethod
    def at(cls, path: str | Path) -> Source:
        """
        Return the source at *path*.

        Raises:
            ReadError: If *path* does not exist, cannot be opened, or is neither a folder nor a regular file.
        """
        path = Path(path)
        try:
            if path.is_dir():
                return cls(path, _records_folder(path))
            file = _opened(path)
        except OSError as error:
            if (url := url_of(path)) is not None:
                raise ReadError(f"{url}: {_EXPECTED_FILES}") from error
            raise _unreadable(path, error) from error
        if file is None:
            raise ReadError(f"{path}: {_irregularity(path)}. {_EXPECTED}")
        file.close()
        name = _NAME.fullmatch(path.name)
        return cls(path, path.parent, name[2] or "") if name else cls(path, None, "")

    def whole(self) -> Source:
        """Return the folder with all its days, where this is one day of it."""
        return self if self.folder is None else replace(self, day=None)

    def __str__(self) -> str:
        return str(self.path)

    def days(self) -> dict[str, list[Path]]:
        """Return the record files of each day; undated files under ``""``."""
        days: dict[str, list[Path]] = {}
        for day, path in self._named():
            if _irregularity(path) is None:
                days.setdefault(day, []).append(path)
        return days

    def irregular(self) -> list[tuple[Path, str]]:
        """Return each path that has the name of a record file and is not a regular file, and what it is."""
        return [(path, reason) for _, path in self._named() if (reason := _irregularity(path))]

    def open_observations(self) -> dict[str, OpenObservations]:
        """Return what the journals of the folder list as open, by trace id."""
        found: dict[str, OpenObservations] = {}
        for is_alive, _, records in read_journals(self.folder) if self.folder else ():
            for record in records:
                found.setdefault(trace_id_of(record), []).append((is_alive, record))
        return found

    def _named(self) -> Iterator[tuple[str, Path]]:
        """The day and the path of everything with the name of a record file."""
        if self.folder is None:
            yield "", self.path
            return
        for path in sorted(self.folder.glob("*.jsonl")):  # empty if the folder has been removed
            name = _NAME.fullmatch(path.name)
            if name and self.day in (None, name[2] or ""):
                yield name[2] or "", path


_URL = re.compile(r"(https?):/+(.+)", re.IGNORECASE)


def url_of(path: str | Path | None) -> str | None:
    """Return the URL of a collector; None if *path* is one of files. `Path` makes one slash of two."""
    found = None if path is None else _URL.fullmatch(str(path))
    return None if found is None else f"{found[1].lower()}://{found[2].rstrip('/')}"


def start_of(observations: OpenObservations) -> str:
    """Return the start of the first of *observations*, as written."""
    return min(start_text(record) for _, record in observations)


def open_records(path: Path) -> RecordInput | None:
    """
    Open a record file; None if it has been removed or replaced since the folder was listed.

    Raises:
        ReadError: If it cannot be opened.
    """
    try:
        return _opened(path)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _unreadable(path, error) from error


def lines_of(file: BinaryIO, offset: int = 0) -> Iterator[tuple[int, bytes]]:
    """
    Yield each line from *offset* on as it is written, with its own offset.

    Of a line longer than `LONGEST_LINE_BYTES` only the first bytes are yielded, without a line end.
    """
    file.seek(offset)
    while line := file.readline(LONGEST_LINE_BYTES):
        if len(line) == LONGEST_LINE_BYTES and not line.endswith(b"\n"):
            yield offset, line[:_PREFIX_BYTES]
            offset = _end_of_long_line(file, offset + len(line))
        else:
            yield offset, line
            offset += len(line)


def _end_of_long_line(file: BinaryIO, offset: int) -> int:
    """Move *file* to the next line, or to the first data behind a hole, and return that offset."""
    while True:
        data = _next_data(file.fileno(), offset)
        file.seek(data)
        if data != offset:
            return data
        piece = file.readline(LONGEST_LINE_BYTES)
        offset += len(piece)
        if len(piece) < LONGEST_LINE_BYTES or piece.endswith(b"\n"):
            return offset


def _next_data(fd: int, offset: int) -> int:
    """Return the offset of the first data from *offset* on: *offset* itself, or the end of the hole there."""
    before = os.lseek(fd, 0, os.SEEK_CUR)
    try:
        return os.lseek(fd, offset, os.SEEK_DATA)
    except AttributeError:  # Windows
        return offset
    except OSError as error:  # nothing but a hole up to the end, or a file system that does not report holes
        return max(offset, os.fstat(fd).st_size) if error.errno == errno.ENXIO else offset
    finally:
        os.lseek(fd, before, os.SEEK_SET)  # the file object expects the descriptor where it left it


def _opened(path: Path) -> RecordInput | None:
    """Open a regular file; None for anything else, which is not opened, since opening a device may have effects."""
    return None if _irregularity(path) else RecordInput(path)


def _irregularity(path: Path) -> str | None:
    """Return why *path* is not opened; None for a regular file, and where that is not known."""
    try:
        mode = path.stat().st_mode
    except OSError:
        return None  # opening it reports the error
    kinds = (name for is_kind, name in _KINDS.items() if is_kind(mode))
    return None if stat.S_ISREG(mode) else f"{next(kinds, 'not a file')}, not a regular file"


_KINDS = {
    stat.S_ISDIR: "a folder",
    stat.S_ISFIFO: "a FIFO",
    stat.S_ISSOCK: "a socket",
    stat.S_ISCHR: "a device",
    stat.S_ISBLK: "a device",
}


def _unreadable(path: Path, error: OSError) -> ReadError:
    reason = _REASONS.get(type(error), error.strerror or str(error))
    return ReadError(f"{path}: {reason}. {_EXPECTED}")


def _records_folder(path: Path) -> Path:
    """Return the ``artifacts`` folder of an experiment, which has the records; *path* itself otherwise."""
    inner = path / "artifacts"
    return inner if inner.is_dir() and any(_NAME.fullmatch(entry.name) for entry in inner.iterdir()) else path


_NAME = re.compile(r"(observations|traces)(?:_(\d{8}))?\.jsonl")

_PREFIX_BYTES = 1024

_REASONS = {
    FileNotFoundError: "no such file or folder",
    PermissionError: "permission to read it is denied",
}

_EXPECTED_FILES = (
    "this is the address of a collector. Expected a folder of records, or a file of it. "
    "Of a collector, fluxloop list, view and export print the traces"
)

_EXPECTED = (
    "Expected a folder with traces_YYYYMMDD.jsonl and observations_YYYYMMDD.jsonl, or one such file. "
    'A traced program writes them to ./traces, or to the folder of fluxloop.configure(base_path="...")'
)
