"""
The closed vocabularies of a record: types, levels and statuses.

They are plain string enumerations, apart from `fluxloop.models`, so that the recording path and
`import fluxloop` need no pydantic. A word is accepted in any case, from files and from users.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Literal, Self, TypeVar

W = TypeVar("W", bound=StrEnum)

SCHEMA_VERSION = 1
"""Written as ``schema`` on every trace line; goes up when a reader would have to change."""


_SYNONYMS = {
    "llm": "generation", "chat": "generation", "completion": "generation", "model": "generation",
    "function": "tool", "retriever": "retrieval", "embeddings": "embedding", "eval": "evaluation",
    "warn": "warning", "err": "error", "critical": "error", "fatal": "error", "trace": "debug", "notice": "info",
    "ok": "success", "succeeded": "success", "completed": "success", "failed": "error", "failure": "error",
    "canceled": "cancelled",
}  # fmt: skip
"""Other words for types, levels and statuses, as OpenTelemetry, logging and other tracers use them."""

_LOGGING_LEVELS = {10: "DEBUG", 20: "INFO", 30: "WARNING", 40: "ERROR", 50: "ERROR"}
"""The numbers of the standard library's `logging`."""


class _Word(StrEnum):
    """A string enumeration whose members are found in any case, and by usual synonyms."""

    __hash__ = str.__hash__  # that of enumerations is a function in Python, and these are looked up at each record

    @classmethod
    def _missing_(cls, value: object) -> Self | None:
        if isinstance(value, str):
            word = value.strip().lower()
            return cls.__members__.get(_SYNONYMS.get(word, word).upper())
        if type(value) is int:
            return cls.__members__.get(_LOGGING_LEVELS.get(value, ""))
        return None


def _direct(words: type[W]) -> type[W]:
    """Let members be plain attributes, as they are since Python 3.12; before, an access calls a function in Python."""
    for name, member in words.__members__.items():
        type.__setattr__(words, name, member)
    return words


@_direct
class ObservationType(_Word):
    """What an observation is. Values are lower case; records spell the name, as in ``"TOOL"``."""

    AGENT = "agent"
    SPAN = "span"
    TOOL = "tool"
    GENERATION = "generation"
    RETRIEVAL = "retrieval"
    EMBEDDING = "embedding"
    EVENT = "event"
    CHAIN = "chain"
    EVALUATION = "evaluation"


@_direct
class ObservationLevel(_Word):
    """How loud an observation is; ``ERROR`` goes with the status ``error`` and no other."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


@_direct
class Status(_Word):
    """
    How an observation ended, and with a root its trace.

    ``interrupted`` waits on a human, ``abandoned`` is a stream closed before its end or a scope
    that was never closed, ``crashed`` was still open when its process died.
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
