"""
What a graph says about itself: its drawing, the reducers of its state, and how often its nodes may be tried.

Read once for each graph and kept as long as that lives.
"""

from __future__ import annotations

from functools import cached_property
from itertools import pairwise
from typing import Any
from weakref import ReferenceType, WeakKeyDictionary, ref

from langgraph.pregel import Pregel

from fluxloop.bridge import log

AGENT_STATE = frozenset({"messages", "jump_to", "structured_response"})
"""The keys that the state of every agent made by ``create_agent`` has."""

UNNAMED = "LangGraph"
"""What a graph is called that nobody gave a name."""

ERROR_HANDLERS = ("__error_handler__", "__default_error_handler__")
"""How nodes are called that handle an error; they are placed under the node that failed, as if that were a graph."""

_known: WeakKeyDictionary[Any, Facts] = WeakKeyDictionary()


class Facts:
    """What is known of one graph."""

    def __init__(self, graph: Any) -> None:
        self._graph: ReferenceType[Any] = ref(graph)

    @cached_property
    def _mermaid(self) -> str | None:
        try:
            text: str = self._graph().get_graph().draw_mermaid()  # type: ignore[union-attr]
            return text
        except Exception as exc:  # drawing runs annotations and functions of the user's, and a run does without it
            log.debug("a graph could not be drawn: %r", exc)
            return None

    def mermaid(self) -> str | None:
        """Return the drawing of the graph, in the language of mermaid; None where it cannot be drawn."""
        return self._mermaid

    @cached_property
    def max_attempts(self) -> dict[str, int]:
        """How often each node that may be tried again may be."""
        graph = self._graph()
        found = {}
        for name, node in getattr(graph, "nodes", {}).items():
            most = attempts_in(getattr(node, "retry_policy", None) or getattr(graph, "retry_policy", None))
            if most > 1:
                found[name] = most
        return found

    @cached_property
    def keys(self) -> frozenset[str] | None:
        """The keys of the state, and whatever else the graph keeps; None where the graph cannot be found."""
        graph = self._graph()
        return frozenset(graph.channels) if graph is not None else None

    @cached_property
    def reducers(self) -> dict[str, str]:
        """The name of the reducer of each key of the state that has one."""
        channels = getattr(self._graph(), "channels", {})
        found = ((name, getattr(channel, "operator", None)) for name, channel in channels.items())
        return {name: getattr(made, "__name__", "reduce").strip("_") for name, made in found if made is not None}

    @cached_property
    def is_agent(self) -> bool:
        """Whether ``create_agent`` made it; older releases of langchain say so by nothing but its nodes and state."""
        graph = self._graph()
        return "model" in getattr(graph, "nodes", ()) and set(getattr(graph, "channels", ())) >= AGENT_STATE

    @cached_property
    def graphs(self) -> dict[str, Facts]:
        """The nodes that are themselves graphs, and have no name besides the node's."""
        nodes = getattr(self._graph(), "nodes", {})
        inner = ((name, node.bound) for name, node in nodes.items() if isinstance(node.bound, Pregel))
        return {name: facts_of(graph) for name, graph in inner if graph.get_name() in (UNNAMED, name)}

    @cached_property
    def agents(self) -> frozenset[str]:
        """Which of these are agents made by ``create_agent``."""
        return frozenset(name for name, graph in self.graphs.items() if graph.is_agent)

    @cached_property
    def _subgraphs(self) -> dict[str, Facts]:
        graph = self._graph()
        return {name: facts_of(inner) for name, inner in graph.get_subgraphs()} if graph is not None else {}

    def inside(self, namespace: str) -> Facts:
        """Return the facts of the graph that the node at *namespace*, such as ``outer:1|inner:2``, is a node of."""
        facts = self
        for step, below in pairwise(namespace.split("|")):
            name = step.partition(":")[0]
            if not (name.isdigit() or below.startswith(ERROR_HANDLERS)):
                facts = facts._subgraphs.get(name, _NOTHING)
        return facts


def attempts_in(policies: Any) -> int:
    """Return how often something with these retry policies may be tried: one policy, several, or none."""
    policies = policies if isinstance(policies, list | tuple) else (policies,)
    return max((policy.max_attempts for policy in policies if policy is not None), default=1)


class _Nothing(Facts):
    """The facts of a graph that cannot be found, such as one a node makes when it runs."""

    def __init__(self) -> None:
        self._graph = lambda: None  # type: ignore[assignment]


_NOTHING = _Nothing()


def facts_of(graph: Any) -> Facts:
    """Return what is known of *graph*."""
    facts = _known.get(graph)
    if facts is None:
        facts = _known[graph] = Facts(graph)
    return facts
