"""
What a run is, read from its start event.

LangChain describes runs by tags and metadata, and a run inherits those of the runs around it. This module knows what
they mean, which belong to a run itself, and which runs only connect others.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from fluxloop import ObservationType
from fluxloop.bridge import Entry

from . import internals
from .orphan_runs import IdRef, id_of

CHAIN, AGENT = ObservationType.CHAIN, ObservationType.AGENT

TYPES = {
    "model": ObservationType.GENERATION,
    "tool": ObservationType.TOOL,
    "retriever": ObservationType.RETRIEVAL,
}
"""The observation types by event; for chains see `Run.observation_type`."""

HIDDEN = "langsmith:hidden"
"""The tag of runs that LangChain and LangGraph hide from tracers."""

CONNECTING = frozenset(
    {
        *("RunnableSequence", "RunnableParallel", "RunnableAssign", "RunnablePick", "RunnablePassthrough"),
        *("RunnableWithFallbacks", "RunnableBranch", "RunnableEach", "RunnableBinding", "RunnableConfigurableFields"),
        *("ChannelWrite", "ChannelRead", "Branch"),
    }
)
"""Runnables that only connect others, by the names they have if the user gives them none."""

FORMATTING = frozenset({"prompt", "parser"})
"""Run types whose input or output is that of the step before or after, or of the chain."""

MARK, OF_AGENT = "ls_integration", "langchain_create_agent"
"""The metadata of all runs in an agent made by ``create_agent``, since langchain 1.2."""

AGENT_LOOP = frozenset({"model", "tools"})
"""The nodes of every such agent; the model and tool runs in them have the same input and output."""

AGENT_EDGES = frozenset({"model_to_tools", "model_to_model", "tools_to_model"})
"""The runs between the nodes of a ``create_agent`` of older langchain; no other graph has them."""

_BRANCH = "map:key:"
INTERNAL_TAGS = ("seq:step:", "graph:step:", _BRANCH, "retry:attempt:", "condition:", "branch:", "langsmith:")
INTERNAL_METADATA = ("ls_", "lc_", "langgraph_", "checkpoint_ns", "__")
"""Prefixes of the tags and metadata that the frameworks add."""

PATH, STEP = "langgraph_path", "langgraph_step"
"""The metadata with the position of a node or task in a graph."""

SESSIONS = ("session_id", "thread_id", "conversation_id")
"""Metadata with the session of a run, in order of precedence."""


@dataclass(slots=True, eq=False)
class TagFacts:
    """The meaning of the tags of a run. Not a tuple, whose names Python 3.11 reads slowly."""

    is_hidden: bool
    is_node: bool
    """Whether it is the run of a LangGraph node."""
    attempt: int | None
    branch: str | None
    """The key of the run in a ``RunnableParallel``."""
    own: tuple[str, ...]
    """The user's tags."""


@lru_cache(maxsize=1_000)
def read_tags(tags: tuple[str, ...]) -> TagFacts:
    """Return the meaning of *tags*; a program has few combinations."""
    branches = (tag.removeprefix(_BRANCH) for tag in tags if tag.startswith(_BRANCH))
    attempts = (int(tag.rpartition(":")[2]) for tag in tags if tag.startswith("retry:attempt:"))
    return TagFacts(
        HIDDEN in tags,
        any(tag.startswith("graph:step:") for tag in tags),
        next(attempts, None),
        next(branches, None),
        tuple(tag for tag in tags if not tag.startswith(INTERNAL_TAGS)),
    )


NO_TAGS = TagFacts(is_hidden=False, is_node=False, attempt=None, branch=None, own=())


