"""
Find the records in one line of a file, however it was damaged.

A line of ours is one record. A short write (full disk, a kill in the middle of megabytes) leaves the
beginning of one, and the next record may follow on the same line; ``records_in`` finds that one too.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import orjson

from .assembly import Json, kind_of

NOT_A_RECORD = "other JSON"
"""Said of a line that is JSON and neither an observation nor a trace."""

TORN = "torn, or no JSON"
"""Said of a line, or the part of one, that cannot be decoded."""


def records_in(line: bytes) -> Iterator[tuple[int, Json | str]]:
    """
    Yield the records of *line*, each with the byte at which it begins.

    In place of what is no record comes the reason, `TORN` or `NOT_A_RECORD`. A blank line yields nothing.
    """
    try:
        value = decode(line)
    except ValueError:
        yield from _salvaged(line)
    else:
        yield 0, value if kind_of(value) else NOT_A_RECORD


def decode(line: bytes) -> Any:
    """
    Decode JSON as strictly as we write it, else as leniently as others do.

    Bare ``NaN``, lone surrogates and bytes that are no UTF-8 are taken; the latter two become U+FFFD.

    Raises:
        ValueError: If it is no JSON all the same.
    """
    with suppress(orjson.JSONDecodeError):
        return orjson.loads(line)
    try:
        return _printable(json.loads(line.decode("utf-8", "replace")))
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _printable(value: Any) -> Any:
    """Replace lone surrogates, which JSON can spell and no file or terminal can hold."""
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, list):
        return [_printable(item) for item in value]
    if isinstance(value, dict):
        return {_printable(key): _printable(item) for key, item in value.items()}
    return value


def _salvaged(line: bytes) -> Iterator[tuple[int, Json | str]]:
    text = line.decode("latin-1")  # one character a byte, so positions agree; JSON's own signs are ASCII
    at = done = 0
    while begin := _BEGIN.search(text, at):
        at = begin.start() + 1
        with suppress(ValueError, RecursionError):
            _, end = _decoder.raw_decode(text, begin.start())
            # A record ends its line or touches the next record; an object inside a torn one does neither.
            if _AFTER.match(text, end) and kind_of(record := decode(line[begin.start() : end])):
                if not _is_blank(line[done : begin.start()]):
                    yield done, TORN
                yield begin.start(), record
                at = done = end
    if not _is_blank(line[done:]):
        yield done, TORN


_BEGIN = re.compile(r'\{"(?:id|trace_id)": ?"')
_AFTER = re.compile(r"\s*(?:\{|\Z)")
_decoder = json.JSONDecoder()


def _is_blank(piece: bytes) -> bool:
    """Whether *piece* says nothing: white space, a byte order mark, or the NULs a power cut leaves."""
    return not piece.strip(b" \t\r\n\0\xef\xbb\xbf")
