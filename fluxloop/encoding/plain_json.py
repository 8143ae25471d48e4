"""
Encode plain data with orjson, unless it is too large.

orjson encodes a value as a whole, and holds the interpreter lock until it is done. `is_large` estimates the size of a
value from a few items of each container, in microseconds whatever the value is. orjson gets no
``default`` function: it would call it, and so let other threads run, in the middle of a list whose items it reads
without holding references to them. What orjson refuses is left to `fluxloop.encoding.cleaning`.
"""

from __future__ import annotations

import datetime
import sys
from collections.abc import Callable
from gc import is_tracked
from itertools import islice
from types import MethodDescriptorType
from typing import Any, TypeAlias

import orjson

from . import enum_classes
from .introspection import namespace

Dumps: TypeAlias = Callable[[object, None, int], bytes]

WITH_DATES = orjson.OPT_PASSTHROUGH_DATACLASS
"""Dataclasses are refused, as some of them are contexts that reference half the program."""
OPTIONS = WITH_DATES | orjson.OPT_PASSTHROUGH_DATETIME
"""Dates are refused as well: orjson ends the process if the time zone of one raises. See `has_plain_dates`."""
CHECKED_ITEMS = 20_000
"""Items of a value whose dates are checked; with more of them, the value is cleaned."""
ITEM_BYTES = 2
"""The least that an item of a container takes in JSON: a digit and a comma."""
SAMPLED_ITEMS = 8
"""Items of a list that are sampled, at even distances and with the last."""
SAMPLED_FIELDS = 32
"""Values of a dict that are sampled."""
SAMPLED_CONTAINERS = 100
"""Containers of one value that are sampled."""
PROBES = 4
"""Containers that are followed inwards, of those that are not sampled."""
FOLLOWED_FIELDS = 16
"""Arguments of a call, or other outermost fields, that are followed inwards."""
MANY_PATHS = 1_000
"""Paths into a container from which its items are counted."""
MOST_DEEP = 254
"""Containers inside each other that orjson encodes."""
CHUNK = 1_024
"""Items of a list, or fields of a dict, that are encoded together where a value is cleaned."""


def dumps_with_dates(value: Any) -> bytes | None:
    """Return *value* as JSON if it is plain data but for dates that orjson can be given, else None."""
    try:
        return dumps(value, None, WITH_DATES) if has_plain_dates(value) else None
    except TypeError:
        return None


def has_plain_dates(value: Any) -> bool:
    """
    Return whether *value* is plain data but for dates, and these have time zones of the standard library or none.

    Such a value can be encoded with `WITH_DATES`.
    """
    date, moment, time, zone = _DATES
    containers: list[tuple[Any, ...] | list[Any]] = [(value,)]
    seen, found = 0, False
    for items in containers:  # grows meanwhile
        seen += len(items)
        if seen > CHECKED_ITEMS:
            return False
        for item in items:
            kind = type(item)  # compared by identity, as a metaclass may have a hash of its own
            if kind is str or kind is int or kind is float or item is None or kind is bool:
                continue
            if kind is dict:
                containers.append(tuple(item.values()))
            elif kind is list or kind is tuple:
                containers.append(item)
            elif kind is moment:
                its_zone = item.tzinfo
                if its_zone is not None and type(its_zone) is not zone and not _is_named_zone(type(its_zone)):
                    return False
                found = True
            elif kind is date or (kind is time and item.tzinfo is None):
                found = True
            else:
                return False
    return found


_DATES = (datetime.date, datetime.datetime, datetime.time, datetime.timezone)
"""In a tuple, as freezegun replaces these classes where they are attributes of modules."""


def _is_named_zone(zone: type) -> bool:
    """Return whether *zone* is the class of named zones as it is written in C, whose methods do not raise."""
    # It is not imported here, as that takes long. It may be another class that was put there, or be written in Python.
    is_named = zone is getattr(sys.modules.get("zoneinfo"), "ZoneInfo", None)
    return is_named and type(namespace(zone).get("utcoffset")) is MethodDescriptorType


def may_repeat(value: Any, limit_bytes: int) -> bool:
    """
    Return whether *value* may have the same containers so often that its JSON exceeds *limit_bytes*.

    The last container in each is followed inwards, which takes about a microsecond. Where each list has the former one
    twice, each is twice as long as that.
    """
    # The garbage collector tracks no scalars, and no dicts with scalars only.
    for item in islice(filter(is_tracked, value.values()), FOLLOWED_FIELDS) if type(value) is dict else (value,):
        size = ITEM_BYTES
        for _ in range(MOST_DEEP):
            kind = type(item)
            if kind is dict:
                size *= len(item)
                item = next(filter(is_tracked, reversed(item.values())), None)
            elif (kind is list or kind is tuple) and item:
                size *= len(item)
                item = item[-1]
            else:
                break
            if size > limit_bytes:
                return True
    return False


def is_large(value: Any, limit_bytes: int) -> bool:
    """Return whether the JSON of *value* is estimated to exceed *limit_bytes*; no code of its classes runs."""
    return measured(value, limit_bytes)[0]


