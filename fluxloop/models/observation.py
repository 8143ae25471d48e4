"""
`ObservationData`: one recorded operation, created by users and by readers.

What a program creates is never refused: values that no field accepts are kept in the metadata, with a warning.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, ValidationError, model_validator

from ..enums import LevelName, ObservationLevel, ObservationType, Status, StatusName, TypeName
from ..report import warn_user
from .values import Time, Usage, now

if TYPE_CHECKING:
    from ..llm.context_diff import ContextDiff


class ObservationData(BaseModel):
    """
    One recorded operation, with a start, an end, an input and an output.

    Create one for manual instrumentation. All fields that are set before `FluxLoopContext.pop_observation` are recorded
    as given, including times, ids and token counts. ``type`` accepts an `ObservationType` or its name in any case.

    The field names of FluxLoop 0.1 are accepted: ``parent_observation_id``, ``llm_parameters``,
    ``prompt_tokens``, ``completion_tokens`` and ``total_tokens``.
    """

    model_config = ConfigDict(
        populate_by_name=True, protected_namespaces=(), arbitrary_types_allowed=True, coerce_numbers_to_str=True
    )

    id: str = Field(default_factory=lambda: str(uuid.uuid4()))
    trace_id: str | None = None
    parent_id: str | None = Field(default=None, validation_alias=AliasChoices("parent_id", "parent_observation_id"))
    type: ObservationType
    name: str
    seq: int | None = None
    status: Status | None = None
    level: ObservationLevel = ObservationLevel.INFO
    status_message: str | None = None
    start_time: Time = Field(default_factory=now)
    end_time: Time | None = None
    duration_ms: float | None = None
    input: Any = None
    output: Any = None
    error: str | None = None
    metadata: dict[str, Any] = Field(default_factory=dict)
    model: str | None = None
    provider: str | None = None
    model_parameters: dict[str, Any] | None = Field(
        default=None, validation_alias=AliasChoices("model_parameters", "llm_parameters")
    )
    usage: Usage | None = None
    time_to_first_token_ms: float | None = None
    finish_reasons: list[str] | None = None
    redacted: int = 0
    truncated: int = 0

    if TYPE_CHECKING:  # the names of types and levels are accepted too, and the fields of FluxLoop 0.1

        def __init__(
            self,
            *,
            name: str,
            type: ObservationType | TypeName,
            id: str = ...,
            trace_id: str | None = ...,
            parent_id: str | None = ...,
            parent_observation_id: str | None = ...,
            status: Status | StatusName | None = ...,
            level: ObservationLevel | LevelName = ...,
            status_message: str | None = ...,
            start_time: datetime | str | float = ...,
            end_time: datetime | str | float | None = ...,
            duration_ms: float | None = ...,
            input: object = ...,
            output: object = ...,
            error: str | None = ...,
            metadata: Mapping[str, Any] | None = ...,
            model: str | None = ...,
            provider: str | None = ...,
            model_parameters: Mapping[str, Any] | None = ...,
            llm_parameters: Mapping[str, Any] | None = ...,
            usage: Usage | Mapping[str, Any] | object | None = ...,
            prompt_tokens: int | None = ...,
            completion_tokens: int | None = ...,
            total_tokens: int | None = ...,
            time_to_first_token_ms: float | None = ...,
            finish_reasons: list[str] | None = ...,
            redacted: int = ...,
            truncated: int = ...,
            seq: int | None = ...,
        ) -> None: ...

    else:  # a type checker reports a misspelled attribute

        def __setattr__(self, name: str, value: Any) -> None:
            """Set a field; any other attribute is kept in the metadata, with a warning."""
            if name.startswith("_") or name in type(self).model_fields or hasattr(type(self), name):
                super().__setattr__(name, value)
            else:
                self.metadata = {**(self.metadata if isinstance(self.metadata, dict) else {}), name: value}
                warn_user(f"an observation has no field {name!r}; the value is kept in its metadata")

        def __getattr__(self, name: str) -> Any:
            """Return the value of an attribute that is not a field; None if it was not set."""
            if name.startswith("_"):
                return super().__getattr__(name)
            metadata = self.__dict__.get("metadata")
            return metadata.get(name) if isinstance(metadata, dict) else None

    @model_validator(mode="wrap")
    @classmethod
    def _coerced(cls, values: Any, handler: Any, info: Any) -> Any:
        """Move invalid values to the metadata when a program creates an observation; readers handle them themselves."""
        try:
            return handler(values)
        except ValidationError as error:
            if info.context or not isinstance(values, dict):
                raise
            return handler(_acceptable(values, error))

    @model_validator(mode="before")
    @classmethod
    def _token_spellings(cls, values: Any) -> Any:
        """Copy ``prompt_tokens`` and other fields of FluxLoop 0.1 to ``usage``, unless ``usage`` is given."""
        if (
            not isinstance(values, dict)
            or _TOKEN_SPELLINGS.keys().isdisjoint(values)
            or values.get("usage") is not None
        ):
            return values
        counts = {ours: values[theirs] for theirs, ours in _TOKEN_SPELLINGS.items() if values.get(theirs) is not None}
        return {**values, "usage": counts} if counts else values

    def context_diff(self, other: ObservationData) -> ContextDiff:
        """Return what this model call was given that *other*, an earlier one, was not: messages, tools and settings."""
        from ..llm.context_diff import context_diff

        return context_diff(other, self)

    def _tokens(self, field: str) -> int | None:
        return getattr(self.usage, field) if self.usage else None

    def _set_tokens(self, field: str, count: int | None) -> None:
        self.usage = (self.usage or Usage()).model_copy(update={field: count})

    @property
    def prompt_tokens(self) -> int | None:
        """The name of ``usage.input_tokens`` in FluxLoop 0.1; can be set."""
        return self._tokens("input_tokens")

    @prompt_tokens.setter
    def prompt_tokens(self, count: int | None) -> None:
        self._set_tokens("input_tokens", count)

    @property
    def completion_tokens(self) -> int | None:
        """The name of ``usage.output_tokens`` in FluxLoop 0.1; can be set."""
        return self._tokens("output_tokens")

    @completion_tokens.setter
    def completion_tokens(self, count: int | None) -> None:
        self._set_tokens("output_tokens", count)

    @property
    def total_tokens(self) -> int | None:
        """The same as ``usage.total_tokens``; can be set."""
        return self._tokens("total_tokens")

    @total_tokens.setter
    def total_tokens(self, count: int | None) -> None:
        self._set_tokens("total_tokens", count)


def _acceptable(values: dict[str, Any], error: ValidationError) -> dict[str, Any]:
    """Return *values* with the values that *error* rejects moved to the metadata, each with a warning."""
    rejected: dict[str, Any] = {}
    kept = dict(values)
    for problem in error.errors(include_url=False, include_input=False, include_context=False):
        name = str(problem["loc"][0]) if problem["loc"] else ""
        if problem["type"] == "missing" or name not in kept:
            continue
        rejected[name] = kept.pop(name)
        warn_user(f"{name} of an observation cannot be {rejected[name]!r:.100}: {problem['msg']}")
    if "type" in rejected:
        kept["type"] = ObservationType.SPAN
    if "name" in rejected:
        kept["name"] = str(rejected["name"])
    metadata = kept.get("metadata")
    kept["metadata"] = {**(metadata if isinstance(metadata, dict) else {}), "rejected": rejected}
    return kept


_TOKEN_SPELLINGS = {
    "prompt_tokens": "input_tokens",
    "completion_tokens": "output_tokens",
    "total_tokens": "total_tokens",
}
"""The token fields of FluxLoop 0.1, and the corresponding fields of `Usage`."""
