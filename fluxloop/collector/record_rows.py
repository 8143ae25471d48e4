"""
The rows of records: what a store keeps of an observation, of the line of a trace, and of a score.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from ..llm.prices import Counts
from ..reading.building import in_utc
from ..reading.moments import iso_utc

MAX_TEXT = 1_024
"""Characters of a name or another text by which records are found; the line itself is kept whole."""

MAX_ID = 512
"""Characters of an id."""

MOST_TOKENS = 10**9
"""A larger count is cut, so that sums fit in the integers of every database."""

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MOST_US = 253_402_300_799_999_999
"""The last microsecond of the year 9999."""


class Refusal(ValueError):
    """A value is not a record; the message is the reason."""


class Observation(NamedTuple):
    """The row of an observation."""

    trace_id: str
    id: str
    parent_id: str | None
    type: str
    name: str
    status: str | None
    """None while the observation is open."""
    level: str
    start_us: int
    """Microseconds since 1970; 0 if no time was recorded."""
    duration_ms: float | None
    model: str | None
    input_tokens: int
    output_tokens: int
    tokens: int
    cost: float | None
    """In US dollars, at the prices when it was received; None without a price."""
    line: bytes

    @property
    def is_error(self) -> bool:
        """Whether it ended with an error."""
        return self.status == "error"


class TraceLine(NamedTuple):
    """The row of a trace's own line."""

    trace_id: str
    name: str
    session_id: str | None
    user_id: str | None
    status: str
    start_us: int
    duration_ms: float | None
    error: str | None
    input: str | None
    output: str | None
    """The first words, as the index of files keeps them; of the input, too."""
    tags: list[str]
    metadata: list[str]
    """Top-level keys as ``key``, and as ``key=value`` where the value is a text, a number or a flag."""
    counts: tuple[int, int, int] | None
    """Input, output and all tokens; None if the line has no usage."""
    line: bytes


class Score(NamedTuple):
    """The row of a score."""

    trace_id: str
    id: str
    name: str
    value: Any
    comment: str | None
    time_us: int
    line: bytes


Row = Observation | TraceLine | Score


CRASHED = "crashed"
"""The status of what a dead process left open, by its journal, which may be older than the record of the end."""


def is_open(row: Observation) -> bool:
    """Whether *row* is the start of an observation, which its end replaces."""
    return row.status is None


def is_provisional(row: Observation | TraceLine) -> bool:
    """Whether *row* never replaces an end: it is a start, or says that the process died."""
    return row.status is None or row.status == CRASHED


def time_us(text: object) -> int:
    """Return a recorded time in microseconds since 1970; 0 for anything that is not a time of this calendar."""
    if type(text) is not str:
        return 0
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        return 0
    since = (time if text.endswith("Z") else in_utc(time)) - EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def iso_of(us: int | None) -> str | None:
    """Return microseconds since 1970 as a time of the record format; None for no time."""
    if not us or not -_MOST_US < us <= _MOST_US:
        return None
    return iso_utc(EPOCH + timedelta(microseconds=us))


def plain(value: object) -> str:
    """Return *value* as a text that every database stores: without NUL, and of `MAX_TEXT` characters at most."""
    text = value if type(value) is str else str(value)
    if "\0" in text:
        text = text.replace("\0", "�")
    return text[:MAX_TEXT]


def id_of(value: object) -> str:
    """
    Return *value* as an id.

    Raises:
        Refusal: If it is empty.
    """
    text = str(value).replace("\0", "�")
    if not text:
        raise Refusal("an id is empty")
    return text


def sums_of(counts: Counts | None) -> tuple[int, int, int]:
    """Return the input, output and all tokens."""
    if counts is None:
        return 0, 0, 0
    given, made, total = counts[0] or 0, counts[1] or 0, counts[2]
    total = given + made if total is None else total
    return min(given, MOST_TOKENS), min(made, MOST_TOKENS), min(total, MOST_TOKENS)
