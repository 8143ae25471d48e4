"""
Put the records of files into a store, and write the records of a store to a file.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from ..errors import ReadError
from ..reading.filters import CollectorFilter
from ..reading.pricing import project_pricing
from ..reading.source import Source, lines_of, open_records
from ..storage.decoding import NOT_A_RECORD, TORN, Found, decode
from .record_rows import Refusal, Row
from .records import RowMaker
from .stores.contract import Store, StoreError

AT_ONCE = 5_000
"""Lines between two commits."""

_PAGE = 200


@dataclass(slots=True)
class Imported:
    """What an import has done."""

    accepted: int = 0
    duplicates: int = 0
    rejected: int = 0


def import_records(path: Path, store: Store) -> Imported:
    """
    Put all records under *path*, a folder or a file, into *store*; importing twice changes nothing.

    Raises:
        ReadError: If *path* cannot be read.
        StoreError: If the store cannot be written; what was imported before stays.
    """
    pricing = project_pricing()
    maker = RowMaker(pricing.prices if pricing else None)
    imported = Imported()
    for file in _files(path):
        lines = _records(file)
        while some := list(islice(lines, AT_ONCE)):
            rows = [row for found, text in some for row in _rows(found, text, maker, imported)]
            written = store.write(rows)
            imported.accepted += written.accepted
            imported.duplicates += written.duplicates
    return imported


def _files(path: Path) -> list[Path]:
    return [file for _, files in sorted(Source.at(path).days().items()) for file in files]


def _records(path: Path) -> Iterator[tuple[Found, bytes]]:
    if (file := open_records(path)) is not None:
        with file:
            for _, line in lines_of(file):
                yield from file.records(line)


def _rows(found: Found, text: bytes, maker: RowMaker, imported: Imported) -> Iterator[Row]:
    if found.record == TORN:
        imported.rejected += 1
        return
    try:
        value = decode(text) if found.record == NOT_A_RECORD else found.record
        yield maker.row_of(value, text.rstrip(b"\r\n"))
    except (Refusal, ValueError):
        imported.rejected += 1


def export_records(store: Store, path: Path) -> int:
    """
    Write the records of all traces to the new file *path*, and return the number of traces.

    Raises:
        ReadError: If the file exists or cannot be written; what was written is removed.
    """
    count, cursor = 0, None
    try:
        # As private as the records; never over a file that exists.
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise ReadError(f"{path}: {error.strerror}. Next step: name a new file") from None
    try:
        with open(descriptor, "wb") as file:
            while True:
                page = store.traces(CollectorFilter(), limit=_PAGE, cursor=cursor, oldest_first=True)
                for row in page.rows:
                    file.writelines(line + b"\n" for line in store.records(row["trace_id"]))
                count += len(page.rows)
                if (cursor := page.next) is None:
                    break
            file.flush()
            os.fsync(file.fileno())
    except (OSError, StoreError) as error:
        path.unlink(missing_ok=True)
        raise ReadError(f"{path}: {error}") from error
    return count
