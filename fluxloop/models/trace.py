"""
`Trace`: a trace read from records, as a tree of observations, with `TraceData` and `Score`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from pydantic import (
    AliasChoices,
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    SerializerFunctionWrapHandler,
    field_serializer,
    field_validator,
)

from ..enums import SCHEMA_VERSION, ObservationType, Status, StatusName, TypeName
from ..trajectory import Calls
from .observation import ObservationData
from .tree import Positions, links_of, positions_by_parent
from .values import Time, Usage

if TYPE_CHECKING:
    from ..llm.prices import Cost


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

    _index: tuple[int, Positions] | None = PrivateAttr(default=None)
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
        from ..trace_html import html_of

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

    def _by_parent(self) -> Positions:
        """Return the tree, rebuilt when the number of observations has changed."""
        if self._index is None or self._index[0] != len(self.observations):
            self._index = len(self.observations), positions_by_parent(links_of(self.observations))
        return self._index[1]
