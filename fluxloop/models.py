"""
Records as Python objects: `ObservationData`, `TraceData`, `Usage`, and the tree `Trace`.

Users create `ObservationData` for manual instrumentation, and `fluxloop.read_traces` returns `Trace` objects. The
recording path writes the same fields without creating these objects.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import (
    AliasChoices,
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    SerializerFunctionWrapHandler,
    ValidationError,
    field_serializer,
    field_validator,
    model_validator,
)
from pydantic_core import core_schema

from .enums import SCHEMA_VERSION, LevelName, ObservationLevel, ObservationType, Status, StatusName, TypeName
from .report import warn_user
from .trajectory import Calls

__all__ = [
    "SCHEMA_VERSION",
    "ObservationData",
    "ObservationLevel",
    "ObservationType",
    "Score",
    "Status",
    "Trace",
    "TraceData",
    "Usage",
]


def _now() -> datetime:
    return datetime.now(UTC)


if TYPE_CHECKING:
    from .llm.context_diff import ContextDiff
    from .llm.prices import Cost

    Time = datetime
else:

    class _DatetimeSchema:
        """An explicit schema: pydantic does not recognize `datetime` while a test library replaces the class."""

        @staticmethod
        def __get_pydantic_core_schema__(source: Any, handler: Any) -> Any:
            return core_schema.datetime_schema()

    # This module may be imported while freezegun replaces `datetime` by a subclass.
    _real_datetime = next(cls for cls in datetime.__mro__ if cls.__module__ == "datetime")
    Time = Annotated[_real_datetime, _DatetimeSchema]


class Usage(BaseModel):
    """
    The token counts of a model call, or of a trace.

    ``input_tokens`` includes cached tokens and ``output_tokens`` includes reasoning tokens, for every provider. A count
    that was not reported is None, not zero.
    """

    input_tokens: int | None = None
    output_tokens: int | None = None
    total_tokens: int | None = None
    cache_read_tokens: int | None = None
    cache_write_tokens: int | None = None
    reasoning_tokens: int | None = None

    @property
    def reported(self) -> bool:
        """Whether any count was reported."""
        return any(count is not None for _, count in self)

    def __add__(self, other: Usage) -> Usage:
        """Return the sum; a count that neither operand reports stays None."""
        pairs = ((name, count, getattr(other, name)) for name, count in self)
        return Usage(**{name: a if b is None else b if a is None else a + b for name, a, b in pairs})


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
    start_time: Time = Field(default_factory=_now)
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
        from .llm.context_diff import context_diff

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


class TraceData(BaseModel):
    """
    The data of a trace: one run of the program.

    ``status``, ``error``, ``input`` and ``output`` are copied from the root observation. ``usage`` counts each model
    call once.
    """

    model_config = ConfigDict(populate_by_name=True, coerce_numbers_to_str=True)

    trace_id: str = Field(validation_alias=AliasChoices("trace_id", "id"))
    name: str = ""
    session_id: str | None = None
    user_id: str | None = None
    start_time: Time | None = None
    end_time: Time | None = None
    duration_ms: float | None = None
    status: Status | None = None
    error: str | None = None
    input: Any = None
    output: Any = None
    metadata: dict[str, Any] = Field(default_factory=dict)
    tags: list[str] = Field(default_factory=list)
    usage: Usage | None = None
    schema_version: int = Field(default=SCHEMA_VERSION, alias="schema")


class Score(BaseModel):
    """A judgement of a trace: the feedback of a user, the result of a check. See `fluxloop.score`."""

    model_config = ConfigDict(coerce_numbers_to_str=False)

    id: str
    trace_id: str
    name: str
    value: bool | int | float | str
    comment: str | None = None
    time: Time


class Trace(TraceData):
    """
    A trace read from records, as a tree of observations.

    ``observations`` are in start order. ``status`` is None while the program is running. Every observation can be
    reached from a root: an observation without a recorded parent is a root. If damaged records form a cycle of parents,
    one of them is a root.
    """

    observations: list[ObservationData] = Field(default_factory=list)
    """In a trace read from records, a list-like sequence that builds each observation on first access."""

    _index: tuple[int, _Index] | None = PrivateAttr(default=None)
    _pricer: Callable[[Trace], Cost | None] | None = PrivateAttr(default=None)
    _scores: list[Score] = PrivateAttr(default_factory=list)
    _score_files: Callable[[str], list[Score]] | None = PrivateAttr(default=None)

    @field_validator("observations", mode="before")
    @classmethod
    def _as_list(cls, observations: Any) -> Any:
        return list(observations) if isinstance(observations, Sequence) else observations

    @field_serializer("observations", mode="wrap")
    def _listed(self, observations: Any, serialize: SerializerFunctionWrapHandler) -> Any:
        return serialize(list(observations))

    @property
    def cost(self) -> Cost | None:
        """What the model calls of a trace that was read back cost; None where there are no prices."""
        return self._pricer(self) if self._pricer is not None else None

    @property
    def scores(self) -> list[Score]:
        """The scores of the trace, by time. Those in files are read when they are asked for."""
        # Nothing is kept: traces that were read twice stay equal, whichever was asked.
        in_files = [] if self._score_files is None else self._score_files(self.trace_id)
        by_id = {score.id: score for score in [*self._scores, *in_files]}
        return sorted(by_id.values(), key=lambda score: score.time)

    def _set_scores(self, scores: list[Score], files: Callable[[str], list[Score]] | None) -> None:
        self._scores, self._score_files = scores, files

    def __repr__(self) -> str:
        """Return the name, status and size; a trace can have a million observations."""
        status = self.status.value if self.status else "running"
        duration = "" if self.duration_ms is None else f", {self.duration_ms:,.1f} ms"
        return f"<Trace {self.name!r} {self.trace_id}: {status}{duration}, {len(self.observations):,} observations>"

    __str__ = __repr__

    def _repr_html_(self) -> str:
        """Return the tree as HTML; notebooks show it."""
        from .trace_html import html_of

        return html_of(self)

    @property
    def roots(self) -> list[ObservationData]:
        """The observations without a recorded parent, in start order."""
        return [self.observations[index] for index in self._by_parent().get(None, ())]

    def children(self, parent: ObservationData) -> list[ObservationData]:
        """Return the children of *parent*, in start order."""
        return [self.observations[index] for index in self._by_parent().get(parent.id, ())]

    def walk(self) -> Iterator[tuple[int, ObservationData]]:
        """Yield every observation with its depth, parents before children; the depth of a root is 0."""
        by_parent = dict(self._by_parent())
        pending = [(0, index) for index in reversed(by_parent.pop(None, ()))]
        while pending:
            depth, index = pending.pop()
            observation = self.observations[index]
            yield depth, observation
            pending += [(depth + 1, child) for child in reversed(by_parent.pop(observation.id, ()))]

    def find(
        self,
        *,
        type: ObservationType | TypeName | None = None,
        name: str | None = None,
        status: Status | StatusName | None = None,
    ) -> Calls[ObservationData]:
        """Return the observations with this type, name and status, in start order; None allows any."""
        kind = None if type is None else ObservationType(type)
        ending = None if status is None else Status(status)
        found = (
            observation
            for observation in self.observations
            if (kind is None or observation.type is kind)
            and (name is None or observation.name == name)
            and (ending is None or observation.status is ending)
        )
        return Calls(found, repr(name) if name is not None else "it")

    def tools(self, name: str | None = None) -> Calls[ObservationData]:
        """Return the calls of the tool *name*, or of all tools: ``trace.tools("search").called_once_with(q=ANY)``."""
        return self.find(type=ObservationType.TOOL, name=name)

    @property
    def tool_calls(self) -> Calls[ObservationData]:
        """The calls of all tools: ``trace.tool_calls.before("search", "book")``."""
        return self.tools()

    @property
    def calls(self) -> list[str]:
        """The names of the tools that were called, in start order: ``trace.calls == ["search", "book"]``."""
        return self.tools().names

    @property
    def models(self) -> list[str]:
        """The models that were called, each once, in the order of their first call."""
        return list(dict.fromkeys(o.model for o in self.find(type=ObservationType.GENERATION) if o.model))

    @property
    def errors(self) -> Calls[ObservationData]:
        """The observations that ended with an error."""
        return self.find(status=Status.ERROR)

    @property
    def unfinished(self) -> Calls[ObservationData]:
        """The observations that did not end by themselves: still open, abandoned, or open in a crashed process."""
        left = {None, Status.ABANDONED, Status.CRASHED}
        return Calls((o for o in self.observations if o.status in left), "it")

    def count_usage(self) -> Usage | None:
        """
        Return the usage of all observations, with each model call counted once.

        The usage of an observation is ignored if a descendant reports usage: frameworks repeat the counts of model
        calls on the enclosing steps and agents.
        """
        total: Usage | None = None
        counted: set[str | None] = set()
        for _, observation in reversed(list(self.walk())):
            if observation.id not in counted:
                if not (observation.usage and observation.usage.reported):
                    continue
                total = total + observation.usage if total else observation.usage
            counted.add(observation.parent_id)
        return total

    def _by_parent(self) -> _Index:
        """Return the tree, rebuilt when the number of observations has changed."""
        if self._index is None or self._index[0] != len(self.observations):
            self._index = len(self.observations), positions_by_parent(_links(self.observations))
        return self._index[1]


_Index = dict[str | None, list[int]]
"""The positions of the children, by the id of the parent; the roots are under None."""


def _links(observations: list[ObservationData]) -> list[tuple[str, str | None]]:
    """Return the id and parent id of each observation; a lazy sequence has them without building observations."""
    links: Callable[[], list[tuple[str, str | None]]] | None = getattr(observations, "links", None)
    return links() if links else [(o.id, o.parent_id) for o in observations]


def positions_by_parent(links: list[tuple[str, str | None]]) -> _Index:
    """
    Return the positions of the children by the id of their parent; roots are under None.

    Args:
        links: The id and the parent's id of each observation. One whose parent is missing is a root.
    """
    known = {id for id, _ in links}
    by_parent: _Index = {}
    for index, (_, parent) in enumerate(links):
        by_parent.setdefault(parent if parent in known else None, []).append(index)
    reached: set[str | None] = {None}
    _add_descendants(None, by_parent, links, reached)
    for index, (id, parent) in enumerate(links):
        if id not in reached:  # it is in a cycle of parents: make it a root
            by_parent[parent].remove(index)
            by_parent.setdefault(None, []).append(index)
            reached.add(id)
            _add_descendants(id, by_parent, links, reached)
    return by_parent


def _add_descendants(
    start: str | None, by_parent: _Index, links: list[tuple[str, str | None]], reached: set[str | None]
) -> None:
    """Add the ids of all descendants of *start* to *reached*."""
    pending = [start]
    while pending:
        ids = {links[index][0] for index in by_parent.get(pending.pop(), ())} - reached
        reached |= ids
        pending += ids
