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


class EmbeddingLabel(str):
    """The label of an EMBEDDING, whose output has vectors."""


class UncheckedLabel(str):
    """A label whose name may contain a secret; it is masked by the redactor of each recorder that uses it."""

    kind: ObservationType
    name: str
    known: tuple[object, str] = (None, "")

    def masked(self, redactor: Masking) -> str:
        """Return the label with the secrets in its name masked."""
        known = self.known
        if known[0] is not redactor:
            label = f'"type":"{self.kind.name}","name":{quoted(redactor.name(self.name))}'
            self.known = known = (redactor, _typed(self.kind, label))
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
        return _typed(kind, label)
    unchecked = UncheckedLabel(label)
    unchecked.kind, unchecked.name = kind, name
    return unchecked


def _typed(kind: ObservationType, label: str) -> str:
    return EmbeddingLabel(label) if kind is ObservationType.EMBEDDING else label


def members(encoded: bytes) -> bytes:
    """Return the members of an encoded object, each after a comma; nothing for an empty object or any other value."""
    return b"," + encoded[1:-1] if encoded.startswith(b'{"') else b""


def utc_text(ns: int) -> str:
    """Return nanoseconds since 1970 as ISO 8601 in UTC, with microseconds and ``Z``."""
    begun, second = _second
    us = (ns - begun) // 1000
    if not 0 <= us < 1_000_000:
        begun, second = _begin_second(ns)
        us = (ns - begun) // 1000
    return f"{second}{_THREE_DIGITS[us // 1000]}{_THREE_DIGITS[us % 1000]}Z"


def _begin_second(ns: int) -> tuple[int, str]:
    """Return the second that *ns* is in, and keep it."""
    global _second
    begun = ns - ns % 1_000_000_000
    # One assignment, so that other threads read both or neither.
    _second = found = (begun, strftime("%Y-%m-%dT%H:%M:%S.", gmtime(ns // 1_000_000_000)))
    return found


def ms_text(ns: int) -> str:
    """Return nanoseconds as milliseconds with three decimals, truncated."""
    if ns < 0:
        return f"-{ms_text(-ns)}"
    us = ns // 1000
    return f"{us // 1000}.{_THREE_DIGITS[us % 1000]}"


def head_of(own_id: str, trace_id: str, parent_id: str | None, label: str, number: int, start_ns: int) -> bytes:
    """
    Return the opening brace and the first members of the record of an observation.

    Args:
        own_id: Its id, escaped for a JSON string.
        trace_id: The id of its trace as a JSON string, with quotes.
        parent_id: The id of its parent, escaped; None for the root.
        label: Its label, see `label_of`.
        number: Its number in the trace.
        start_ns: Its start in nanoseconds since 1970.
    """
    quote = '"'
    if parent_id is None:
        quote, parent_id = "", "null"
    begun, second = _second  # as in `utc_text`, without the call and the copy
    us = (start_ns - begun) // 1000
    if not 0 <= us < 1_000_000:
        begun, second = _begin_second(start_ns)
        us = (start_ns - begun) // 1000
    return (
        f'{{"id":"{own_id}","trace_id":{trace_id},"parent_id":{quote}{parent_id}{quote},{label},"seq":{number},'
        f'"start_time":"{second}{_THREE_DIGITS[us // 1000]}{_THREE_DIGITS[us % 1000]}Z"'
    ).encode()


def end_members(end_ns: int, duration_ns: int, following: str = "") -> bytes:
    """Return the members ``end_time`` and ``duration_ms`` of a record, each after a comma, and the *following* ones."""
    ms = f"0.{_THREE_DIGITS[us]}" if 0 <= (us := duration_ns // 1000) < 1000 else ms_text(duration_ns)
    begun, second = _second  # as in `utc_text`, without the call and the copy
    us = (end_ns - begun) // 1000
    if not 0 <= us < 1_000_000:
        begun, second = _begin_second(end_ns)
        us = (end_ns - begun) // 1000
    return (
        f',"end_time":"{second}{_THREE_DIGITS[us // 1000]}{_THREE_DIGITS[us % 1000]}Z","duration_ms":{ms}{following}'
    ).encode()


def datetime_of(ns: int) -> datetime:
    """Return nanoseconds since 1970 as an aware UTC datetime."""
    return _EPOCH + timedelta(microseconds=ns // 1000)


def ns_of(moment: datetime) -> int:
    """Return *moment* as nanoseconds since 1970; without a time zone, it is local time."""
    return (moment.astimezone(UTC) - _EPOCH) // timedelta(microseconds=1) * 1000
