"""
An index of traces beside the record files: a row per trace, kept up to date when it is opened.

`Catalog.of` reads what is new since the last time, so that a list of a hundred thousand traces is ready at once. The
index is a hidden file in the folder of the records. It holds nothing that is not in the files and may be deleted at
any time.
"""

from __future__ import annotations

import sqlite3
from contextlib import suppress
from pathlib import Path

from ..source import Source
from .row import TraceRow
from .scan import refresh
from .store import NAME, Store

__all__ = ["Catalog", "TraceRow"]


class Catalog:
    """
    The traces of a source, one row each.

    Use it as a context manager, or call `close`.
    """

    def __init__(self, source: Source, store: Store, notice: str | None = None) -> None:
        self.source = source
        self.notice = notice
        """Why the index file is not used, or was made again; None if all is well."""
        self.store = store

    @classmethod
    def of(cls, path: str | Path | Source) -> Catalog:
        """
        Return the up-to-date catalog of the traces at *path*, in memory where the index file cannot be used.

        Raises:
            ReadError: If *path* does not exist or cannot be read.
        """
        source = path if isinstance(path, Source) else Source.at(path)
        notice = None
        if source.folder is not None:
            for _ in range(2):
                try:
                    return cls._on_disk(source, source.folder, notice)
                except sqlite3.OperationalError as error:
                    notice = f"the index {source.folder / NAME} cannot be used ({error}); reading the records instead"
                    break
                except sqlite3.DatabaseError as error:
                    notice = f"the index {source.folder / NAME} was damaged ({error}) and has been made again"
                    with suppress(OSError):
                        (source.folder / NAME).unlink()
        store = Store.in_memory(source.folder)
        refresh(store, source)
        return cls(source, store, notice)

    @classmethod
    def _on_disk(cls, source: Source, folder: Path, notice: str | None) -> Catalog:
        store = Store.on_disk(folder)
        try:
            refresh(store, source)
        except BaseException:
            store.connection.close()
            raise
        return cls(source, store, notice)

    def close(self) -> None:
        """Close the index."""
        self.store.connection.close()

    def __enter__(self) -> Catalog:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()
