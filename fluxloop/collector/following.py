"""
Follow folders of records: an index beside them, with the places of their lines, that the query API reads.

Nothing is copied but what filters, totals and searches need. The index is brought up to date again and again; it may be
deleted at any time, and is made again.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from hashlib import sha256
from itertools import islice
from pathlib import Path

import orjson

from ..reading.catalog.new_records import FileState, landmarks_of, status_of
from ..reading.pricing import project_pricing
from ..reading.source import OpenObservations, Source, lines_of, open_records
from ..storage.record_input import RecordInput
from .record_rows import Observation, Refusal, Row
from .records import RowMaker
from .stores.contract import StoreError
from .stores.lines import from_files, place
from .stores.sqlite import SqliteStore

NAME = ".collector-index"
"""The beginning of the name of the index, in the first of the folders; hidden, as the index of `fluxloop list` is."""

LINES_AT_ONCE = 5_000
"""Lines between two commits."""

_FOLDERS = "folders"
_FILE = "file:"


class Following:
    """
    The records of *paths*, as a store that is only read.

    Raises:
        ReadError: If one of the paths does not exist.
        StoreError: If the index cannot be made.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self._sources = [Source.at(path.absolute()) for path in paths]
        first = self._sources[0]
        pricing = project_pricing()
        self._rows = RowMaker(pricing.prices if pricing else None)
        self._folders = orjson.dumps(sorted(str(source.path) for source in self._sources)).decode()
        self._index = (first.folder or first.path.parent) / self._name()
        self.store = self._opened()
        self.refresh()

    def _name(self) -> str:
        """Return the name of the index: one for each set of folders, as several collectors may follow the first."""
        if len(self._sources) == 1 and self._sources[0].folder is not None:
            return f"{NAME}.sqlite"
        return f"{NAME}-{sha256(self._folders.encode()).hexdigest()[:12]}.sqlite"

    def _opened(self) -> SqliteStore:
        """Open the index; one that is damaged, of another version or of other folders is made again."""
        with suppress(StoreError):
            store = SqliteStore(self._index, resolve=from_files)
            if store.run(lambda connection: _states(connection).get(_FOLDERS)) == self._folders:
                return store
            store.close()
        for suffix in ("", "-wal", "-shm"):
            self._index.with_name(self._index.name + suffix).unlink(missing_ok=True)
        store = SqliteStore(self._index, resolve=from_files)
        store.run(lambda connection: _set_state(connection, _FOLDERS, self._folders))
        return store

    def refresh(self) -> None:
        """Read what is new in the files and in the journals."""
        known = self._known()
        if not all(state.is_continued_by(Path(name)) for name, state in known.items()):
            # A file was removed, replaced or shortened: what it had is in the index, and no longer true.
            self.store.run(_forget_everything)
            self.store.run(lambda connection: _set_state(connection, _FOLDERS, self._folders))
            known = {}
        for source in self._sources:
            journals = source.open_observations()  # before the files: what ends in between is found in both
            for day, paths in source.days().items():
                for path in paths:
                    self._read(path, day, known.get(str(path)))
            self._add_open(journals)

    def _known(self) -> dict[str, FileState]:
        """Return how far each file has been read, by its path."""
        states = self.store.run(_states)
        return {
            name.removeprefix(_FILE): FileState._make((*given[:6], bytes.fromhex(given[6]), given[7]))
            for name, text in states.items()
            if name.startswith(_FILE) and (given := orjson.loads(text))
        }

    def _read(self, path: Path, day: str, known: FileState | None) -> None:
        """Read the lines that were completed since the last time."""
        status = status_of(path)
        if status is None or (known is not None and known.is_of(status)) or (file := open_records(path)) is None:
            return
        with file:
            status = os.fstat(file.fileno())
            offset = known.offset if known is not None else 0
            lines = lines_of(file, offset)
            while some := [(at, line) for at, line in islice(lines, LINES_AT_ONCE) if line.endswith(b"\n")]:
                self.store.write([row for at, line in some for row in self._placed(file, path, at, line)])
                offset = some[-1][0] + len(some[-1][1])
            landmarks = landmarks_of(file, offset)
        size = status.st_size if offset == status.st_size else -1
        state = [path.name, day, status.st_ino, size, status.st_mtime_ns, offset, landmarks.hex(), 0]
        self.store.run(lambda connection: _set_state(connection, f"{_FILE}{path}", orjson.dumps(state).decode()))

    def _placed(self, file: RecordInput, path: Path, at: int, line: bytes) -> Iterator[Row]:
        """Yield the rows of the records on a line, each with the place of its record."""
        for (start, end, record), text in file.records(line):
            if not isinstance(record, str):
                with suppress(Refusal, TypeError):
                    row = self._rows.row_of(record, text)
                    yield row._replace(line=place(at + start, end - start, path))

    def _add_open(self, journals: dict[str, OpenObservations]) -> None:
        """Add the observations that are open in running processes, or were open in processes that died."""
        rows: list[Row] = []
        for observations in journals.values():
            for is_alive, record in observations:
                begun = record if is_alive else {**record, "status": "crashed"}
                with suppress(Refusal, TypeError):
                    rows.append(self._rows.row_of(begun, orjson.dumps(begun)))
        if rows:
            ended = self.store.run(lambda connection: _ended(connection, rows))
            self.store.write([row for row in rows if (row.trace_id, getattr(row, "id", "")) not in ended])


def _states(connection: sqlite3.Connection) -> dict[str, str]:
    return dict(connection.execute("SELECT name, state FROM files").fetchall())


def _set_state(connection: sqlite3.Connection, name: str, state: str) -> None:
    connection.execute("INSERT OR REPLACE INTO files VALUES (?, ?)", (name, state))


def _forget_everything(connection: sqlite3.Connection) -> None:
    for table in ("traces", "facets", "observations", "scores", "totals", "new_words", "files"):
        connection.execute(f"DELETE FROM {table}")
    connection.execute("INSERT INTO words (words) VALUES ('delete-all')")
    (last,) = connection.execute("SELECT max(seq) FROM sqlite_sequence WHERE name = 'observations'").fetchone()
    _set_state(connection, "words", str(last or 0))


def _ended(connection: sqlite3.Connection, rows: Iterable[Row]) -> set[tuple[str, str]]:
    """Return the trace and id of the observations among *rows* that the files have: a journal may be older."""
    sql = """SELECT 1 FROM observations o JOIN traces t ON t.number = o.trace
             WHERE t.trace_id = ? AND o.id = ? AND o.status IS NOT NULL"""
    found = set()
    for row in rows:
        if isinstance(row, Observation) and connection.execute(sql, (row.trace_id, row.id)).fetchone():
            found.add((row.trace_id, row.id))
    return found
