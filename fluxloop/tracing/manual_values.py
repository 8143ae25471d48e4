"""
Read the values that a user set on an `ObservationData`, valid or not.

A value with a clear meaning is converted: ``level="warn"``, ``status="ok"``, a time as text or as a number. An invalid
value is moved to the metadata, under ``rejected``, with a warning. The observation is recorded in both cases.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from ..encoding.record_text import ns_of
from ..enums import ObservationLevel, ObservationType, Status
from ..llm.token_counts import read_usage

if TYPE_CHECKING:
    from ..models import ObservationData

_AS_GIVEN = ("status_message", "model_parameters")
"""Fields that are recorded without a check."""


@dataclass(slots=True)
class Values:
    """The values of an `ObservationData`, in the form that the record needs."""

    type: ObservationType = ObservationType.SPAN
    name: str = ""
    status: Status | None = None
    level: str | None = None
    start_ns: int | None = None
    end_ns: int | None = None
    error: str | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    fields: dict[str, Any] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)


def read_values(data: ObservationData) -> Values:
    """Return the values of *data*. Invalid values become warnings, never exceptions."""
    values = Values(name=str(data.name))
    rejected: dict[str, Any] = {}

    def read(name: str, reader: Callable[[Any], Any], accepted: str, default: Any = None) -> Any:
        value = getattr(data, name)
        if value is None:
            return default
        try:
            return reader(value)
        except (TypeError, ValueError, OverflowError):
            rejected[name] = value
            values.warnings.append(f"{name} of observation {values.name!r} must be {accepted}, got {value!r:.100}")
            return default

    values.metadata = read("metadata", _mapping, "a dict", {})
    values.type = read("type", ObservationType, _one_of(ObservationType), ObservationType.SPAN)
    values.status = read("status", Status, _one_of(Status))
    if "level" in data.model_fields_set:
        level = read("level", ObservationLevel, _one_of(ObservationLevel))
        values.level = level.name if level is not None else None
    values.start_ns = read("start_time", moment_ns, _TIME)
    values.end_ns = read("end_time", moment_ns, _TIME)
    if values.end_ns is not None and values.start_ns is not None and values.end_ns < values.start_ns:
        values.end_ns, rejected["end_time"] = None, data.end_time
        values.warnings.append(f"end_time of observation {values.name!r} is before its start, {data.start_time}")
    values.error = read("error", str, "a text")
    if isinstance(data.error, BaseException):
        values.metadata = {"error_type": type(data.error).__name__, **values.metadata}
    values.fields = {
        "model": read("model", str, "a text"),
        "provider": read("provider", str, "a text"),
        "usage": read("usage", _counts, "token counts, such as a `Usage`, a dict, or an SDK's usage object"),
        "time_to_first_token_ms": read("time_to_first_token_ms", float, "a number of milliseconds"),
        "finish_reasons": read("finish_reasons", _texts, "a list of texts"),
        **{name: getattr(data, name) for name in _AS_GIVEN},
    }
    values.fields = {name: value for name, value in values.fields.items() if value is not None and value != {}}
    if rejected:
        values.metadata = {**values.metadata, "rejected": rejected}
    return values


_TIME = "a time: a datetime, ISO 8601 text, or seconds since 1970"

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_MAX_SECONDS = 100_000_000_000
"""Larger numbers are milliseconds, microseconds or nanoseconds: as seconds they would lie after the year 5000."""


def moment_ns(value: object) -> int:
    """
    Return a time as nanoseconds since 1970.

    Args:
        value: A datetime (without a time zone it is local time), ISO 8601 text, or a number since 1970. The unit of a
            number is inferred from its size.

    Raises:
        ValueError: If *value* is something else.
    """
    if isinstance(value, datetime):
        return ns_of(value)
    if isinstance(value, str):
        return ns_of(datetime.fromisoformat(value.strip()))
    if isinstance(value, int | float) and not isinstance(value, bool):
        seconds = float(value)
        while abs(seconds) > _MAX_SECONDS:
            seconds /= 1_000
        return ns_of(_EPOCH + timedelta(seconds=seconds))
    raise ValueError(value)


def _one_of(enum: Any) -> str:
    return "one of " + ", ".join(member.value for member in enum)


def _mapping(value: object) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise ValueError(value)
    return {str(key): item for key, item in value.items()}


def _texts(value: object) -> list[str]:
    if isinstance(value, str):
        return [value]
    if not isinstance(value, list | tuple | set | frozenset):
        raise ValueError(value)
    return [str(item) for item in value]


def _counts(value: Any) -> dict[str, int]:
    if isinstance(value, bool | int | float | str):
        raise ValueError(value)
    if isinstance(value, Mapping):
        value = {_SHORT_NAMES.get(name, name): _number(count) for name, count in value.items()}
    counts = read_usage(value)
    if counts is None and _has_counts(value):
        raise ValueError(value)
    return counts or {}


_SHORT_NAMES = {"input": "input_tokens", "output": "output_tokens", "total": "total_tokens"}


def _number(count: object) -> object:
    return int(count) if isinstance(count, str) and count.isdecimal() else count


def _has_counts(usage: Any) -> bool:
    """Return whether *usage* contains anything: an empty dict or an empty `Usage` is valid."""
    return bool(usage) if isinstance(usage, dict) else getattr(usage, "reported", True)
