"""
Mask secrets in encoded JSON, without decoding more than the strings that contain them.

That is enough for secrets that need no name before them: whether these are masked depends on their own string only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import orjson

from .prefilter import Hit

_QUOTE = b'"'
_BACKSLASH = ord("\\")
_BEFORE_VALUE = b"[:,"
_AFTER_VALUE = b",]}"


def mask_strings(
    encoded: bytes, hits: Iterable[Hit], mask: Callable[[str], tuple[str, int]]
) -> tuple[bytes, int] | None:
    """
    Return *encoded* with the strings around *hits* masked, and the number of masked places.

    Args:
        encoded: Compact JSON in UTF-8.
        hits: Matches that are inside of strings, in any order.
        mask: Masks the secrets in a text, and returns the text and their number.

    Returns:
        None if a hit is in a key, whose object has to be examined as a whole.
    """
    parts: list[bytes] = []
    done = places = 0
    last = -1
    for end in sorted({hit.end for hit in hits}):
        if end <= last:  # in the string before
            continue
        start = _opening(encoded, end)
        last = _closing(encoded, end)
        if start < done or last < 0 or not _is_value(encoded, start, last):
            return None
        masked, count = mask(orjson.loads(encoded[start : last + 1]))
        if count:
            parts += (encoded[done:start], orjson.dumps(masked))
            done = last + 1
            places += count
    return (b"".join((*parts, encoded[done:])), places) if places else (encoded, 0)


def _opening(encoded: bytes, at: int) -> int:
    """Return the place of the last quote before *at* that is not escaped; -1 if there is none."""
    while (at := encoded.rfind(_QUOTE, 0, at)) > 0 and _is_escaped(encoded, at):
        pass
    return at


def _closing(encoded: bytes, at: int) -> int:
    """Return the place of the first quote from *at* on that is not escaped; -1 if there is none."""
    at -= 1
    while (at := encoded.find(_QUOTE, at + 1)) > 0 and _is_escaped(encoded, at):
        pass
    return at


def _is_escaped(encoded: bytes, at: int) -> bool:
    """Return whether the quote at *at* is escaped: an odd number of backslashes is in front of it."""
    before = at - 1
    while before >= 0 and encoded[before] == _BACKSLASH:
        before -= 1
    return (at - before) % 2 == 0


def _is_value(encoded: bytes, start: int, end: int) -> bool:
    """Return whether the string from the quote at *start* to the quote at *end* is a value, and not a key."""
    is_begun = start == 0 or encoded[start - 1] in _BEFORE_VALUE
    return is_begun and (end + 1 == len(encoded) or encoded[end + 1] in _AFTER_VALUE)
