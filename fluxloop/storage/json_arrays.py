"""
Find arrays of objects in encoded JSON, and the ends of their items, without decoding it.

The JSON is valid, and has no blanks between its tokens.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from hashlib import blake2b

import orjson


def likely_ends(content: bytes, size: int) -> Iterator[int]:
    """Yield where the items of an array probably end, given that its first *size* bytes are those of another array."""
    if content[size : size + 1] == b"]" and content[size - 1 : size] == b"}":
        yield size
    end = size + 1
    for _ in range(_ATTEMPTS):
        end = content.rfind(b"}]", 0, end) + 1
        if not end:
            return
        if end <= size:
            yield end


_ATTEMPTS = 3


def count_items(content: bytes) -> int:
    """Return the number of items; 0 if *content* is anything but the items of an array."""
    try:
        return len(orjson.loads(b"[%b]" % content))
    except ValueError:
        return 0


def keys_of(line: bytes, at: int) -> list[bytes]:
    """Return the keys of an array: a hash of its first two items, and one of its first item."""
    first = _ITEM.match(line, at)
    if first is None:
        return []
    second = _ITEM.match(line, first.end() + 1) if line[first.end()] == COMMA else None
    ends = [first.end()] if second is None else [second.end(), first.end()]
    return [blake2b(line[at:end], digest_size=16).digest() for end in ends]


def item_ends(line: bytes, at: int, stop: int | None = None) -> list[int]:
    """Return the end of each item of an array, from the one that begins at *at* to the last, or to *stop*."""
    ends = []
    while (stop is None or at < stop) and (item := _ITEM.match(line, at)) is not None:
        ends.append(item.end())
        if line[item.end()] != COMMA:
            break
        at = item.end() + 1
    return ends


def common_bytes(content: bytes, line: bytes, at: int) -> int:
    """Return how many bytes of *content* are equal to those of *line* from *at* on."""
    if line.startswith(content, at):
        return len(content)
    low, high = 0, min(len(content), len(line) - at)
    while low < high:
        middle = (low + high + 1) // 2
        if line.startswith(content[low:middle], at + low):
            low = middle
        else:
            high = middle - 1
    return low


def _nested(depth: int) -> bytes:
    """Return an expression for an array or an object that is nested up to *depth* levels."""
    plain = rb'[^"\[\]{}]++|' + _STRING
    nested = rb"[\[{](?:" + plain + rb")*+[\]}]"
    for _ in range(depth - 1):
        nested = rb"[\[{](?:" + plain + rb"|" + nested + rb")*+[\]}]"
    return nested


_STRING = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
_NESTED = _nested(10)
COMMA, END = AFTER_ITEM = b",]"
"""What follows an item: another one, or the end of the array."""

_ITEM = re.compile(_NESTED + rb"(?=[,\]])")
_SHORT = rb'"(?:[^"\\]|\\.){0,200}+"'
_SMALL = rb"[\[{](?:" + _SHORT + rb'|[^"\[\]{}]{1,200}+){0,50}+[\]}]'
_SMALL = rb"[\[{](?:" + _SHORT + rb'|[^"\[\]{}]{1,200}+|' + _SMALL + rb"){0,50}+[\]}]"
_VALUE = rb"(?:" + _SHORT + rb"|" + _SMALL + rb'|[^"\[\]{},]{1,200}+)'
"""A value that is skipped to find an array behind it: small, so that a large one that has no array costs nothing."""
_OTHERS = _SHORT + rb":(?!\[\{)" + _VALUE
"""A member with any value except an array of objects."""
_PLAIN = _SHORT + rb':(?!\[\{|\{")' + _VALUE
"""A member with any value except an object or an array of objects."""
FIRST = re.compile(
    rb"(?:\{(?:" + _PLAIN + rb",){0,8}+" + _SHORT + rb":){0,3}\[(?=\{)|"
    rb"\{(?:" + _OTHERS + rb",){0,8}+" + _SHORT + rb":\[(?=\{)"
)
"""The beginning of a value that is an array of objects, or has one in its first member that is an object or such an
array, and so on, or among its first members."""
NEXT = re.compile(rb"\](?:," + _OTHERS + rb"){0,8}+," + _SHORT + rb":\[(?=\{)")
"""What is between such an array and the next in the same object."""
