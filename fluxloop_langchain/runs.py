"""
What a run is, read from the few words its start event says about it.

LangChain tells most things by tags and metadata, of which a run also has those of all runs above it. Here is
which of them mean what, which say something about a run of its own, and which runs are only plumbing.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple
from uuid import UUID

from fluxloop import ObservationType
from fluxloop.bridge import Entry

from .orphan_runs import IdRef

CHAIN, AGENT = ObservationType.CHAIN, ObservationType.AGENT

KINDS = {
    "model": ObservationType.GENERATION,
    "tool": ObservationType.TOOL,
    "retriever": ObservationType.RETRIEVAL,
}
"""What a run is recorded as by its event; of chains see `Run.kind`."""

HIDDEN = "langsmith:hidden"
"""The tag by which LangChain and LangGraph mark what nobody wants to see."""

PLUMBING = frozenset(
    {
        *("RunnableSequence", "RunnableParallel", "RunnableAssign", "RunnablePick", "RunnablePassthrough"),
        *("RunnableWithFallbacks", "RunnableBranch", "RunnableEach", "RunnableBinding", "RunnableConfigurableFields"),
        *("ChannelWrite", "ChannelRead", "Branch"),
    }
)
"""Runnables that only connect others, under the names they have where nobody gave them one."""

BETWEEN = frozenset({"prompt", "parser"})
"""Steps whose input is what the step before gave, and whose output what the next was given, or the chain gave."""

MARK, OF_AGENT = "ls_integration", "langchain_create_agent"
"""The metadata that all runs in an agent made by ``create_agent`` have, since langchain 1.2."""

AGENT_LOOP = frozenset({"model", "tools"})
"""The nodes every such agent consists of; the model and tool runs in them say all there is."""

AGENT_EDGES = frozenset({"model_to_tools", "model_to_model", "tools_to_model"})
"""What ``create_agent`` of older langchain runs between its nodes, as no other graph does."""

INTERNAL_TAGS = ("seq:step:", "graph:step:", "map:key:", "retry:attempt:", "condition:", "branch:", "langsmith:")
INTERNAL_METADATA = ("ls_", "lc_", "langgraph_", "checkpoint_ns", "__")
"""How those tags and metadata begin that the frameworks add by themselves."""

SESSIONS = ("session_id", "thread_id", "conversation_id")
"""Metadata that name the conversation a run belongs to, the most telling first."""


class Marks(NamedTuple):
    """What the tags of a run say."""

    is_hidden: bool
    is_node: bool
    """Whether it is the run of a LangGraph node."""
    attempt: int | None
    own: tuple[str, ...]
    """The user's tags."""


@lru_cache(maxsize=1_000)
def marks_of(tags: tuple[str, ...]) -> Marks:
    """Return what *tags* say; they are few, and the same in every run of a program."""
    attempts = (int(tag.rpartition(":")[2]) for tag in tags if tag.startswith("retry:attempt:"))
    return Marks(
        HIDDEN in tags,
        any(tag.startswith("graph:step:") for tag in tags),
        next(attempts, None),
        tuple(tag for tag in tags if not tag.startswith(INTERNAL_TAGS)),
    )


