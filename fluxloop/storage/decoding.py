"""
Find the records in one line of a file, however it was damaged.

A line of ours is one record. A short write (full disk, a kill in the middle of megabytes) leaves the
beginning of one, and the next record may follow on the same line; ``records_in`` finds that one too.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, Literal

import orjson

Json = dict[str, Any]
"""One decoded record."""

NOT_A_RECORD = "other JSON"
"""Said of a line that is JSON and neither an observation nor a trace."""

TORN = "torn, or no JSON"
"""Said of a line, or the part of one, that cannot be decoded."""


def kind_of(value: object) -> Literal["observation", "trace"] | None:
    """Say what a decoded line is, going by its fields; None if it is no record of ours or upstream's."""
    if not isinstance(value, dict):
        return None
    own, trace_id = value.get("id"), value.get("trace_id")
    if _OBSERVATION_FIELDS & value.keys() or (own and trace_id and own != trace_id):
        return "observation" if own and trace_id else None
    return "trace" if (trace_id or own) and "start_time" in value else None


_OBSERVATION_FIELDS = {"type", "parent_id", "parent_observation_id"}
"""Fields that no trace line has."""


def decoded(line: bytes) -> list[Json]:
    """Return the records on *line*: one, as a rule; none if it is torn or foreign; two where a newline was cut off."""
    return [record for _, record in records_in(line, is_of_a_trace) if not isinstance(record, str)]


def is_of_a_trace(value: object) -> bool:
    """Whether *value* can be a record of ours, be it never so incomplete."""
    return isinstance(value, dict) and "trace_id" in value


def records_in(line: bytes, is_record: Callable[[object], object] = kind_of) -> Iterator[tuple[int, Json | str]]:
    """
    Yield the records of *line*, each with the byte at which it begins.

    In place of what is no record comes the reason, `TORN` or `NOT_A_RECORD`. A blank line yields nothing.

    Args:
        line: With or without its newline.
        is_record: Says what counts as one.
    """
    try:
        value = decode(line)
    except ValueError:
        yield from _salvaged(line, is_record)
    else:
        yield 0, value if is_record(value) else NOT_A_RECORD


def decode(line: bytes) -> Any:
    """
    Decode JSON as strictly as we write it, else as leniently as others do.

    Bare ``NaN``, lone surrogates and bytes that are no UTF-8 are taken; the latter two become U+FFFD.

    Raises:
        ValueError: If it is no JSON all the same.
    """
    with suppress(orjson.JSONDecodeError):
        return orjson.loads(line)
    import json  # for what is damaged or foreign alone

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


def _salvaged(line: bytes, is_record: Callable[[object], object]) -> Iterator[tuple[int, Json | str]]:
    from json import JSONDecoder

    decode_at = JSONDecoder().raw_decode
    text = line.decode("latin-1")  # one character a byte, so positions agree; JSON's own signs are ASCII
    at = done = 0
    while begin := _BEGIN.search(text, at):
        at = begin.start() + 1
        with suppress(ValueError, RecursionError):
            _, end = decode_at(text, begin.start())
            # A record ends its line or touches the next record; an object inside a torn one does neither.
            if _AFTER.match(text, end) and is_record(record := decode(line[begin.start() : end])):
                if not _is_blank(line[done : begin.start()]):
                    yield done, TORN
                yield begin.start(), record
                at = done = end
    if not _is_blank(line[done:]):
        yield done, TORN


_BEGIN = re.compile(r'\{"(?:id|trace_id)": ?"')
_AFTER = re.compile(r"\s*(?:\{|\Z)")


def _is_blank(piece: bytes) -> bool:
    """Whether *piece* says nothing: white space, a byte order mark, or the NULs a power cut leaves."""
    return not piece.strip(b" \t\r\n\0\xef\xbb\xbf")
