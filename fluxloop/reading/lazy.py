"""
The observations of a trace, kept as lines and built when they are accessed.

A trace may have a million observations. Validating each takes ten times as long as decoding its line, and the model
takes five times the memory.
"""

from __future__ import annotations

import re
from collections import UserList
from collections.abc import Iterable
from typing import Any, NamedTuple

from ..models import ObservationData
from ..storage.decoding import Json, decode
from .building import finished_observation

Item = bytes | ObservationData
"""An observation as the line it was read from, or built."""


class Start(NamedTuple):
    """The fields of an observation that decide its place in the tree."""

    id: str
    parent_id: str | None
    time: str
    """ISO 8601 in UTC with microseconds, without the time zone; it sorts by time."""


def start_of(item: Item) -> Start:
    """Return the beginning of *item*."""
    if isinstance(item, bytes):
        record = decode(item)
        return Start(record["id"], record["parent_id"], record["start_time"][:26])
    return Start(item.id, item.parent_id, item.start_time.isoformat(timespec="microseconds")[:26])


def _link(item: Item) -> tuple[str, str | None]:
    if isinstance(item, bytes):
        if head := _HEAD.match(item):
            return head[1].decode(), head[2].decode() if head[2] is not None else None
        record = decode(item)
        return record["id"], record["parent_id"]
    return item.id, item.parent_id


_HEAD = re.compile(rb'\{"id":"([ !#-\[\]-~]+)","trace_id":"[ !#-\[\]-~]+","parent_id":(?:null|"([ !#-\[\]-~]+)")')
"""The beginning of most lines of our own format; decoding the whole line takes five times as long."""


def seq_of(item: Item) -> int | None:
    """Return the number of *item* within its trace; None where it recorded none."""
    seq: int | None = decode(item)["seq"] if isinstance(item, bytes) else item.seq
    return seq


def can_wait(record: Json) -> bool:
    """Whether the id, parent, number and start of *record* are valid as written, so that it can be built later."""
    if "parent_observation_id" in record:
        return False
    parent, seq, time = record.get("parent_id", 0), record.get("seq"), record.get("start_time")
    return (
        type(record.get("id")) is str
        and (parent is None or type(parent) is str)
        and type(seq) is int
        and 0 <= seq < SEQ_END
        and type(time) is str
        and len(time) == 27
        and time[10] == "T"
        and time[26] == "Z"
    )


SEQ_END = 1 << 62


class Observations(UserList[ObservationData]):
    """
    A list of observations. One that is still a line is built at its first access, and from then on stays built.

    Args:
        items: Observations, and lines of records that `can_wait`.
    """

    def __init__(self, items: Iterable[Item] = ()) -> None:
        self._items = list(items)

    @property
    def data(self) -> list[ObservationData]:
        """The list itself with every observation built, for the methods of `UserList` that are not defined here."""
        for index in range(len(self._items)):
            self[index]
        return self._items  # type: ignore[return-value]

    @data.setter
    def data(self, items: Iterable[Item]) -> None:
        self._items = list(items)

    def links(self) -> list[tuple[str, str | None]]:
        """Return the id and the parent's id of each observation, without building it."""
        return [_link(item) for item in self._items]

    def peek(self, index: int) -> Json | ObservationData:
        """Return an observation if it is built, else its record, which is not kept."""
        item = self._items[index]
        return decode(item) if isinstance(item, bytes) else item

    def __len__(self) -> int:
        return len(self._items)

    def __getitem__(self, i: Any) -> Any:
        if isinstance(i, slice):
            return [self[index] for index in range(*i.indices(len(self)))]
        item = self._items[i]
        if isinstance(item, bytes):
            item = self._items[i] = finished_observation(decode(item))
        return item

    def __copy__(self) -> Observations:
        return self.copy()

    def append(self, item: ObservationData) -> None:
        self._items.append(item)
