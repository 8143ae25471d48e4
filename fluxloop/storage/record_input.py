"""
A record file that is open for reading.

Lines are read as they are written. `RecordInput.complete` resolves the references in a line, and
`RecordInput.records` returns the complete records of a line.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from io import BufferedReader, FileIO
from typing import Any

from ..errors import ReadError
from .decoding import Found, decode, kind_of, records_in
from .descriptors import open_regular
from .references import TAILS, Completer


class RecordInput(BufferedReader):
    """
    An open record file.

    Args:
        path: A regular file.

    Raises:
        OSError: If it cannot be opened, or is not a regular file. Reading from it raises `ReadError`.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        super().__init__(_File(path, opener=open_regular))
        self._completer: Completer | None = None

    def complete(self, line: bytes) -> bytes:
        """Return a line of this file with its references resolved, as `Completer.complete` does."""
        if not line.endswith(TAILS):
            return line
        if self._completer is None:
            self._completer = Completer(self.at)
        return self._completer.complete(line)

    def records(self, line: bytes, is_record: Callable[[object], object] = kind_of) -> Iterator[tuple[Found, bytes]]:
        """
        Yield what `records_in` finds on a line, with the complete records and their text.

        The start and the end of what is found are those in *line*.
        """
        for found in records_in(line, is_record):
            text = line[found.start : found.end]
            if isinstance(found.record, dict) and "refs" in found.record:
                with suppress(ValueError):
                    complete = self.complete(text)
                    found, text = found._replace(record=decode(complete)), complete
            yield found, text

    def at(self, offset: int, size: int) -> bytes:
        """Read at an offset, and leave the position as it is."""
        if hasattr(os, "pread"):
            with _reading(self.name):
                return os.pread(self.fileno(), size, offset)
        before = self.seek(0, os.SEEK_CUR)
        self.seek(offset)
        try:
            return self.read(size)
        finally:
            self.seek(before)


class _File(FileIO):
    """A file whose errors name it: those of the system do not, so they look like errors of the output."""

    def readinto(self, buffer: Any) -> int | None:
        try:
            return super().readinto(buffer)
        except OSError as error:
            raise _unreadable(self.name, error) from error

    def readall(self) -> bytes:
        with _reading(self.name):
            return super().readall()


@contextmanager
def _reading(path: object) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise _unreadable(path, error) from error


def _unreadable(path: object, error: OSError) -> ReadError:
    return ReadError(f"{path}: cannot be read: {error.strerror or error}")
