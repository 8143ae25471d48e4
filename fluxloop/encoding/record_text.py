"""
Format the parts of a record line: quoted text, time stamps, members.

A line is assembled from parts that are JSON already, which is several times faster than
building an object and encoding it as a whole.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from time import gmtime, strftime
from typing import Protocol

from orjson import dumps

from ..enums import ObservationType

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_second: tuple[int, str] = (0, "1970-01-01T00:00:00.")
"""The last formatted second, in nanoseconds and as text: time stamps come in bursts within one second."""

_THREE_DIGITS = tuple(f"{number:03d}" for number in range(1_000))
"""A lookup of three digits takes a quarter of the time of formatting them; every record has six such groups."""


def quoted(text: str) -> str:
    """Return *text* as a JSON string, with quotes; lone surrogates become ``?``."""
    try:
        return dumps(text).decode()
    except TypeError:  # a lone surrogate
        return dumps(text.encode(errors="replace").decode()).decode()


class UncheckedLabel(str):
    """A label whose name may contain a secret; it is masked by the redactor of each recorder that uses it."""

    kind: ObservationType
    name: str
    known: tuple[object, str] = (None, "")

    def masked(self, redactor: Masking) -> str:
        """Return the label with the secrets in its name masked."""
        known = self.known
        if known[0] is not redactor:
            self.known = known = (redactor, f'"type":"{self.kind.name}","name":{quoted(redactor.name(self.name))}')
        return known[1]


class Masking(Protocol):
    """Masks names, see `fluxloop.redaction.Redactor`."""

    def name(self, name: str) -> str:
        """Return *name* masked."""


_PLAIN_NAME = re.compile(r"[A-Za-z_.<>-]{0,40}[0-9]{0,4}").fullmatch
"""Names without a secret: nearly all names of functions."""


def label_of(kind: ObservationType, name: str) -> str:
    """Return the members ``"type":…,"name":…`` of a record; an `UncheckedLabel` if the name may contain a secret."""
    label = f'"type":"{kind.name}","name":{quoted(name)}'
    if _PLAIN_NAME(name) is not None:
        return label
    unchecked = UncheckedLabel(label)
    unchecked.kind, unchecked.name = kind, name
    return unchecked


def members(encoded: bytes) -> bytes:
    """Return the members of an encoded object, each after a comma; nothing for an empty object or any other value."""
    return b"," + encoded[1:-1] if encoded.startswith(b'{"') else b""


def utc_text(ns: int) -> str:
    """Return nanoseconds since 1970 as ISO 8601 in UTC, with microseconds and ``Z``."""
    global _second
    begun, text = _second
    rest = ns - begun
    if rest // 1_000_000_000:  # another second
        rest = ns % 1_000_000_000
        text = strftime("%Y-%m-%dT%H:%M:%S.", gmtime(ns // 1_000_000_000))
        _second = (ns - rest, text)  # one assignment, so that other threads read both or neither
    us = rest // 1000
    return f"{text}{_THREE_DIGITS[us // 1000]}{_THREE_DIGITS[us % 1000]}Z"


def ms_text(ns: int) -> str:
    """Return nanoseconds as milliseconds with three decimals, truncated."""
    if ns < 0:
        return f"-{ms_text(-ns)}"
    us = ns // 1000
    return f"{us // 1000}.{_THREE_DIGITS[us % 1000]}"


def end_members(start_ns: int, end_ns: int) -> str:
    """Return the members ``end_time`` and ``duration_ms`` of a record, each after a comma."""
    us = (end_ns - start_ns) // 1000
    ms = f"{us // 1000}.{_THREE_DIGITS[us % 1000]}" if us >= 0 else ms_text(end_ns - start_ns)
    return f',"end_time":"{utc_text(end_ns)}","duration_ms":{ms}'


def datetime_of(ns: int) -> datetime:
    """Return nanoseconds since 1970 as an aware UTC datetime."""
    return _EPOCH + timedelta(microseconds=ns // 1000)


def ns_of(moment: datetime) -> int:
    """Return *moment* as nanoseconds since 1970; without a time zone, it is local time."""
    return (moment.astimezone(UTC) - _EPOCH) // timedelta(microseconds=1) * 1000
