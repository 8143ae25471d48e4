"""
Find traces in the SQLite store: a filter as SQL that costs the same in a small and in a large store.

The most selective condition that names a text leads: its facets are in the order of the traces' starts, so that a page
is read from the index and the rest is not looked at. All other conditions are those of the index of files.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from datetime import timedelta
from math import inf
from time import monotonic
from typing import Any

from ...reading.catalog.query import Query, query_of
from ...reading.filters import CollectorFilter
from .contract import StoreError
from .lines import Resolve
from .rows import FAILED, NUMBERS, SHOWN, folded
from .sqlite_words import (
    MAX_CANDIDATES,
    Candidates,
    Newest,
    any_contains,
    candidates_in,
    newest_candidates,
    newest_traces,
)

FEW = 2_000
"""Up to so many traces are sorted; where more match a number, the newest are looked through instead."""

_PART = 200
"""Traces that are searched for a text together, at first."""

_LARGEST_PART = 6_400
"""The same at last; parts double while they have too few matches to fill the page."""

_RARE = 800
"""Records that may have a text, up to which all of them are looked up at once: about as many as a page needs."""

_PROBED_AFTER = 1_400
"""Traces after which it may be up to `MAX_CANDIDATES`: a page that is not full then needs long parts."""

_FACETS = {
    "session": "session",
    "user": "user",
    "tag": "tag",
    "model": "model",
    "metadata": "metadata",
    "observation": "observation",
    "type": "type",
    "name": "name",
    "status": "status",
}
"""The kind of facet by the name of a condition; where many match equally, the first leads."""


COLUMNS = ", ".join(f"t.{name}" for name in SHOWN)


class Selection:
    """
    The traces of a store that match a filter, in the order of their starts.

    Args:
        connection: For reading.
        wanted: The conditions.
        resolve: Returns the lines of records.
        end: The time by `monotonic` after which a search is stopped.
    """

    def __init__(
        self, connection: sqlite3.Connection, wanted: CollectorFilter, resolve: Resolve, end: float = inf
    ) -> None:
        self._end = end
        self._connection = connection
        self._resolve = resolve
        self._wanted = wanted
        self._condition = condition_of(wanted)
        self._rare: Candidates | None = None
        """The records that may have the text, if they are few; None while that is not known, or where they are many."""
        self._found: list[int] | None = None
        """The traces of `_rare`."""
        self._known: Newest | None = None
        self._probed = 0

    def rows(self, limit: int, after: tuple[int, int] | None, *, oldest_first: bool) -> list[tuple[Any, ...]]:
        """Return up to *limit* rows: number and `SHOWN` columns, behind the start and number *after*."""
        if self._wanted.text is None:
            return self._part(limit, after, oldest_first, SHOWN)
        numbers = self._numbers_with_text(self._wanted.text, limit, after, oldest_first)
        sql = f"SELECT number, {COLUMNS} FROM traces t WHERE number IN (SELECT value FROM json_each(?))"
        found = {row[0]: row for row in self._connection.execute(sql, (str(numbers),))}
        return [found[number] for number in numbers]

    def _numbers_with_text(self, text: str, limit: int, after: tuple[int, int] | None, oldest_first: bool) -> list[int]:
        """
        Return the numbers of up to *limit* traces that have *text*.

        The index is asked for all records that may have it. Where they are many, traces are searched in parts that
        grow, and the index is asked for more of them if the first parts do not fill the page.
        """
        self._probe(text, _RARE)
        if not oldest_first and (newest := self._newest_with_text(text, limit, after)) is not None:
            return newest
        numbers: list[int] = []
        size, searched = _PART, 0
        while True:
            part = self._part(size, after, oldest_first, ("start_us",))
            candidates = self._rare
            if candidates is None:
                candidates = candidates_in(
                    self._connection, [number for number, _ in part], text, self._known, is_large=size > _PART
                )
            if candidates is None:  # the text is in many records of a large part
                size = _PART
                continue
            for number in (number for number, _ in part if number in candidates):
                if monotonic() > self._end:
                    raise StoreError("the search took too long; add a condition such as since")
                if any_contains(self._connection, candidates[number], text, self._resolve):
                    numbers.append(number)
                    if len(numbers) == limit:
                        return numbers
            if len(part) < size:
                return numbers
            after = (part[-1][1], part[-1][0])
            searched += size
            size = min(2 * size, _LARGEST_PART)
            if searched >= _PROBED_AFTER:
                self._probe(text, MAX_CANDIDATES)

    def _newest_with_text(self, text: str, limit: int, after: tuple[int, int] | None) -> list[int] | None:
        """Return the page if all its traces are among those with the newest records, else None."""
        if (
            self._known is None
            or self._known.is_all
            or (newest := newest_traces(self._connection, text, self._known)) is None
        ):
            return None
        first, candidates = newest
        self._found = sorted(candidates)
        part = self._part(len(candidates), after, False, ("start_us",))
        self._found = None
        found = list[tuple[Any, ...]]()
        for row in part:
            if any_contains(self._connection, candidates[row[0]], text, self._resolve):
                found.append(row)
            if len(found) == limit:
                break
        if len(found) < limit:
            return None
        # A trace that was inserted earlier, but began later than these, may have the text, too.
        sql = "SELECT 1 FROM traces WHERE start_us BETWEEN ? AND ? AND +number < ? LIMIT 1"
        latest = 2**63 - 1 if after is None else after[0]
        others = self._connection.execute(sql, (found[-1][1], latest, first)).fetchone()
        return [number for number, _ in found] if others is None else None

    def _probe(self, text: str, limit: int) -> None:
        """Set `_rare` if up to *limit* records may have *text*, unless that is known."""
        if self._rare is None and self._probed < limit:
            self._probed = limit
            self._known = newest_candidates(self._connection, text, limit)
            if self._known is not None and self._known.is_all:
                self._rare = self._known.by_trace
                self._found = sorted(self._rare)

    def _part(
        self, limit: int, after: tuple[int, int] | None, oldest_first: bool, shown: tuple[str, ...]
    ) -> list[tuple[Any, ...]]:
        """Return up to *limit* rows of the filter without its text: the number and the columns *shown*."""
        names = ", ".join(f"t.{name}" for name in shown)
        comparison, order = (">", "ASC") if oldest_first else ("<", "DESC")
        values = self._leading()
        if (self._found is not None and len(self._found) <= FEW) or not values:
            sql, parameters = self._plain(after, comparison, limit, names)
        else:
            sql, parameters = self._by_facets(values, after, comparison, names)
        sql = f"{sql} ORDER BY start_us {order}, number {order} LIMIT ?"
        return self._connection.execute(sql, [*parameters, limit]).fetchall()

    def _plain(self, after: tuple[int, int] | None, comparison: str, limit: int, names: str) -> tuple[str, list[Any]]:
        conditions, parameters = [self._condition.condition], [*self._condition.parameters]
        if after is not None:
            conditions.append(f"(start_us, number) {comparison} (?, ?)")
            parameters += after
        start = "start_us"
        if self._found is not None:
            conditions.append("number IN (SELECT value FROM json_each(?))")
            parameters.append(str(self._found))
            start = "+start_us"  # do not walk the traces by start: the few that have the text are sorted
        elif (number := self._rare_number(after, comparison, limit)) is not None:
            conditions.append(number.condition)
            parameters += number.parameters
            start = "+start_us"
        names = names.replace("t.start_us", f"{start} AS start_us")
        return f"SELECT number, {names} FROM traces t WHERE {' AND '.join(conditions)}", parameters

    def _rare_number(self, after: tuple[int, int] | None, comparison_of_starts: str, limit: int) -> Query | None:
        """
        Return a condition on a number that few traces meet, for which its index is worth using.

        The index also has the starts: without another condition, the page is chosen in the index alone.
        """
        for name, column, comparison in NUMBERS:
            if (bound := getattr(self._wanted, name)) is not None:
                sql = f"SELECT count(*) FROM (SELECT 1 FROM traces WHERE {column} {comparison} ? LIMIT {FEW})"
                (count,) = self._connection.execute(sql, (_number(bound),)).fetchone()
                if count >= FEW:
                    continue
                numbers, values = f"SELECT number FROM traces WHERE {column} {comparison} ?", [_number(bound)]
                if self._is_only(name):
                    if after is not None:
                        numbers += f" AND (start_us, number) {comparison_of_starts} (?, ?)"
                        values += after
                    order = "ASC" if comparison_of_starts == ">" else "DESC"
                    numbers += f" ORDER BY start_us {order}, number {order} LIMIT {int(limit)}"
                return Query(f"number IN ({numbers})", values)
        return None

    def _is_only(self, name: str) -> bool:
        """Whether the filter has no other condition."""
        return self._wanted == CollectorFilter(**{name: getattr(self._wanted, name)})

    def _leading(self) -> list[str]:
        """Return the facets of the condition that the fewest traces meet; none without such a condition."""
        choices = []
        for name, kind in _FACETS.items():
            texts = getattr(self._wanted, name)
            if texts is not None and not any("*" in text for text in texts):
                choices.append(list(dict.fromkeys(f"{kind}:{folded(text)}" for text in texts)))
        if self._wanted.has_error:
            choices.append([FAILED])
        if len(choices) < 2:
            return choices[0] if choices else []
        return min(choices, key=self._count)

    def _count(self, facets: list[str]) -> int:
        sql = f"SELECT 1 FROM facets WHERE facet IN ({', '.join('?' * len(facets))}) LIMIT {FEW}"
        return len(self._connection.execute(sql, facets).fetchall())

    def _by_facets(
        self, facets: list[str], after: tuple[int, int] | None, comparison: str, names: str
    ) -> tuple[str, list[Any]]:
        conditions, shared = [self._condition.condition], [*self._condition.parameters]
        ranges: list[tuple[str, Any]] = [
            (f"f.at_us {operator} ?", _us(moment))
            for operator, moment in ((">=", self._wanted.since), ("<", self._wanted.until))
            if moment is not None
        ]
        if after is not None:
            ranges.append((f"(f.at_us, f.trace) {comparison} (?, ?)", after))
        for condition, value in ranges:
            conditions.append(condition)
            shared += value if isinstance(value, tuple) else [value]
        if len(facets) > 1:  # a trace that has several of them is returned once
            others = "SELECT 1 FROM facets o WHERE o.facet = e.value AND o.at_us = t.start_us AND o.trace = t.number"
            conditions.append(f"NOT EXISTS (SELECT 1 FROM json_each(?) e WHERE EXISTS ({others}))")
        if self._found is not None:
            conditions.append("t.number IN (SELECT value FROM json_each(?))")
        # The order of the facets is that of the result, so that SQLite reads no more than a page.
        names = names.replace("t.start_us", "f.at_us AS start_us")
        select = f"SELECT f.trace AS number, {names} FROM facets f CROSS JOIN traces t ON t.number = f.trace"
        parts, parameters = [], []
        for index, facet in enumerate(facets):
            parts.append(f"{select} WHERE f.facet = ? AND {' AND '.join(conditions)}")
            parameters += [facet, *shared]
            if len(facets) > 1:
                parameters.append(_json(facets[:index]))
            if self._found is not None:
                parameters.append(str(self._found))
        return " UNION ALL ".join(parts), parameters


def condition_of(wanted: CollectorFilter) -> Query:
    """Return the condition of the whole filter but its text."""
    parts = [query_of(wanted)]
    for name in ("type", "observation", "metadata"):
        if (texts := getattr(wanted, name)) is not None:
            values = [_pattern(f"{name}:{folded(text)}") for text in texts]
            each = " OR ".join(["value LIKE ? ESCAPE '\\'"] * len(values))
            parts.append(Query(f"EXISTS (SELECT 1 FROM json_each(t.facets) WHERE {each})", values))
    for name, column, comparison in NUMBERS:
        if name not in ("min_tokens", "min_duration") and (limit := getattr(wanted, name)) is not None:
            parts.append(Query(f"t.{column} {comparison} ?", [_number(limit)]))
    condition = " AND ".join(f"({part.condition})" for part in parts)
    return Query(condition, [value for part in parts for value in part.parameters])


def _pattern(text: str) -> str:
    for character in "\\%_":
        text = text.replace(character, f"\\{character}")
    return text.replace("*", "%")


def _number(limit: Any) -> Any:
    return limit / timedelta(milliseconds=1) if isinstance(limit, timedelta) else limit


def _us(moment: Any) -> int:
    return query_of(CollectorFilter(since=moment)).parameters[0]  # type: ignore[no-any-return]  # microseconds


def _json(values: list[str]) -> str:
    import json

    return json.dumps(values)


def in_pages(selection: Selection, size: int, *, oldest_first: bool) -> Iterator[tuple[Any, ...]]:
    """Yield all rows of *selection*, in pages that each read the store for a moment."""
    after = None
    while rows := selection.rows(size, after, oldest_first=oldest_first):
        yield from rows
        after = (rows[-1][1 + SHOWN.index("start_us")], rows[-1][0])
