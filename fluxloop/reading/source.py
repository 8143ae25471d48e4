"""
Find the files a path stands for: by day, and the journals of what is still open beside them.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from ..errors import ReadError
from ..storage.decoding import Json
from ..storage.descriptors import open_regular
from ..storage.inflight import read_journals
from .assembly import start_text, trace_id_of

Heads = list[tuple[bool, Json]]
"""What a trace has open: the beginning of each observation, and whether its process lives."""


@dataclass(frozen=True, slots=True)
class Source:
    """
    A folder of records, or one day of it, or a file of another name.

    The folder is listed anew at each call, as a running program adds to it.
    """

    path: Path
    """As given."""
    folder: Path | None
    """Where files and journals are looked for; None for a file of another name."""
    day: str | None = None
    """The only day to read, ``""`` for undated files; None for all."""

    @classmethod
    def at(cls, path: str | Path) -> Source:
        """
        Return what *path* stands for.

        Raises:
            ReadError: If nothing is there, or it cannot be opened.
        """
        path = Path(path)
        try:
            if path.is_dir():
                return cls(path, _records_folder(path))
            os.close(open_regular(path, os.O_RDONLY))
        except OSError as error:
            raise _unreadable(path, error) from error
        name = _NAME.fullmatch(path.name)
        return cls(path, path.parent, name[2] or "") if name else cls(path, None, "")

    def __str__(self) -> str:
        return str(self.path)

    def days(self) -> dict[str, list[Path]]:
        """Return the files of each day; of undated ones under ``""``."""
        if self.folder is None:
            return {"": [self.path]}
        days: dict[str, list[Path]] = {}
        for path in sorted(self.folder.glob("*.jsonl")):  # of a folder that was removed it yields nothing
            name = _NAME.fullmatch(path.name)
            if name and self.day in (None, name[2] or "") and path.is_file():  # not a FIFO, a socket or a folder
                days.setdefault(name[2] or "", []).append(path)
        return days

    def heads(self) -> dict[str, Heads]:
        """Return what is open now, by trace id."""
        heads: dict[str, Heads] = {}
        for alive, _, records in read_journals(self.folder) if self.folder else ():
            for record in records:
                heads.setdefault(trace_id_of(record), []).append((alive, record))
        return heads


def start_of(heads: Heads) -> str:
    """Return when the first of *heads* began, as written."""
    return min(start_text(head) for _, head in heads)


def open_records(path: Path) -> BinaryIO | None:
    """
    Open a file of records; None if it has gone since the folder was listed.

    Raises:
        ReadError: If it cannot be opened.
    """
    try:
        return open(path, "rb", opener=open_regular)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: OSError) -> ReadError:
    reason = _REASON.get(type(error), error.strerror or str(error))
    return ReadError(f"{path}: {reason}. {_EXPECTED}")


def _records_folder(path: Path) -> Path:
    """An experiment keeps its records in ``artifacts``; what lies beside that folder are extracts."""
    inner = path / "artifacts"
    return inner if inner.is_dir() and any(map(_is_records, inner.iterdir())) else path


def _is_records(path: Path) -> bool:
    return _NAME.fullmatch(path.name) is not None


_NAME = re.compile(r"(observations|traces)(?:_(\d{8}))?\.jsonl")

_REASON = {
    FileNotFoundError: "there is no such file or folder",
    PermissionError: "reading it is not allowed",
}

_EXPECTED = (
    "Expected a folder with traces_YYYYMMDD.jsonl and observations_YYYYMMDD.jsonl, or one such file: "
    'a traced program writes them to ./traces, or to fluxloop.configure(base_path="…")'
)
