"""
Turn any Python value into JSON bytes.

`Encoder.encode` always returns valid JSON, redacted, of a size known beforehand. It never raises and never consumes
or changes what it is given: what JSON cannot say becomes a tagged string (see `fluxloop.encoding.converters`),
what is too long is cut where it is too long, with a marker that says how much is missing. A value that orjson takes
as it is, nearly every value, costs one call of orjson and one look for secrets.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, TypeAlias

import orjson

from ..interruptions import was_raised_from_outside
from .cleaning import JSON, Cleaning, Limits, Redacting, mended
from .converters import register
from .dumps import AS_IT_IS, dumps
from .introspection import name_of

__all__ = ["JSON", "Encoder", "Limits", "Marks", "Reader", "Redacting", "register"]


class Marks(Protocol):
    """The record being built: it counts the places masked and the places cut."""

    redacted: int
    truncated: int


Reader: TypeAlias = Callable[[Any], object]
"""Turns objects an adapter knows into plain data; what it does not know it returns as it is."""


class Encoder:
    """Encodes captured values, within *limits* and masked by *redactor*. Safe to share between threads."""

    def __init__(self, limits: Limits | None = None, redactor: Redacting | None = None) -> None:
        self.limits = limits or Limits()
        self._short = min(self.limits.leaf_bytes, self.limits.value_bytes)
        self._redactor = redactor or NoRedaction()
        self._suspects = self._redactor.suspects
        self._parts = self if redactor is None else Encoder(self.limits)

    def encode(self, value: object, marks: Marks, read: Reader | None = None) -> bytes:
        """
        Return *value* as JSON; what was masked and what was cut is added to *marks*.

        Never raises an `Exception`: if all else fails, the JSON is a string which says so.

        Args:
            value: Anything.
            marks: The record it is for.
            read: Is given a value that is not JSON as it is, and returns what is to be recorded of it.
        """
        try:
            try:
                encoded = dumps(value, None, AS_IT_IS)
            except Exception as exc:  # JSON cannot say it as it is
                if was_raised_from_outside(exc):
                    raise
                if read is not None:
                    return self.encode(read(value), marks)
                encoded = self._cleaned(value, marks)
            else:
                if len(encoded) > self._short and not self._fits(encoded):
                    encoded = self._cleaned(value, marks)
            return self._masked(encoded, marks) if self._suspects(encoded) else encoded
        except Exception as exc:  # nothing that can go wrong here may reach the program; the loss is counted
            if was_raised_from_outside(exc):
                raise
            marks.truncated += 1
            return orjson.dumps(_unrecorded(value))

    def encode_part(self, value: object, marks: Marks) -> bytes:
        """Return *value* as JSON, not masked yet: an item of a stream, whose secrets continue in the next."""
        encoded = self._parts.encode(value, marks)
        return encoded if len(encoded) <= self.limits.leaf_bytes else self.encode(value, marks)

    def quick(self, value: object) -> bytes | None:
        """Return what `encode` would, if *value* is JSON as it is, short, and holds no secret; else None."""
        try:
            encoded = dumps(value, None, AS_IT_IS)
            return None if len(encoded) > self._short or self._suspects(encoded) else encoded
        except Exception as exc:  # then `encode` says what is to be done
            if was_raised_from_outside(exc):
                raise
            return None

    def plain(self, value: object) -> JSON:
        """Return *value* as JSON-safe data within the limits, not masked: for readers that go on building."""
        try:
            return Cleaning(self.limits, self.limits.value_bytes, NoRedaction(), finishing=False).clean(value)
        except Exception as exc:  # as in `encode`
            if was_raised_from_outside(exc):
                raise
            return _unrecorded(value)

    def _fits(self, encoded: bytes) -> bool:
        """
        Return whether *encoded* is within the limits; where that is not quickly seen, the answer is no.

        An unescaped quote is the edge of a string, so one in each stretch of ``leaf_bytes`` means no long string.
        """
        if len(encoded) > self.limits.value_bytes:
            return False
        edge, looks, stretch = 0, MOST_LOOKS, self.limits.leaf_bytes
        while len(encoded) - edge > stretch:
            quote = encoded.rfind(b'"', edge + 1, edge + 1 + stretch)
            while quote > 0 and encoded[quote - 1] == _BACKSLASH and looks:
                looks -= 1
                quote = encoded.rfind(b'"', edge + 1, quote)
            if quote < 0 or not looks:
                return False
            edge = quote
        return True

    def _cleaned(self, value: object, marks: Marks) -> bytes:
        budget = self.limits.value_bytes
        for _ in range(PASSES):
            cleaning = Cleaning(self.limits, budget, self._redactor, finishing=True)
            encoded = orjson.dumps(cleaning.clean(value))
            if len(encoded) <= self.limits.value_bytes:
                break
            # The pass counts characters as they are; escaped ones and the markers made it longer.
            budget = budget * self.limits.value_bytes // len(encoded) * 9 // 10
        else:
            cleaning.truncated += 1
            encoded = orjson.dumps(f"<{name_of(type(value))}: too long to be recorded>")
        marks.truncated += cleaning.truncated
        marks.redacted += cleaning.redacted
        return encoded

    def _masked(self, encoded: bytes, marks: Marks) -> bytes:
        value, count = self._redactor.redact(orjson.loads(encoded))
        marks.redacted += count
        return orjson.dumps(value)


def _unrecorded(value: object) -> str:
    return mended(f"<could not be recorded: {name_of(type(value))}>")


class NoRedaction:
    """Redaction switched off."""

    def suspects(self, encoded: bytes) -> bool:
        return False

    def redact(self, value: JSON) -> tuple[JSON, int]:
        return value, 0


MOST_LOOKS = 1_000
"""Escaped quotes passed over while looking for a long string; text full of them is left to the slow pass."""
PASSES = 4
"""Attempts to bring a value full of escaped characters under its limit."""
_BACKSLASH = ord("\\")
