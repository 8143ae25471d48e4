"""
Write histories that a record file has already as references to them.

The messages of a conversation are in the record of each step. `Histories` keeps the arrays of objects that this process
has written to one file. If an array in a large record begins with the same items as one of them, these items are
replaced by references; see `references` for the format. Each reference names bytes that are in the file as they are, so
resolving it takes one step, however long the conversation is.

Items that were added since are written as they are. Small runs of items are written again, together with newer ones,
so that a record needs only a few references: each run is at least twice as long as those after it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from operator import attrgetter
from threading import RLock
from zlib import crc32

from .array_runs import MIN_SAVED_BYTES, Array, Match, Run, compared_with, length_of, match_of
from .json_arrays import COMMA, END, FIRST, NEXT, item_ends, keys_of
from .references import MAX_COMPLETE_BYTES, TAILS, tail_of, text_of

LARGE_BYTES = 65_536
"""The size from which a line is searched for histories. Comparing takes about 80 us, more than a shorter line takes."""

_BEFORE_INPUT_BYTES = 8192
"""The most bytes of a line before its input."""

MIN_RUN_BYTES = 512
"""A smaller run of items is written again: a reference to it takes almost as much."""

MAX_KEPT_BYTES = 16 << 20
"""The limit of the arrays that are kept per file."""
_RUN_BYTES = 600
"""What a run takes in memory besides its items."""

MOST_BRANCHES = 4
"""The most arrays with the same first items that are kept: parallel steps continue a conversation differently."""

MOST_ARRAYS = 8
"""The most arrays of a line that are compared."""

_REFERENCE_BYTES = 180
"""The approximate length of a reference."""


class Histories:
    """The arrays that this process has written to a file."""

    def __init__(self) -> None:
        self._arrays: dict[bytes, list[Array]] = {}
        self._size = 0
        self._lock = RLock()  # re-entrant, because a signal handler may record

    def compacted(self, line: bytes, read: Callable[[int, int], bytes]) -> CompactLine:
        """
        Return *line* with references to what is in the file.

        Args:
            line: The line of a record.
            read: Returns up to so many bytes at an offset of the file.

        Raises:
            OSError: If the file cannot be read.
        """
        compact = CompactLine(line, self._arrays)
        if not all(_is_in_file(run, read) for run in compact.used):
            self.forget()  # another program has shortened the file
            compact = CompactLine(line, {})
        return compact

    def add(self, written: CompactLine, offset: int) -> None:
        """Keep the arrays of a line that was written completely at *offset*."""
        if not self._lock.acquire(blocking=False):
            return  # another thread adds an array, or did so when this process was forked
        try:
            for key, array, base in written.arrays(offset):
                before = self._arrays.pop(key, [])
                after = [array, *(one for one in before if one is not base)][:MOST_BRANCHES]
                # It becomes the last of the dict, whose first is dropped first. Other threads may read the former list.
                self._arrays[key] = after
                self._size += _kept_bytes(after) - _kept_bytes(before)
            while self._size > MAX_KEPT_BYTES and self._arrays:
                self._size -= _kept_bytes(self._arrays.pop(next(iter(self._arrays))))
        finally:
            self._lock.release()

    def forget(self) -> None:
        """Keep nothing, unless another thread adds an array right now."""
        if self._lock.acquire(blocking=False):
            self._arrays, self._size = {}, 0
            self._lock.release()


def _is_in_file(run: Run, read: Callable[[int, int], bytes]) -> bool:
    """Return whether the file still has the beginning and the end of *run*, or it is of the line that is written."""
    if run.offset is None:
        return True
    end, size = run.content[-64:], len(run.head)
    return read(run.offset, size) == run.head and read(run.offset + run.at + run.size - len(end), len(end)) == end


def _kept_bytes(arrays: list[Array]) -> int:
    return sum(run.size + _RUN_BYTES for one in arrays for run in one.runs)


class CompactLine:
    """
    A line in which the items that are in the file already are references.

    Args:
        line: The complete line.
        known: The arrays that are in the file, by the keys of their first items, see `keys_of`.
    """

    def __init__(self, line: bytes, known: dict[bytes, list[Array]]) -> None:
        self.text = self._line = line
        self.used: list[Run] = []
        """The runs that it refers to."""
        self._known = known
        self._found: list[tuple[bytes, Array, Array | None]] = []
        """The key of each array, the array, and the kept one that it replaces."""
        self._parts: list[bytes] = []
        self._done = self._written = 0
        """How much of the complete line is in the parts, and their length."""
        self._edits: list[tuple[int, int, int]] = []
        """Of each replacement: its start and end in the complete line, and how much shorter the text is up to there."""
        self._mark = b"~%b~" % os.urandom(4).hex().encode()
        head = _HEAD.match(line)
        if head is not None and len(line) <= MAX_COMPLETE_BYTES and line.endswith(b"}\n") and not line.endswith(TAILS):
            self._head = head[0]
            self._replace_arrays()
            if self._parts:
                self._finish()

    def _replace_arrays(self) -> None:
        at = self._line.find(b'"input":', 0, _BEFORE_INPUT_BYTES) + 8
        end = self._replace_from(FIRST.match(self._line, at)) if at >= 8 else None
        # Quotation marks in texts are escaped, so this is the name of a field. If the end of the input is unknown, the
        # last one is taken: a field of this name within a value may have references, too.
        at = self._line.rfind(b'"output":', at) if end is None else self._line.find(b'"output":', end)
        if at >= 0:
            self._replace_from(FIRST.match(self._line, at + 9))

    def _replace_from(self, start: re.Match[bytes] | None) -> int | None:
        """Replace the items of an array and of those beside it; return the end, if it is known."""
        end: int | None = None
        while start is not None and len(self._found) < MOST_ARRAYS:
            if (end := self._replace(start.end())) is None:
                return None
            start = NEXT.match(self._line, end)
        return end

    def _replace(self, at: int) -> int | None:
        """Replace the first items of the array that begins at *at*; return its end, if it is known."""
        line = self._line
        keys = keys_of(line, at)
        if not keys:
            return None
        match = next((found for key in keys if (found := self._match(key, at)) is not None), None)
        if match is None:
            whole = Run(line[at:], 0, self._head, None, at)
            self._found.append((keys[0], Array((whole,), is_open=True), None))
            return None  # without a search for its end: most arrays are never compared
        known_end = at + match.size
        new = item_ends(line, known_end + 1) if line[known_end] == COMMA else [known_end]
        if not new or line[new[-1]] != END:
            return None
        end, runs = new[-1], match.runs
        items = len(new) if end > known_end else 0
        # Runs that are no longer than what comes after them are written again, so that there are few.
        while runs and runs[-1].size <= max(MIN_RUN_BYTES, end - at - length_of(runs)):
            items += runs.pop().items
        if sum(run.size - _REFERENCE_BYTES for run in runs) < MIN_SAVED_BYTES:
            items, runs = items + sum(run.items for run in runs), []
        begin = at + length_of(runs)
        if runs:
            runs = self._refer(at, begin if items else end, runs, bool(items))
        if items:
            runs.append(Run(line[begin:end], items, self._head, None, begin))
        self._found.append((keys[0], Array(tuple(runs)), match.base if match.is_extended else None))
        return end

    def _refer(self, at: int, end: int, runs: list[Run], has_more: bool) -> list[Run]:
        """Replace the items between *at* and *end*, which are *runs*; return these with their checksums."""
        references, checked = [], []
        written = self._written + at - self._done
        for run in runs:
            crc = crc32(run.content) if run.crc is None else run.crc
            place = run.at if run.offset is not None else self._place(run.at) - written
            record = run.head[run.head.index(b'":"') + 3 : -1]
            text = text_of(record, run.items, run.offset, place, run.size, crc, self._mark)
            references.append(text)
            checked.append(run._replace(crc=crc))
            written += len(text) + 1
        replacement = b",".join(references) + (b"," if has_more else b"")
        self._parts += self._line[self._done : at], replacement
        self._written += at - self._done + len(replacement)
        self._done = end
        self._edits.append((at, end, self._done - self._written))
        self.used += runs
        return checked

    def _place(self, at: int) -> int:
        """Return where a byte of the complete line is in the text."""
        return at - next((less for _, end, less in reversed(self._edits) if end <= at), 0)

    def _finish(self) -> None:
        text = b"".join([*self._parts, self._line[self._done : -2], tail_of(self._mark)])
        if text.count(self._mark) == len(self.used) + 1:  # otherwise it is in the user's data, by chance
            self.text = text
        else:
            self._found = []

    def _match(self, key: bytes, at: int) -> Match | None:
        """Return the longest beginning of the array at *at* that is in the file, or earlier in this line."""
        arrays = [array for own, array, _ in self._found if own == key] + self._known.get(key, [])
        compared: dict[tuple[int, int], bool] = {}
        found = [compared_with(array, self._line, at, compared) for array in arrays]
        return match_of(max(found, key=attrgetter("common")), self._line, at) if found else None

    def arrays(self, offset: int) -> Iterator[tuple[bytes, Array, Array | None]]:
        """Yield the key of each array, the array as it is in the line written at *offset*, and the one it replaces."""
        own = {id(array): base for _, array, base in self._found}
        continued = {id(base) for base in own.values()}
        for key, array, base in self._found:
            if id(array) in continued:
                continue  # another array of this line has all of its items
            while base is not None and id(base) in own:
                base = own[id(base)]
            runs = array.runs
            if array.is_open:  # what was replaced in this line after its beginning is not in the file
                [run] = runs
                after = next((start for start, _, _ in self._edits if start > run.at), None)
                runs = runs if after is None else (run._replace(content=run.content[: after - run.at]),)
            placed = tuple(
                run if run.offset is not None else run._replace(offset=offset, at=self._place(run.at)) for run in runs
            )
            yield key, Array(placed, array.is_open), base


_HEAD = re.compile(rb'\{"(?:id|trace_id)":"[^"\\]+"')