@lru_cache(maxsize=1_000)
def names_in(metadata: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return which names of a run's metadata are the user's, and which say where in a graph it is."""
    own = tuple(name for name in metadata if not name.startswith(INTERNAL_METADATA))
    return own, tuple(name for name in metadata if name.startswith("langgraph_"))


NO_MARKS = Marks(is_hidden=False, is_node=False, attempt=None, own=())


@dataclass(slots=True, eq=False)
class Run:
    """A run, as its start event tells of it; kept in the ledger until it ends."""

    handler: Any
    """Who was told; another handler that is told as well leaves it alone."""
    event: str
    """``chain``, ``model``, ``tool`` or ``retriever``."""
    key: Hashable
    """By which the ledger has it, see `key_of`."""
    name: str
    """What it was called by its user, or else its class."""
    given: Any
    """What it was given, as the event has it."""
    marks: Marks
    metadata: dict[str, Any]
    extra: dict[str, Any]
    """The rest of what the event said, such as ``invocation_params``."""
    above: Entry | None
    """Its parent; None where we never saw that begin."""
    id_ref: IdRef = None
    """Its id itself, which is not kept, see `fluxloop_langchain.orphan_runs`."""
    is_streamed: bool = False
    """Whether its input is still to come."""
    model: str | None = None
    """The model that was asked for."""
    started: int | None = None
    """When it began, by the recorder's clock, where it is folded and may be recorded only later."""
    asked: dict[str, None] | None = None
    """The ids of what runs inside it ask a human; None where none does."""
    is_answer: bool = False
    """Whether it brings an answer, and that is not recorded yet."""
    failure: int | None = None
    """Which exception ended the last run inside it that failed; its number, as the exception holds on to much."""
    more: Any = None
    """For whoever overrides the handler."""

    def kind(self) -> ObservationType:
        """Return what it is recorded as: of chains those of ``create_agent`` as AGENT; no name makes an agent."""
        if self.event != "chain":
            return KINDS[self.event]
        if self.metadata.get(MARK) != OF_AGENT or self.node() is not None:
            return CHAIN
        agent = self.metadata.get("lc_agent_name")
        around: dict[str, Any] = self.above.about.metadata if self.above is not None else {}
        # A chain that a tool calls has the agent's marks too, as has an agent inside an agent if both are nameless.
        is_inside = around.get(MARK) == OF_AGENT and around.get("lc_agent_name") == agent
        return CHAIN if is_inside and self.name != (agent or "LangGraph") else AGENT

    def is_plumbing(self) -> bool:
        """Whether it is hidden by its framework, or only connects others and nobody gave it a name."""
        if self.marks.is_hidden and (self.event == "chain" or not self.inherits_hiding()):
            return True
        if self.above is None or self.event != "chain":
            return False
        name = self.name
        if name in AGENT_LOOP:
            return self.metadata.get(MARK) == OF_AGENT and self.node() == name
        if self.extra.get("run_type") in BETWEEN or name in PLUMBING:
            return True
        if name in AGENT_EDGES:
            return self.is_agent_edge()
        return "<" in name and name[: name.index("<")] in PLUMBING

    def inherits_hiding(self) -> bool:
        """Whether it is marked as hidden only because what it runs in is, as tags go down to all that runs there."""
        return self.above is not None and self.above.about.marks.is_hidden

    def is_agent_edge(self) -> bool:
        """Whether the graph this runs in is an agent made by an older ``create_agent``."""
        return self.name in AGENT_EDGES and "langgraph_node" in self.metadata

    def node(self) -> str | None:
        """Return the name of the LangGraph node this is the run of; None for every other run."""
        return self.metadata.get("langgraph_node") if self.marks.is_node else None

    def inherited(self) -> Run | None:
        """Return the nearest run above it that is recorded."""
        above = self.above
        while above is not None and above.is_folded:
            above = above.parent
        return above.about if above is not None else None

    def own_tags(self) -> list[str]:
        """Return the user's tags that the run above does not have."""
        tags = self.marks.own
        known: Iterable[str] = ()
        if tags and (above := self.inherited()) is not None:
            known = above.marks.own
        return [tag for tag in tags if tag not in known]

    def own_metadata(self) -> dict[str, Any]:
        """Return the user's metadata that the run above does not have."""
        own, _ = names_in(tuple(self.metadata))
        known = above.metadata if own and (above := self.inherited()) is not None else {}
        # What is inherited is the very same object; comparing would run code of the user's.
        return {name: item for name in own if known.get(name, known) is not (item := self.metadata[name])}

    def is_fed(self) -> bool:
        """Whether it reads a stream, so that its input is still to come."""
        given = self.given
        return type(given) is dict and len(given) == 1 and type(text := given.get("input")) is str and not text

    def fails_by_itself(self, error: Exception) -> bool:
        """Note that *error* ends it; return whether that is not just handed on from the run whose stream it reads."""
        if self.above is None:
            return True
        around: Run = self.above.about
        is_handed_on = around.failure == id(error) and self.is_fed()
        around.failure = id(error)
        return not is_handed_on

    def facts(self) -> dict[str, Any]:
        """Return what is noted about it: its id, the user's metadata and tags, its attempt or node if it is one."""
        facts: dict[str, Any] = {"run_id": id_of(self.key)}
        metadata, marks = self.metadata, self.marks
        if metadata:
            own, of_node = names_in(tuple(metadata))
            if own:
                facts.update(self.own_metadata())
            if marks.is_node:
                facts.update(zip(of_node, map(metadata.get, of_node), strict=True))
        if marks is not NO_MARKS:
            if marks.own and (tags := self.own_tags()):
                facts["tags"] = tags
            if marks.attempt is not None:
                facts["attempt"] = marks.attempt
        return facts

    def session(self) -> str | None:
        """Return the conversation it belongs to."""
        return next((str(found) for name in SESSIONS if (found := self.metadata.get(name))), None)

    def trace_options(self) -> dict[str, Any]:
        """Return what a trace that it opens takes over from it."""
        if not self.metadata and not self.marks.own:
            return {}
        return {
            "session_id": self.session(),
            "user_id": self.metadata.get("user_id"),
            "tags": self.own_tags(),
            "metadata": self.own_metadata(),
        }


def key_of(run_id: Any) -> Hashable:
    """Return the number of a run's id, as looking a UUID up runs Python code; an id of another kind as it is."""
    return getattr(run_id, "int", run_id)  # type: ignore[no-any-return]


def id_of(key: Hashable) -> object:
    """Return the id of which *key* is the number: a new object, as the run's own is not to be held."""
    if type(key) is not int:
        return key
    run_id = _new(UUID)
    _set(run_id, "int", key)  # UUID(int=key) is twice as dear, for checking what we know
    return run_id


_new, _set = object.__new__, object.__setattr__


def name_of(serialized: Any, event: str) -> str:
    """Return what a run is called whose event carries no name: its tool, or its class."""
    about = serialized or {}
    return str(about.get("name") or (about.get("id") or (event,))[-1])
