"""
Compare an array that is being written with those that a record file has already.
"""

from __future__ import annotations

from typing import NamedTuple

from .json_arrays import AFTER_ITEM, COMMA, common_bytes, count_items, item_ends, likely_ends

MIN_SAVED_BYTES = 4096
"""Less in common is not looked at, and references that save less are not written."""


class Run(NamedTuple):
    """Consecutive items of an array that are in a line of the file as they are."""

    content: bytes
    """The items, with the commas between them."""
    items: int
    head: bytes
    """The beginning of that line, up to and including the id of its record."""
    offset: int | None
    """Where that line begins; None for the line that is being written."""
    at: int
    """Where the items begin in that line; in the line that is being written, before its items are replaced."""
    crc: int | None = None
    """The checksum of the items; None before the first reference."""

    @property
    def size(self) -> int:
        """The length of the items."""
        return len(self.content)


class Array(NamedTuple):
    """The items of an array that was written."""

    runs: tuple[Run, ...]
    is_open: bool = False
    """Whether its end is unknown, as nothing was compared with it yet: its one run goes on to the end of the line."""


class Comparison(NamedTuple):
    """What an array has in common with one that is being written."""

    array: Array
    runs: list[Run]
    """Its first runs, which are equal."""
    size: int
    """Their bytes, with the commas between them."""
    common: int
    """The bytes that are equal, which may end within an item."""


class Match(NamedTuple):
    """The first items of an array, which are in the file already."""

    runs: list[Run]
    size: int
    base: Array
    """The array that has them."""
    is_extended: bool = False
    """Whether they are all items of *base*: then the new array is kept in its place."""


def compared_with(array: Array, line: bytes, at: int, earlier: dict[tuple[int, int], bool]) -> Comparison:
    """Compare *array* with the one at *at*; *earlier* has results, as parallel steps share their first runs."""
    runs: list[Run] = []
    end = at
    for run in array.runs:
        start = end + 1 if runs else at
        if runs and line[end] != COMMA:
            break
        is_equal = False
        if not array.is_open:
            is_equal = earlier.get(key := (id(run.content), start), False) or line.startswith(run.content, start)
            earlier[key] = is_equal
        if not is_equal:
            common = common_bytes(run.content, line, start) if run.size >= MIN_SAVED_BYTES else 0
            return Comparison(array, runs, end - at, start - at + common if common >= MIN_SAVED_BYTES else end - at)
        runs.append(run)
        end = start + run.size
    return Comparison(array, runs, end - at, end - at)


def match_of(found: Comparison, line: bytes, at: int) -> Match | None:
    """Return the whole items of what *found* has in common; None if there are none."""
    array, runs, size, common = found
    if common == size:
        return Match(runs, size, array, is_extended=len(runs) == len(array.runs)) if runs else None
    run = array.runs[len(runs)]
    start = size + 1 if runs else 0
    if array.is_open:
        for end in likely_ends(run.content, common):
            if line[at + end] in AFTER_ITEM and (items := count_items(run.content[:end])):
                is_whole = run.content[end : end + 1] == b"]"
                return Match([run._replace(content=run.content[:end], items=items)], end, array, is_whole)
    ends = [end for end in item_ends(run.content, 0, common - start) if end <= common - start]
    if ends:
        runs.append(run._replace(content=run.content[: ends[-1]], items=len(ends), crc=None))
        size = start + ends[-1]
    return Match(runs, size, array) if runs else None


def length_of(runs: list[Run]) -> int:
    """Return the bytes of *runs*, with a comma after each."""
    return sum(run.size for run in runs) + len(runs)