def measured(value: Any, limit_bytes: int) -> tuple[bool, int]:
    """Return `is_large`, and the number of containers that were sampled to find it out."""
    size = 0
    containers, weights = [value], [1]
    for done, (container, weight) in enumerate(zip(containers, weights, strict=False), 1):  # both grow meanwhile
        count, step, items = _sampled(container, type(container))
        size += count * weight * ITEM_BYTES
        weight *= step
        for item in items:
            kind = type(item)
            if kind is str:
                size += len(item) * weight
            elif kind is not int and kind is not float and item is not None and kind is not bool:
                containers.append(item)
                weights.append(weight)
        if size > limit_bytes:
            return True, len(containers)
        if len(containers) > SAMPLED_CONTAINERS:
            step = (len(containers) - done) // PROBES + 1
            are_deep = any(map(_is_deep, containers[: done - 1 : -step]))
            return are_deep and _has_more_items(value, limit_bytes // ITEM_BYTES), len(containers)
    return False, len(containers)


def _is_deep(container: Any) -> bool:
    """Return whether *container* has so many others inside that it may have the same ones again and again."""
    product = 1
    for _ in range(MOST_DEEP):
        count, _, items = _sampled(container, type(container))
        inner = next((item for item in items if type(item) not in _SCALARS), None)
        if inner is None:
            return False
        container, product = inner, product * count
        if product > MANY_PATHS:
            return True
    return False  # orjson refuses it


def _has_more_items(value: Any, most: int) -> bool:
    """Return whether *value* has more than *most* items, counted as often as they are written."""
    counts: dict[int, int] = {}
    pending, entered, seen = [value], set[int](), 0
    while pending:
        container = pending[-1]
        length, inner = _inner(container)
        new = [item for item in inner if id(item) not in counts] if id(container) not in entered else []
        entered.add(id(container))
        if new:
            seen += length
            pending += new
            continue
        pending.pop()
        count = length + sum(counts.get(id(item), 0) for item in inner)  # none of a container that is inside itself
        counts[id(container)] = count
        if count > most or seen > most:
            return True
    return False


def _inner(value: Any) -> tuple[int, list[Any]]:
    """Return the length of a dict, list or tuple, and what is in it but for scalars."""
    base = next((base for base in _CONTAINERS if issubclass(type(value), base)), None)
    if base is None:
        return 0, []
    items = dict.values(value) if base is dict else base.__getitem__(value, slice(None))
    return base.__len__(value), [item for item in items if type(item) not in _SCALARS]


_CONTAINERS: tuple[Any, ...] = (dict, list, tuple)
_SCALARS = frozenset((str, int, float, bool, type(None)))


def _sampled(value: Any, kind: type) -> tuple[int, int, list[Any]]:
    """Return length, distance of the samples and samples of a str, dict, list or tuple; orjson refuses all others."""
    if issubclass(kind, str):
        return str.__len__(value) // ITEM_BYTES, 1, []
    if issubclass(kind, dict):
        count = dict.__len__(value)
        return count, max(count // SAMPLED_FIELDS, 1), list(islice(dict.values(value), SAMPLED_FIELDS))
    for base in (list, tuple):
        if issubclass(kind, base):
            count = base.__len__(value)
            step = count // SAMPLED_ITEMS + 1
            return count, step, list(base.__getitem__(value, slice(None, None, -step)))
    return 0, 1, []


def has_short_texts(encoded: bytes, limit_bytes: int) -> bool:
    """
    Return whether no string in *encoded* JSON exceeds *limit_bytes*; where that takes long to find out, return False.

    An unescaped quote is the edge of a string, so one in each stretch of that length means no long string.
    """
    edge, attempts = 0, ESCAPED_QUOTES
    while len(encoded) - edge > limit_bytes:
        quote = encoded.rfind(b'"', edge + 1, edge + 1 + limit_bytes)
        while quote > 0 and encoded[quote - 1] == _BACKSLASH and attempts:
            attempts -= 1
            quote = encoded.rfind(b'"', edge + 1, quote)
        if quote < 0 or not attempts:
            return False
        edge = quote
    return True


ESCAPED_QUOTES = 1_000
"""Escaped quotes skipped while looking for a long string; a text with more of them is cleaned."""
_BACKSLASH = ord("\\")


def limits_depth(encode: Dumps) -> bool:
    """Return whether *encode* refuses tuples that are nested too deep, as it does lists and dicts."""
    nested: object = None
    for _ in range(300):
        nested = (nested,)
    try:
        encode(nested, None, OPTIONS)
    except TypeError:
        return True
    return False


def dumps_without_containers(value: object, default: None, options: int) -> bytes:
    """Do what `dumps` does, for values that certainly hold no tuple."""
    if type(value) not in (str, int, float, bool, type(None)):
        raise TypeError("this orjson does not limit the depth of tuples")
    return orjson.dumps(value, default, options)


dumps_safe: Dumps = orjson.dumps if limits_depth(orjson.dumps) else dumps_without_containers
"""
``dumps_safe(value, None, OPTIONS)`` returns *value* as JSON, or raises TypeError if it is anything but plain data.

orjson 3.12 and 3.13 end the process on a deep or circular tuple, so FluxLoop requires an older release. If a newer
one is installed anyway, containers are cleaned first, which takes longer.
"""


def dumps(value: object, default: None, options: int) -> bytes:
    """Do what `dumps_safe` does, but read the members of enumerations that orjson must not be given."""
    if enum_classes.may_hold_unsafe(value):
        value = enum_classes.without_members(value)
    return dumps_safe(value, default, options)
