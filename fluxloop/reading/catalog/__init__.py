"""
An index of traces beside the record files: a row per trace, kept up to date when it is opened.

`Catalog.of` reads what is new since the last time, so that a list of a hundred thousand traces is ready at once. The
index is a hidden file in the folder of the records. It holds nothing that is not in the files and may be deleted at
any time.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Container, Iterator, Sequence
from contextlib import suppress
from functools import cache
from itertools import takewhile
from pathlib import Path
from typing import Any

from ...llm.prices import Pricing
from ...storage.decoding import Json
from ..filters import TraceFilter
from ..source import Source
from .costs import add_costs
from .query import EVERY_TRACE, ORDERS, Query, query_of
from .row import COLUMNS, COST_COLUMNS, TraceRow, from_columns
from .scan import add_records, refresh
from .store import NAME, Store
from .text import Searched, in_files, in_journals, in_records

__all__ = ["ORDERS", "Catalog", "TraceRow"]

SHORT_ID = 6
"""Characters of a short id, where these are enough to identify the trace."""

FEW = 500
"""Rows that are selected once: their numbers become a part of the following queries."""

_EVERYTHING = TraceFilter()

_WITH_TEXT = "number IN (SELECT number FROM with_text)"

_ROW = f"SELECT {', '.join(COLUMNS)} FROM traces"


class Catalog:
    """
    The traces of a source, one row each.

    Use it as a context manager, or call `close`.
    """

    def __init__(
        self, source: Source, store: Store, notice: str | None = None, records: Sequence[Json] | None = None
    ) -> None:
        self.source = source
        self.notice = notice
        """Why the index file is not used, or was made again; None if all is well."""
        self.store = store
        self._records = records
        self._searched: tuple[object, ...] | None = None
        """The text and the other conditions that the table ``with_text`` is about."""

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
    def of_records(cls, records: Sequence[Json]) -> Catalog:
        """Return the catalog of *records* in memory; other JSON is left out."""
        store = Store.in_memory()
        add_records(store, records)
        return cls(Source(Path(), None, ""), store, records=records)

    @classmethod
    def _on_disk(cls, source: Source, folder: Path, notice: str | None) -> Catalog:
        store = Store.on_disk(folder)
        try:
            refresh(store, source)
        except BaseException:
            store.connection.close()
            raise
        return cls(source, store, notice)

    def rows(
        self,
        wanted: TraceFilter = _EVERYTHING,
        *,
        order: str = "start",
        backwards: bool = False,
        limit: int | None = None,
        pricing: Pricing | None = None,
    ) -> list[TraceRow]:
        """
        Return the rows of the traces that *wanted* accepts.

        Args:
            wanted: All traces by default.
            order: One of `ORDERS`.
            backwards: Reverse the order.
            limit: Return only so many, the first in this order.
            pricing: The prices for the cost of each row; None leaves the cost out.
        """
        condition, parameters = self._condition(wanted)
        if condition == _WITH_TEXT and order == "start" and limit is not None:
            condition = f"+{condition}"  # SQLite follows the index of starts, and does not sort the rows with the text
        if pricing is not None and order == "cost":
            add_costs(self.store, pricing, Query(f"SELECT number FROM traces WHERE {condition}", parameters))
        by = f"{ORDERS[order][backwards]}, number DESC"
        chosen = Query(
            f"SELECT number FROM traces LEFT JOIN costs USING (number) WHERE {condition} ORDER BY {by} LIMIT ?",
            [*parameters, -1 if limit is None else limit],
        )
        if limit is not None and limit <= FEW:
            numbers = self.store.connection.execute(chosen.condition, chosen.parameters)
            chosen = Query(", ".join(str(number) for (number,) in numbers), [])
        if pricing is not None:
            add_costs(self.store, pricing, chosen)
        columns = ", ".join(COLUMNS if pricing is None else COLUMNS + COST_COLUMNS)
        joined = f"SELECT {columns} FROM traces LEFT JOIN costs USING (number)"
        sql = f"{joined} WHERE number IN ({chosen.condition}) ORDER BY {by}"
        return [from_columns(row) for row in self.store.connection.execute(sql, chosen.parameters)]

    def count(self, wanted: TraceFilter = _EVERYTHING) -> int:
        """Return the number of traces that *wanted* accepts."""
        query = self._condition(wanted)
        if query.condition == _WITH_TEXT:  # all of them are traces
            return self._one("SELECT count(*) FROM with_text")
        return self._count(query)

    def _count(self, query: Query) -> int:
        return self._one(f"SELECT count(*) FROM traces WHERE {query.condition}", query.parameters)

    def _one(self, sql: str, parameters: Sequence[Any] = ()) -> int:
        """Return the number that a query returns."""
        return int(self.store.connection.execute(sql, parameters).fetchone()[0])

    def select(self, columns: str, wanted: TraceFilter) -> Iterator[tuple[Any, ...]]:
        """Yield *columns* of the tables of traces and facts for each trace that *wanted* accepts, oldest first."""
        condition, parameters = self._condition(wanted)
        sql = f"SELECT {columns} FROM traces JOIN facts USING (number) WHERE {condition} ORDER BY start_us"
        yield from self.store.connection.execute(sql, parameters)

    def ids(self, wanted: TraceFilter = _EVERYTHING) -> dict[str, set[str]]:
        """Return the ids of the traces that *wanted* accepts, by day."""
        condition, parameters = self._condition(wanted)
        found: dict[str, set[str]] = {}
        for day, trace_id in self.store.connection.execute(
            f"SELECT day, trace_id FROM traces WHERE {condition}", parameters
        ):
            found.setdefault(day, set()).add(trace_id)
        return found

    def with_id(self, part: str, *, limit: int | None = None) -> list[TraceRow]:
        """Return the traces whose id is *part*, or else begins or ends with it, newest first."""
        condition, parameters = self._with_id(part)
        sql = f"{_ROW} WHERE {condition} ORDER BY start_us DESC LIMIT ?"
        found = self.store.connection.execute(sql, [*parameters, -1 if limit is None else limit])
        return [from_columns(row) for row in found]

    def count_with_id(self, part: str) -> int:
        """Return the number of traces that `with_id` finds."""
        return self._count(self._with_id(part))

    def _with_id(self, part: str) -> Query:
        day, values = ("1", []) if self.source.day is None else ("day = ?", [self.source.day])
        exact = Query(f"{day} AND reversed_id = ?", [*values, part[::-1]])
        if self._count(exact):
            return exact
        begins_or_ends = "(substr(reversed_id, 1, ?) = ? OR substr(trace_id, 1, ?) = ?)"
        return Query(f"{day} AND {begins_or_ends}", [*values, len(part), part[::-1], len(part), part])

    def short_id(self, trace_id: str, least: int = SHORT_ID) -> str:
        """Return the end of an id that no other trace of the index has, of *least* characters or more."""
        reversed_id = trace_id[::-1]
        length = least
        for comparison, order in (("<", "DESC"), (">", "")):
            sql = (
                f"SELECT reversed_id FROM traces WHERE reversed_id {comparison} ? ORDER BY reversed_id {order} LIMIT 1"
            )
            for (neighbour,) in self.store.connection.execute(sql, (reversed_id,)):
                length = max(length, _common_length(neighbour, reversed_id) + 1)
        return trace_id[-length:]

    def _condition(self, wanted: TraceFilter) -> Query:
        """Return the condition for *wanted*; the traces with its text are put in a table first."""
        condition, parameters = query_of(wanted, day=self.source.day)
        if wanted.text is None:
            return Query(condition, parameters)
        if self._searched != (wanted.text, condition, *parameters):
            self._search(wanted.text, condition, parameters)
            self._searched = (wanted.text, condition, *parameters)
        return Query(_WITH_TEXT if condition == EVERY_TRACE else f"{condition} AND {_WITH_TEXT}", parameters)

    def _search(self, text: str, condition: str, parameters: list[Any]) -> None:
        """Put the traces with *text* in the table ``with_text``; only days are searched that have other matches."""
        connection, whole = self.store.connection, self.source.whole()
        days: Container[str] = whole.days()
        if condition != EVERY_TRACE:  # to find the days of all traces takes as long as to search a tenth of the files
            select = f"SELECT DISTINCT day FROM traces WHERE {condition}"
            days = {day for (day,) in connection.execute(select, parameters)}
        if self._records is None:
            ends = {name: state.offset for name, state in self.store.files().items()}
            files = {
                day: [Searched(path, ends.get(path.name, 0)) for path in paths]
                for day, paths in whole.days().items()
                if day in days
            }
            counts = cache(lambda: dict(connection.execute("SELECT day, count(*) FROM traces GROUP BY day")))
            found = {
                *in_files(text, files, lambda day: counts().get(day, 0)),
                *in_journals(text, whole.open_observations()),
            }
        else:
            found = {*in_records(text, self._records)}
        connection.execute("DROP TABLE IF EXISTS temp.with_text")
        connection.execute("CREATE TEMP TABLE with_text (number INTEGER PRIMARY KEY)")
        add = "INSERT OR IGNORE INTO with_text SELECT number FROM traces WHERE"
        connection.execute("BEGIN")  # one transaction for all of them; the index itself is not written
        connection.executemany(
            f"{add} reversed_id = ? AND day = coalesce(?, day)",
            [(trace_id[::-1], day) for day, trace_id in found if trace_id is not None],
        )
        if whole_days := [day for day, trace_id in found if trace_id is None]:
            connection.execute(f"{add} day IN ({', '.join('?' * len(whole_days))})", whole_days)
        connection.execute("COMMIT")

    def close(self) -> None:
        """Close the index."""
        self.store.connection.close()

    def __enter__(self) -> Catalog:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()


def _common_length(one: str, other: str) -> int:
    """Return the number of characters that both texts begin with."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))
