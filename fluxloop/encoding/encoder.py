"""
Turn any Python value into JSON bytes.

`Encoder.encode` always returns valid JSON, redacted, of bounded size. It never raises, and never consumes or changes
what it is given: what JSON cannot represent becomes a tagged string (see `fluxloop.encoding.converters`), and what is
too long is truncated where it is too long, with a marker that gives the missing amount. A value that is plain data, as
nearly every value is, costs one call of orjson and one scan for secrets.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import EnumMeta
from gc import is_tracked
from sys import getrefcount
from typing import Any, Protocol, TypeAlias

import orjson

from ..interruptions import was_raised_from_outside
from . import enum_classes
from .cleaning import Cleaning
from .converters import register
from .histories import with_fragments
from .introspection import name_of
from .limits import JSON, Limits, Redacting
from .long_text import valid_utf8
from .plain_json import OPTIONS, Dumps, dumps, dumps_safe, dumps_with_dates, has_short_texts, may_repeat, measured

__all__ = ["JSON", "Encoder", "Limits", "Marks", "Reader", "Redacting", "register"]


class Marks(Protocol):
    """The record being built: it counts the places that were masked and that were truncated."""

    redacted: int
    truncated: int


Reader: TypeAlias = Callable[[Any], object]
"""Turns objects that an adapter knows into plain data; returns all others as they are."""


class Encoder:
    """Encodes captured values, within *limits* and masked by *redactor*. Safe to share between threads."""

    def __init__(self, limits: Limits | None = None, redactor: Redacting | None = None) -> None:
        self.limits = limits or Limits()
        self._short = min(self.limits.leaf_bytes, self.limits.value_bytes)
        self._redactor = redactor or NoRedaction()
        self._suspects = self._redactor.suspects
        self._parts = self if redactor is None else Encoder(self.limits)
        self._dumps: Dumps = self._measured_dumps
        self._measured_left = MEASURED_CONTAINERS
        self._read_first = 0
        """The number of values that are read before orjson is given them, as earlier ones had objects."""

    def encode(self, value: object, marks: Marks, read: Reader | None = None) -> bytes:
        """
        Return *value* as JSON; what was masked and what was truncated is added to *marks*.

        Never raises an `Exception`: if all else fails, the JSON is a string that reports the failure.

        Args:
            value: Anything.
            marks: The record it is for.
            read: Is given a value that is not plain data, or too long, and returns what is to be recorded of it. It may
                be given others, too, and returns plain data as it is.
        """
        # Python 3.11 reads them faster than it calls them on the object.
        dumps = self._dumps if getrefcount(EnumMeta) == enum_classes.references else self._careful_dumps
        suspects = self._suspects
        try:
            if read is not None and self._read_first > 0:  # an exception of orjson takes longer than reading a value
                self._read_first -= 1
                value, read = read(value), None
                short = self._with_histories(value)
                if short is not None:
                    return self._masked(short, marks) if suspects(short) else short
            try:
                encoded = dumps(value, None, OPTIONS)
            except Exception as exc:  # not plain data, or too large
                if was_raised_from_outside(exc):
                    raise
                if read is not None:
                    self._read_first = READ_FIRST
                    value = read(value)
                short = self._with_histories(value)
                if short is None and read is not None:
                    return self.encode(value, marks)
                if short is None and type(exc) is orjson.JSONEncodeError:
                    short = self._with_dates(value)
                encoded = self._cleaned(value, marks) if short is None else short
            else:
                if len(encoded) > self._short and not self._fits(encoded):
                    encoded = self._cleaned(value, marks)
            return self._masked(encoded, marks) if suspects(encoded) else encoded
        except Exception as exc:  # no failure here may reach the program; the loss is counted
            if was_raised_from_outside(exc):
                raise
            marks.truncated += 1
            return orjson.dumps(valid_utf8(f"<could not be recorded: {name_of(type(value))}>"))

    def encode_part(self, value: object, marks: Marks) -> bytes:
        """Return *value* as JSON, not masked yet: an item of a stream, whose secrets continue in the next."""
        encoded = self._parts.encode(value, marks)
        return encoded if len(encoded) <= self.limits.leaf_bytes else self.encode(value, marks)

    def quick(self, value: dict[str, object], read: Reader | None = None) -> bytes | None:
        """
        Return what `encode` would, if *value* is plain data, short, and holds no secret; else None.

        *read* is for its members ``input`` and ``output``.
        """
        try:
            if read is not None and self._read_first > 0:
                value = {name: read(item) if name in _CAPTURED else item for name, item in value.items()}
            dumps = self._dumps if getrefcount(EnumMeta) == enum_classes.references else self._careful_dumps
            encoded = dumps(value, None, OPTIONS)
            return None if len(encoded) > self._short or self._suspects(encoded) else encoded
        except Exception as exc:  # not plain data
            if was_raised_from_outside(exc):
                raise
            return None

    def _measured_dumps(self, value: object, default: None, options: int) -> bytes:
        """
        Do what `dumps` does, but refuse a value that is too large, before it is encoded as a whole.

        In most programs no value is large, so only the first values are measured, and all after a large one.
        """
        large, containers = measured(value, self.limits.value_bytes)
        if large:
            self._measured_left, self._dumps = -1, self._measured_dumps
            raise ValueError("the value is too large to be encoded as a whole")
        if self._measured_left > 0:
            enum_classes.look_for_members(value)
            self._measured_left -= containers
            if self._measured_left <= 0:
                self._dumps = self._usual_dumps
        return dumps(value, default, options)

    def _usual_dumps(self, value: object, default: None, options: int) -> bytes:
        """Do what `_measured_dumps` does, where the first values were small, and had no members of enumerations."""
        if is_tracked(value) and may_repeat(value, self.limits.value_bytes):
            return self._measured_dumps(value, default, options)
        return dumps_safe(value, default, options)

    def _careful_dumps(self, value: object, default: None, options: int) -> bytes:
        """Do what `_dumps` does, for values that may have members of enumerations; see `enum_classes`."""
        if self._dumps != self._usual_dumps:
            return self._dumps(value, default, options)
        encode = self._measured_dumps if may_repeat(value, self.limits.value_bytes) else dumps
        return encode(value, default, options)

    def _fits(self, encoded: bytes) -> bool:
        """Return whether *encoded* is within the limits; where that takes long to find out, the answer is False."""
        if len(encoded) > self.limits.value_bytes:
            self._measured_left, self._dumps = -1, self._measured_dumps
            return False
        return has_short_texts(encoded, self.limits.leaf_bytes)

    def _with_histories(self, value: object) -> bytes | None:
        """Return *value* as JSON if it has a `History`, is plain data otherwise, and is within the limits."""
        made = with_fragments(value, self.limits.value_bytes)
        if made is None:
            return None
        dumps = self._dumps if getrefcount(EnumMeta) == enum_classes.references else self._careful_dumps
        try:
            encoded = dumps(made, None, OPTIONS)
        except Exception as exc:  # not plain data, or too large
            if was_raised_from_outside(exc):
                raise
            return None
        return encoded if len(encoded) <= self._short or self._fits(encoded) else None

    def _with_dates(self, value: object) -> bytes | None:
        """Return *value* as JSON if it is plain data but for dates, and within the limits."""
        encoded = dumps_with_dates(value)
        return encoded if encoded is not None and (len(encoded) <= self._short or self._fits(encoded)) else None

    def _cleaned(self, value: object, marks: Marks) -> bytes:
        budget = self.limits.value_bytes - min(self.limits.value_bytes // 16, MARKERS_BYTES)
        for _ in range(PASSES):
            cleaning = Cleaning(self.limits, budget, self._redactor)
            encoded = orjson.dumps(cleaning.clean(value))
            if len(encoded) <= self.limits.value_bytes:
                break
            # The pass counts characters before they are escaped; escapes and markers made the JSON longer.
            budget = budget * self.limits.value_bytes // len(encoded) * 9 // 10
        else:
            cleaning.truncated += 1
            encoded = orjson.dumps(f"<{name_of(type(value))}: too long to be recorded>")
        marks.truncated += cleaning.truncated
        marks.redacted += cleaning.redacted
        return encoded

    def _masked(self, encoded: bytes, marks: Marks) -> bytes:
        masked, count = self._redactor.redact_json(encoded)
        marks.redacted += count
        return masked


class NoRedaction:
    """Redaction switched off."""

    def suspects(self, encoded: bytes) -> bool:
        return False

    def redact(self, value: JSON) -> tuple[JSON, int]:
        return value, 0

    def redact_json(self, encoded: bytes) -> tuple[bytes, int]:
        return encoded, 0


MEASURED_CONTAINERS = 1_000
"""Containers, in values, that are measured before an encoder stops to, if no value was large."""
_CAPTURED = ("input", "output")
READ_FIRST = 16
"""Values that are read first after one that orjson refused. The next one is not, as plain ones may follow."""
MARKERS_BYTES = 2_048
"""Bytes of a value that are left for markers."""
PASSES = 4
"""Attempts to bring a value full of escaped characters under its limit."""
