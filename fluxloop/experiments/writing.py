"""
Write the folder of an experiment. Each run is on disk when it has ended.
"""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson

from ..errors import ConfigError, ReadError, WriteError
from ..storage.record_file import write_error
from .folder import ARTIFACTS, ERRORS, FULL_ROWS, LINK_PREFIX, ROWS, SUMMARY, ExperimentFolder, decoded
from .line_file import LineFile, private
from .records import ExperimentClient
from .rows import Row


class FolderWriter:
    """
    Writes one experiment.

    Args:
        path: The folder, which exists.
        client: Masks secrets in what is written.
    """

    def __init__(self, path: Path, client: ExperimentClient) -> None:
        self.path, self._client = path, client
        self._rows = LineFile(path / ROWS)

    def write(self, row: Row) -> None:
        """Append the row of a finished run; raises as `LineFile.write`."""
        self._rows.write(self._client.encoded(row) + b"\n")

    def write_summary(self, summary: Mapping[str, Any]) -> None:
        """Replace summary.json; raises WriteError."""
        masked = orjson.loads(self._client.encoded(dict(summary)))
        write_whole(self.path / SUMMARY, orjson.dumps(masked, option=orjson.OPT_INDENT_2) + b"\n")

    def write_full_rows(self) -> None:
        """
        Give the rows their second name, traces.jsonl; raises WriteError.

        The published packages write a longer and a shorter version of each row. Here both are one file.
        """
        path = self.path / FULL_ROWS
        try:
            path.unlink(missing_ok=True)
            os.link(self.path / ROWS, path)
        except OSError:  # a file system without links
            shutil.copyfile(self.path / ROWS, path)

    def write_errors(self, count: int) -> None:
        """Write errors.json from the rows of the *count* runs that did not succeed; remove it if there are none."""
        path = self.path / ERRORS
        if not count:
            path.unlink(missing_ok=True)
            return
        names = ("run", "iteration", "persona", "input_id", "input", "status", "error", "trace_id")
        failed = [
            {name: row.data.get(name) for name in names}
            for row in ExperimentFolder(self.path, {}).rows()
            if not row.succeeded
        ]
        write_whole(path, orjson.dumps(failed, option=orjson.OPT_INDENT_2) + b"\n")

    def close(self) -> None:
        """Close the files."""
        self._rows.close()


def write_whole(path: Path, content: bytes) -> None:
    """
    Write a file so that readers see the old or the new content, never a part.

    Raises:
        WriteError: If that is not possible.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with open(temporary, "wb", opener=private) as file:
            file.write(content)
        os.replace(temporary, path)
    except OSError as exc:
        temporary.unlink(missing_ok=True)
        raise write_error(exc, f"write {path}", choice="--output") from exc


def create_folder(parent: Path, name: str, now: datetime) -> Path:
    """
    Create and return the folder ``<name>_<time>`` in *parent*, with a number if there is one already.

    Raises:
        WriteError: If it cannot be created.
    """
    stem = f"{safe_name(name)}_{now:%Y%m%d_%H%M%S}"
    try:
        parent.mkdir(parents=True, exist_ok=True)
        for number in range(1, 10_000):
            path = parent / (stem if number == 1 else f"{stem}_{number}")
            try:
                path.mkdir()
            except FileExistsError:
                continue
            (path / ARTIFACTS).mkdir()
            return path
    except OSError as exc:
        raise write_error(exc, f"create a folder in {parent}", choice="--output") from exc
    raise WriteError(f"{parent} has too many folders named {stem}")


def safe_name(name: str) -> str:
    """Return *name* as a part of a file name."""
    text = "".join(letter if letter.isalnum() or letter in "-_." else "_" for letter in name).strip("._")
    return text[:80] or "experiment"


def point_to(folder: Path, name: str) -> None:
    """Make ``latest_<name>`` beside *folder* a link to it, and the only link of that kind; where links are allowed."""
    link = folder.parent / f"{LINK_PREFIX}{safe_name(name)}"
    temporary = folder.parent / f".{link.name}.{os.getpid()}"
    try:
        temporary.unlink(missing_ok=True)
        temporary.symlink_to(folder.name, target_is_directory=True)
        if link.is_symlink() or not link.exists():
            os.replace(temporary, link)
        else:  # the user's own folder of that name
            temporary.unlink()
        for other in folder.parent.glob(f"{LINK_PREFIX}*"):
            if other.is_symlink() and other != link:
                other.unlink(missing_ok=True)
    except OSError:  # a file system without links; commands then find the newest folder themselves
        temporary.unlink(missing_ok=True)


def finished_in(folder: ExperimentFolder, fingerprint: str) -> set[int]:
    """
    Return the numbers of the finished runs of an interrupted experiment. Nothing is written.

    Raises:
        ConfigError: If the experiment runs, or has other inputs now.
        ReadError: If it is of the published packages, whose runs have no numbers.
    """
    if folder.state == "running":
        raise ConfigError(f"{folder.path} is still running (process {folder.summary['process'].get('pid')})")
    recorded = (folder.summary.get("plan") or {}).get("fingerprint")
    if recorded is None:
        raise ReadError(f"{folder.path} has no plan in {SUMMARY}, so it cannot be resumed")
    if recorded != fingerprint:
        raise ConfigError(
            f"the inputs or iterations changed since {folder.path.name} was started, so it cannot be resumed. "
            "Restore them, or start a new experiment"
        )
    finished: set[int] = set()
    path = folder.path / ROWS
    if path.is_file():
        for _ in _kept(path, finished):
            pass
    return finished


def reopen(folder: ExperimentFolder) -> set[int]:
    """
    Remove the rows of cancelled runs, since these runs are executed again, and return the numbers of the others.

    The folder must be locked; see `FolderLock`.
    """
    finished: set[int] = set()
    path = folder.path / ROWS
    if path.is_file():
        write_whole(path, b"".join(_kept(path, finished)))
    return finished


class FolderLock:
    """
    Keeps other processes from writing the same experiment, until it is closed or the process ends.

    Raises:
        ConfigError: If another process writes it.
    """

    def __init__(self, folder: Path) -> None:
        self._fd: int | None = None
        try:
            import fcntl
        except ImportError:  # Windows
            return
        fd = os.open(folder, os.O_RDONLY)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            raise ConfigError(f"{folder} is written by another process. Wait until it has ended") from None
        except OSError:  # a file system without locks
            os.close(fd)
            return
        self._fd = fd

    def close(self) -> None:
        """Let others write."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None


def _kept(path: Path, numbers: set[int]) -> Iterator[bytes]:
    """Yield the lines of finished runs, one per run, and add their numbers to *numbers*."""
    with open(path, "rb") as lines:
        for line in lines:
            data = decoded(line)
            number = data.get("run") if data else None
            if data and isinstance(number, int) and number not in numbers and data.get("status") != "cancelled":
                numbers.add(number)
                yield line


def this_process() -> dict[str, Any]:
    """Return what identifies this process in summary.json."""
    return {"pid": os.getpid(), "host": platform.node()}


def remove_folder(folder: Path) -> None:
    """Remove a folder in which nothing was recorded."""
    shutil.rmtree(folder, ignore_errors=True)
    for link in folder.parent.glob(f"{LINK_PREFIX}*"):
        if link.is_symlink() and not link.exists():
            link.unlink(missing_ok=True)
