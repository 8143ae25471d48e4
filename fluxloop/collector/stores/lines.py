"""
Where the line of a record is: in the store itself, or at a place of a record file that the store indexes.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from ...errors import ReadError
from ...reading.source import open_records
from ...storage.decoding import decode

Resolve = Callable[[bytes], bytes]
"""Returns the line for a value of the store; an empty one if it is not there any more."""

_PLACE = b"@"


def as_stored(line: bytes) -> bytes:
    """Return a line that the store has itself; a record begins with a brace, a place does not."""
    return line


def place(offset: int, length: int, path: Path) -> bytes:
    """Return the value for a line of *length* bytes at *offset* of a file."""
    return b"@%d:%d:%b" % (offset, length, str(path).encode())


def from_files(value: bytes) -> bytes:
    """Return the line at a `place`; a value that is a line is returned as it is."""
    if not value.startswith(_PLACE):
        return value
    offset, length, path = value[1:].split(b":", 2)
    with suppress(OSError, ReadError):
        if (file := open_records(Path(path.decode()))) is not None:
            with file:
                file.seek(int(offset))
                line = file.complete(file.read(int(length))).rstrip(b"\n")
                if is_record(line):  # the file may have been replaced since
                    return line
    return b""


def is_record(line: bytes) -> bool:
    """Whether *line* is one JSON object, as every record."""
    try:
        return line.startswith(b"{") and b"\n" not in line and isinstance(decode(line), dict)
    except (ValueError, RecursionError):
        return False
