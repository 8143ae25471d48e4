"""
Decode the lines of record files, including damaged lines.

A line contains one record. An incomplete write (a full disk, a killed process) leaves the beginning of a record, and
the next record may follow on the same line; `records_in` finds that record too. The work is always proportional to
the length of the line.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any, Literal, NamedTuple

import orjson

Json = dict[str, Any]
"""One decoded record."""

NOT_A_RECORD = "other JSON"
"""The reason for valid JSON that is neither an observation nor a trace."""

TORN = "torn, or not JSON"
"""The reason for a line, or a part of a line, that cannot be decoded."""


class Found(NamedTuple):
    """A part of a line: a record, or the reason why it is not one."""

    start: int
    """The offset of the first byte in the line."""
    end: int
    """The offset after the last byte."""
    record: Json | str


def kind_of(value: object) -> Literal["observation", "trace", "score"] | None:
    """Return the kind of a decoded record, according to its fields; None for other JSON."""
    if not isinstance(value, dict):
        return None
    own, trace_id = value.get("id"), value.get("trace_id")
    if value.get("record") == "score" and "type" not in value:
        return "score" if own and trace_id else None
    if not _OBSERVATION_FIELDS.isdisjoint(value) or (own and trace_id and own != trace_id):
        return "observation" if own and trace_id else None
    return "trace" if (trace_id or own) and "start_time" in value else None


_OBSERVATION_FIELDS = frozenset({"type", "parent_id", "parent_observation_id"})
"""Fields that only observations have."""


NO_TIME = "~"
"""The text used for a time that was not recorded; it sorts after every time."""


def start_text(record: Json) -> str:
    """Return the start of *record* as written. In our own format it sorts by time."""
    return str(record.get("start_time") or NO_TIME)


def trace_id_of(record: Json) -> str:
    """Return the id of the trace that *record*, an observation or the line of a trace, belongs to."""
    return str(record.get("trace_id") or record["id"])


def decoded(line: bytes) -> list[Json]:
    """Return the records on *line*: usually one; none if it is damaged; several if a line end is missing."""
    return [found.record for found in records_in(line, has_trace_id) if not isinstance(found.record, str)]


def has_trace_id(value: object) -> bool:
    """Return whether *value* can be a record, possibly an incomplete one."""
    return isinstance(value, dict) and "trace_id" in value


def records_in(line: bytes, is_record: Callable[[object], object] = kind_of) -> Iterator[Found]:
    """
    Yield the records of *line* in order, and the reason for each part that is not a record.

    A blank line yields nothing.

    Args:
        line: The line, with or without its line end.
        is_record: Returns whether a decoded value is a record.
    """
    try:
        value = decode(line)
    except ValueError:
        yield from _salvaged(line, is_record)
    else:
        yield Found(0, len(line), value if is_record(value) else NOT_A_RECORD)


def decode(line: bytes) -> Any:
    """
    Decode JSON, including variants that other programs write.

    ``NaN``, lone surrogates and invalid UTF-8 are accepted; the latter two become U+FFFD.

    Raises:
        ValueError: If *line* is not JSON, or nested too deeply.
    """
    try:
        return orjson.loads(line)
    except orjson.JSONDecodeError:
        import json  # slower, so only for lines that orjson rejects

    text = line.decode("utf-8", "replace")
    try:
        value = json.loads(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    return _without_surrogates(value) if _SURROGATE.search(text) else value


_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


def _without_surrogates(value: Any) -> Any:
    """Replace lone surrogates, which are valid in JSON but cannot be written to a file or terminal."""
    holder = [value]
    pending: list[Any] = [holder]
    while pending:
        container = pending.pop()
        items: list[tuple[Any, Any]]
        if isinstance(container, dict):
            items = [(_valid_unicode(key), item) for key, item in container.items()]
            container.clear()
        else:
            items = list(enumerate(container))
        for key, item in items:
            container[key] = _valid_unicode(item) if isinstance(item, str) else item
            if isinstance(item, list | dict):
                pending.append(item)
    return holder[0]


def _valid_unicode(text: str) -> str:
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _salvaged(line: bytes, is_record: Callable[[object], object]) -> Iterator[Found]:
    """Yield the complete records on a damaged line, and a reason for each part between them."""
    done = at = 0
    while begin := _BEGIN.search(line, at):
        start, end, at = _object_at(line, begin.start())
        # A complete record is followed by the line end or the next record; an object inside a torn record is not.
        if start < end and _AFTER.match(line, end) and is_record(record := _decoded_or_none(line[start:end])):
            if not _is_blank(line[done:start]):
                yield Found(done, start, TORN)
            yield Found(start, end, record)
            done = end
    if not _is_blank(line[done:]):
        yield Found(done, len(line), TORN)


def _object_at(line: bytes, begin: int) -> tuple[int, int, int]:
    """
    Return the start and the end of an object that may be a record, and the position for the next search.

    The object is the one at *begin*. If that is torn, it is the object that closed directly before the tear: a record
    that was written there is parsed as a value of the torn one. Start and end are equal if there is no object.

    The next search starts at the tear: all objects before it are nested in the torn one, and are closed inside it or
    torn at the same byte. This keeps the work linear.
    """
    starts: list[int] = []  # the positions of open brackets
    expected = _VALUE
    at, closed = begin, (begin, begin)
    while (token := expected.match(line, at)) is not None:
        at = token.end()
        if token.lastgroup == "open":
            starts.append(at - 1)
            expected = _KEY_OR_END if line[at - 1] == _BRACE else _VALUE_OR_END
            continue
        if token.lastgroup == "close":
            closed = starts.pop(), at
            if not starts:
                return *closed, at
        expected = _NEXT_MEMBER if line[starts[-1]] == _BRACE else _NEXT_ITEM
    tear = _BLANKS.match(line, at).end()  # type: ignore[union-attr]  # it matches the empty text, too
    start, end = closed if closed[1] == at and _BEGIN.match(line, closed[0]) else (begin, begin)
    # A torn string ends at the first quote of the next record, which is two bytes after the brace of that record.
    return start, end, max(begin + 1, tear - 2)


_STRING = rb'"[^"\\\x00-\x1f]*+(?:\\.[^"\\\x00-\x1f]*+)*+"'
_SCALAR = _STRING + rb"|-?[0-9][0-9.eE+-]*+|true|false|null|NaN|-?Infinity"
_BLANK = rb"[ \t\r\n]*+"
_ONE_VALUE = rb"(?:(?P<open>[{[])|" + _SCALAR + rb")"
_MEMBER = _STRING + _BLANK + rb":" + _BLANK + _ONE_VALUE
_VALUE = re.compile(_BLANK + _ONE_VALUE)
_VALUE_OR_END = re.compile(_BLANK + rb"(?:(?P<close>\])|" + _ONE_VALUE + rb")")
_KEY_OR_END = re.compile(_BLANK + rb"(?:(?P<close>\})|" + _MEMBER + rb")")
_NEXT_ITEM = re.compile(_BLANK + rb"(?:(?P<close>\])|," + _BLANK + _ONE_VALUE + rb")")
_NEXT_MEMBER = re.compile(_BLANK + rb"(?:(?P<close>\})|," + _BLANK + _MEMBER + rb")")
_BRACE = ord("{")
_BLANKS = re.compile(_BLANK)
_BEGIN = re.compile(rb'\{"(?:id|trace_id)": ?"')
_AFTER = re.compile(rb"\s*(?:\{|\Z)")


def _decoded_or_none(piece: bytes) -> Any:
    try:
        return decode(piece)
    except ValueError:
        return None


def _is_blank(piece: bytes) -> bool:
    """Return whether *piece* contains only white space, a byte order mark, or the NULs that a power failure leaves."""
    return not piece.strip(b" \t\r\n\0\xef\xbb\xbf")
