"""
What the index keeps of a trace's line: its fields, with the first words of its values.
"""

from __future__ import annotations

from typing import Any

import orjson

from ...llm.prices import Counts
from ...storage.decoding import Json
from ..values import error_words, first_words

WORDS = 200
"""Characters kept of an input, an output or an error."""


def kept_of(record: Json) -> Json:
    """Return the fields of *record* that are kept, with the first words of its values."""
    if not record or IN_WORDS in record:
        return record
    get = record.get
    kept: Json = {name: value for name in _TEXTS if (value := get(name)) is not None}
    if not _IS_TEXT.issuperset(map(type, kept.values())):
        kept = {name: str(value) for name, value in kept.items()}
    duration, error, tags, usage = get("duration_ms"), get("error"), get("tags"), get("usage")
    if error is not None:
        kept["error"] = error_words(error, WORDS) if error else str(error)
    if type(duration) is float:
        kept["duration_ms"] = duration
    elif type(duration) is int and abs(duration) <= MOST_TOKENS:
        kept["duration_ms"] = float(duration)  # another writer
    if type(tags) is list:
        kept["tags"] = [tag for tag in tags if type(tag) is str]
    if usage and type(usage) is dict and (counts := counts_of(usage)) is not None:
        kept["usage"] = counts
    for name in ("input", "output"):
        if (value := get(name)) is not None:
            kept[name] = kept_value(value)
    kept[IN_WORDS] = True
    return kept


def kept_value(value: Any) -> str:
    """Return a small value as JSON behind a ``=``, and of a larger one the first words; see `words_of`."""
    try:
        text = orjson.dumps(value)
    except TypeError:  # a number beyond 64 bits
        return first_words(value, WORDS)
    return f"={text.decode()}" if len(text) <= 2 * WORDS else first_words(value, WORDS)


def words_of(kept: str | None) -> str | None:
    """Return the first words of a value, given what `kept_value` returned."""
    return first_words(orjson.loads(kept[1:]), WORDS) if kept and kept[0] == "=" else kept


_TEXTS = ("id", "name", "session_id", "user_id", "start_time", "end_time", "status")

_IS_TEXT = frozenset({str})

IN_WORDS = "in words"
"""Marks fields whose values are kept as their first words."""


def counts_of(usage: Json) -> Counts | None:
    """Return the token counts of a record; None if it has none."""
    get = usage.get
    counts: Any = (
        get("input_tokens"),
        get("output_tokens"),
        get("total_tokens"),
        get("cache_read_tokens"),
        get("cache_write_tokens"),
        get("reasoning_tokens"),
    )
    if not _COUNTS.issuperset(map(type, counts)):
        counts = tuple(map(_count, counts))
    return counts if counts != _NO_COUNTS else None


_COUNTS = frozenset({int, type(None)})
_NO_COUNTS = (None,) * 6


def _count(count: object) -> int | None:
    is_count = isinstance(count, int | float) and 0 <= count <= MOST_TOKENS
    return int(count) if is_count else None  # type: ignore[call-overload]


MOST_TOKENS = 2**53
"""A larger number is not a count."""