@lru_cache(maxsize=1_000)
def split_metadata(names: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return which *names* of metadata are the user's, and which are neither that nor the position in a graph."""
    own = tuple(name for name in names if not name.startswith(INTERNAL_METADATA))
    return own, tuple(name for name in names if name not in own and not name.startswith("langgraph_"))


@lru_cache(maxsize=1_000)
def may_be_plumbing(name: str, run_type: str | None) -> bool:
    """Return whether a run may only connect others, by its name and type; few names of a program need a closer look."""
    is_listed = name in AGENT_LOOP or name in AGENT_EDGES or run_type in FORMATTING
    return is_listed or name.partition("<")[0] in CONNECTING


class Run:
    """A run as its start event describes it, see `described`; in the ledger until it ends."""

    __slots__ = (
        *("event", "extra", "handler", "id_ref", "input", "interrupt_ids", "is_resume", "key", "last_failure"),
        *("metadata", "model", "name", "node_state", "parent", "pending_calls", "started", "tags", "tool"),
    )

    handler: Any
    """The handler that records the run; other handlers ignore it."""
    event: str
    """``chain``, ``model``, ``tool`` or ``retriever``."""
    key: Hashable
    """The key in the ledger, see `orphan_runs.key_of`."""
    name: str
    """The name that the user gave it, or its class."""
    input: Any
    """The input as the event has it."""
    tags: TagFacts
    metadata: dict[str, Any]
    extra: dict[str, Any]
    """The other arguments of the event, such as ``invocation_params``."""
    parent: Entry | None
    """The entry of its parent; None if that has not been seen."""
    id_ref: IdRef
    """Its id, which only the framework may hold, see `fluxloop_langchain.orphan_runs`."""
    model: str | None
    """The requested model."""
    tool: Any
    """The tool that runs, if it is known."""
    started: int | None
    """The start by the recorder's clock, of a folded run that may be recorded later."""
    pending_calls: dict[str, Any] | None
    """The tool calls by id that a node may answer, see `unrun_calls`."""
    interrupt_ids: dict[str, None] | None
    """The interrupts of runs inside it."""
    is_resume: bool
    """Whether it resumes a graph, and that is not recorded yet."""
    last_failure: int | None
    """The key of the exception that ended the last failed run inside it."""
    node_state: Any
    """State of a handler that overrides the methods of `FluxLoopCallbackHandler`."""

    def described(
        self,
        handler: Any,
        event: str,
        key: Hashable,
        name: str,
        given: Any,
        tags: TagFacts,
        metadata: dict[str, Any],
        extra: dict[str, Any],
        parent: Entry | None,
        id_ref: IdRef,
    ) -> Run:
        """Set the fields of a new run, and return it. As the method ``__init__``, it would take longer."""
        self.handler, self.event, self.key, self.name = handler, event, key, name
        self.input, self.tags, self.metadata, self.extra = given, tags, metadata, extra
        self.parent, self.id_ref = parent, id_ref
        self.model = self.tool = self.started = self.pending_calls = None
        self.interrupt_ids = self.last_failure = self.node_state = None
        self.is_resume = False
        return self

    def observation_type(self) -> ObservationType:
        """Return the observation type; AGENT for a chain made by ``create_agent``, whatever its name."""
        if self.event != "chain":
            return TYPES[self.event]
        if self.metadata.get(MARK) != OF_AGENT or self.node() is not None:
            return CHAIN
        agent = self.metadata.get("lc_agent_name")
        around: dict[str, Any] = self.parent.run.metadata if self.parent is not None else {}
        # A chain called by a tool has the metadata of the agent too, as has an agent inside an agent without names.
        is_inside = around.get(MARK) == OF_AGENT and around.get("lc_agent_name") == agent
        return CHAIN if is_inside and self.name != (agent or "LangGraph") else AGENT

    def is_plumbing(self) -> bool:
        """Whether the framework hides the run, or it only connects others and the user has not named it."""
        if self.tags.is_hidden and (self.event == "chain" or not self.inherits_hidden()):
            return True
        name = self.name
        if self.parent is None or self.event != "chain" or not may_be_plumbing(name, self.extra.get("run_type")):
            return False
        if name in AGENT_LOOP:
            return self.metadata.get(MARK) == OF_AGENT and self.node() == name
        if name in AGENT_EDGES:
            return self.is_agent_edge()
        return True

    def inherits_hidden(self) -> bool:
        """Whether it has the tag of hidden runs from its parent, as runs inherit tags."""
        return self.parent is not None and self.parent.run.tags.is_hidden

    def is_agent_edge(self) -> bool:
        """Whether the graph around it is an agent made by an older ``create_agent``."""
        return self.name in AGENT_EDGES and "langgraph_node" in self.metadata

    def node(self) -> str | None:
        """Return the name of the LangGraph node that this is the run of; None for other runs."""
        return self.metadata.get("langgraph_node") if self.tags.is_node else None

    def recorded_parent(self) -> Run | None:
        """Return the nearest run around it that is recorded."""
        entry = self.parent
        while entry is not None and entry.is_folded:
            entry = entry.parent
        return entry.run if entry is not None else None

    def own_tags(self) -> list[str]:
        """Return the user's tags without those of the recorded parent."""
        tags = self.tags.own
        known: Iterable[str] = ()
        if tags and (parent := self.recorded_parent()) is not None:
            known = parent.tags.own
        return [tag for tag in tags if tag not in known]

    def own_metadata(self) -> dict[str, Any]:
        """Return the user's metadata without that of the recorded parent."""
        own, _ = split_metadata(tuple(self.metadata))
        inherited = self._inherited(own) if own else ()
        return {name: self.metadata[name] for name in own if name not in inherited}

    def _inherited(self, own: tuple[str, ...]) -> tuple[str, ...]:
        """Return which of the user's metadata, *own*, are those of the recorded parent."""
        parent = self.recorded_parent()
        known = parent.metadata if parent is not None else {}
        return tuple(name for name in own if internals.is_inherited(self.metadata[name], known.get(name, known)))

    def is_own_failure(self, error: Exception) -> bool:
        """Note that *error* ends the run; return whether it is the run's own, and not that of the stream it reads."""
        if self.parent is None:
            return True
        around: Run = self.parent.run
        key = internals.error_key(error)
        is_passed_on = around.last_failure == key and internals.is_streamed_input(self.input)
        around.last_failure = key
        return not is_passed_on

    def start_metadata(self) -> dict[str, Any]:
        """Return its id, the user's metadata and tags, and its attempt, branch or node if there is one."""
        metadata, tags = self.metadata, self.tags
        found: dict[str, Any]
        if tags.is_node:
            found = metadata.copy()  # a fifth of the time of selecting what is recorded
            own, others = split_metadata(tuple(metadata))
            for name in self._inherited(own) + others if own else others:
                del found[name]
            found["run_id"] = id_of(self.key)
        else:
            found = {"run_id": id_of(self.key)}
            if metadata:
                found.update(self.own_metadata())
                if PATH in metadata and STEP in metadata and self.is_task():
                    found[PATH], found[STEP] = metadata[PATH], metadata[STEP]
        if tags.own and (own_tags := self.own_tags()):
            found["tags"] = own_tags
        if tags.attempt is not None:
            found["attempt"] = tags.attempt
        parent = self.parent
        if (tags.branch is not None or (parent is not None and parent.is_folded)) and (branch := self.branch()):
            found["parallel_key"] = branch
        return found

    def is_task(self) -> bool:
        """Whether it is the run of a task of LangGraph's functional API; what runs inside has the same metadata."""
        return self.parent is not None and self.parent.run.metadata.get(PATH) != self.metadata[PATH]

    def branch(self) -> str:
        """Return its key in a ``RunnableParallel``; with those of the runs between it and its recorded parent."""
        tags, entry = self.tags, self.parent
        keys = [tags.branch] if tags.branch is not None else []
        while entry is not None and entry.is_folded:
            if (outer := entry.run.tags.branch) is not None:
                keys.append(outer)
            entry = entry.parent
        return ".".join(reversed(keys))

    def trace_options(self) -> dict[str, Any]:
        """Return the options of a trace that the run opens."""
        if not self.metadata and not self.tags.own:
            return {}
        return {
            "session_id": next((str(found) for name in SESSIONS if (found := self.metadata.get(name))), None),
            "user_id": self.metadata.get("user_id"),
            "tags": self.own_tags(),
            "metadata": self.own_metadata(),
        }


def name_of(serialized: Any, event: str) -> str:
    """Return the name of a run whose event has none: that of its tool, or its class."""
    facts = serialized or {}
    return str(facts.get("name") or (facts.get("id") or (event,))[-1])
