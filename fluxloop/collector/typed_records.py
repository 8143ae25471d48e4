"""
Read observations as the recorder writes them, in a third of the time that `RowMaker` takes for any record.

msgspec checks the types of the fields that a row needs, and skips the values of all others. It is an accelerator: a
line that it does not accept, or that has something unusual in it, is left to `RowMaker`, and so is every line where
msgspec is not installed. The rows are the same.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from typing import Annotated, Any, Literal

from ..llm.prices import Counts
from ..models import Usage
from ..reading.catalog.facts import CODES, TYPES
from .record_rows import MAX_ID, MAX_TEXT, MOST_TOKENS, Observation, time_us

LEVELS = ("INFO", "ERROR", "WARNING", "DEBUG")

LONGEST_MS = 1e15
"""A longer duration is none."""

PRICED = frozenset({"GENERATION", "EMBEDDING"})
"""Types of observations that have a price."""

Price = Callable[[str, Any, str, int, Counts], float | None]
"""Returns the price of a call: of a model, a provider, a context, a time in microseconds, and token counts."""

_CONTEXT = ("service_tier", "processing", "speed")
"""What prices depend on, see `fluxloop.llm.prices.context_of`; calls with it are left to `RowMaker`."""

_COUNTS = tuple(Usage.model_fields)
_NO_COUNTS = (None,) * len(_COUNTS)


def typed_reader(price: Price | None) -> Callable[[bytes], Observation | None] | None:
    """
    Return a function that returns the row of a line, or None for a line that is left to `RowMaker`.

    None if msgspec is not installed.
    """
    if find_spec("msgspec") is None:
        return None
    from msgspec import DecodeError
    from msgspec.structs import astuple

    decode = _decoder()
    refused = (DecodeError, RecursionError, UnicodeDecodeError)
    new = tuple.__new__

    def read(line: bytes) -> Observation | None:
        if not line.startswith(_BEGIN) or (line.find(b"\\") >= 0 and line.find(b"\\u") >= 0):
            return None  # perhaps a NUL, or a lone surrogate, which msgspec does not see in a value that it skips
        try:
            if not line.isascii():
                line.decode()
            record = decode(line)
        except refused:
            return None
        # Named once, in one statement: every other way takes several times as long.
        (trace_id, id, parent_id, kind, name, status, level, start, duration_ms, model, usage, provider, metadata,
            parameters, output, other, other_parent) = astuple(record)  # fmt: skip
        if other is not None or other_parent is not None or type(duration_ms) is int:
            return None  # by another writer
        if not (start_us := time_us(start)) and start:
            return None
        given = made = total = 0
        cost = None
        if usage is not None and (counts := astuple(usage)) != _NO_COUNTS:
            given, made, total = counts[0] or 0, counts[1] or 0, counts[2]
            if total is None:
                total = min(given + made, MOST_TOKENS)
            if price is not None and model and kind in PRICED:
                if _has_context(metadata) or _has_context(parameters) or _mentions_context(output):
                    return None
                cost = price(model, provider, "", start_us, counts)
        if len(name) > MAX_TEXT:
            name = name[:MAX_TEXT]
        model = model[:MAX_TEXT] if model else None
        head = (trace_id, id, parent_id, kind, name, status, level)
        values = (*head, start_us, duration_ms, model, given, made, total, cost, line)
        return new(Observation, values)  # without the call that gives the fields names

    return read


_BEGIN = b'{"id"'
"""Observations of the recorder begin with it, and traces' lines do not."""


def _decoder() -> Callable[[bytes], Any]:
    """Return a function that decodes a line with the fields of an observation as the recorder writes them."""
    from msgspec import Meta, Raw, defstruct
    from msgspec.json import Decoder

    id = Annotated[str, Meta(min_length=1, max_length=MAX_ID)]
    count = Annotated[int, Meta(ge=0, le=MOST_TOKENS)] | None
    duration = Annotated[float, Meta(gt=-LONGEST_MS, lt=LONGEST_MS)] | int | None
    usage = defstruct("Usage", [(name, count, None) for name in _COUNTS], gc=False)
    context = defstruct("Context", [(name, Raw | None, None) for name in _CONTEXT], gc=False)
    fields: list[Any] = [
        ("trace_id", id),
        ("id", id),
        ("parent_id", Annotated[str, Meta(min_length=1)] | None),
        ("type", Literal[tuple(TYPES)]),
        ("name", str),
        ("status", Literal[tuple(CODES)]),
        ("level", Literal[LEVELS], "INFO"),
        ("start_time", str),
        ("duration_ms", duration, None),
        ("model", str | None, None),
        ("usage", usage | None, None),
        ("provider", str | None, None),
        ("metadata", context | None, None),
        ("model_parameters", context | None, None),
        ("output", Raw, None),
        ("record", Raw, None),  # this one and the next are of other records
        ("parent_observation_id", Raw, None),
    ]
    decode: Callable[[bytes], Any] = Decoder(defstruct("Own", fields, gc=False, kw_only=True)).decode
    return decode


def _has_context(values: Any) -> bool:
    return values is not None and (
        values.service_tier is not None or values.processing is not None or values.speed is not None
    )


def _mentions_context(output: Any) -> bool:
    """Whether an encoded value may have one of `_CONTEXT`."""
    if output is None:
        return False
    text = bytes(output)
    return text.startswith(b"{") and any(text.find(name.encode()) >= 0 for name in _CONTEXT)
