"""
The closed vocabularies of a record: types, levels and statuses.

They are string enumerations, in a module of their own so that recording and `import fluxloop` need no pydantic. Each
accepts its values in upper and lower case.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Literal, Self, TypeVar

E = TypeVar("E", bound=StrEnum)

SCHEMA_VERSION = 2
"""The version of the record format, written as ``schema`` in every trace; increased by incompatible changes."""

_SYNONYMS = {
    "llm": "generation", "chat": "generation", "completion": "generation", "model": "generation",
    "function": "tool", "retriever": "retrieval", "embeddings": "embedding", "eval": "evaluation",
    "warn": "warning", "err": "error", "critical": "error", "fatal": "error", "trace": "debug", "notice": "info",
    "ok": "success", "succeeded": "success", "completed": "success", "failed": "error", "failure": "error",
    "canceled": "cancelled",
}  # fmt: skip
"""Synonyms of types, levels and statuses, as used by OpenTelemetry, `logging` and other tracers."""

_LOGGING_LEVELS = {10: "DEBUG", 20: "INFO", 30: "WARNING", 40: "ERROR", 50: "ERROR"}
"""The numbers of the standard library's `logging`."""


class _NamedValue(StrEnum):
    """A string enumeration that accepts its values in any case, and common synonyms."""

    __hash__ = str.__hash__  # faster than that of `Enum`, which is written in Python

    @classmethod
    def _missing_(cls, value: object) -> Self | None:
        if isinstance(value, str):
            name = value.strip().lower()
            return cls.__members__.get(_SYNONYMS.get(name, name).upper())
        if type(value) is int:
            return cls.__members__.get(_LOGGING_LEVELS.get(value, ""))
        return None


def _with_plain_members(enum: type[E]) -> type[E]:
    """Make the members plain attributes, as in Python 3.12; in 3.11 each access calls a Python function."""
    for name, member in enum.__members__.items():
        type.__setattr__(enum, name, member)
    return enum


@_with_plain_members
class ObservationType(_NamedValue):
    """The kind of operation that an observation records. Records contain the upper-case name, such as ``"TOOL"``."""

    AGENT = "agent"
    SPAN = "span"
    TOOL = "tool"
    GENERATION = "generation"
    RETRIEVAL = "retrieval"
    EMBEDDING = "embedding"
    EVENT = "event"
    CHAIN = "chain"
    EVALUATION = "evaluation"


@_with_plain_members
class ObservationLevel(_NamedValue):
    """The severity of an observation. An observation with the status ``error`` has the level ``ERROR``."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


@_with_plain_members
class Status(_NamedValue):
    """
    How an observation ended. A trace has the status of its root.

    ``interrupted``: it waits for a human. ``abandoned``: a stream was closed before its end, or a scope was not closed.
    ``crashed``: it was open when its process died.
    """

    SUCCESS = "success"
    ERROR = "error"
    CANCELLED = "cancelled"
    INTERRUPTED = "interrupted"
    ABANDONED = "abandoned"
    CRASHED = "crashed"


TypeName = Literal[
    "agent", "span", "tool", "generation", "retrieval", "embedding", "event", "chain", "evaluation"
]  # fmt: skip
"""The names of `ObservationType`, for editors and type checkers."""

LevelName = Literal["debug", "info", "warning", "error"]
"""The names of `ObservationLevel`."""

StatusName = Literal["success", "error", "cancelled", "interrupted", "abandoned", "crashed"]
"""The names of `Status`."""
