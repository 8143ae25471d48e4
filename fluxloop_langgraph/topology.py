"""
The structure of a graph, read once: its diagram, reducers, retry limits and subgraphs.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any
from weakref import WeakKeyDictionary, ref

from langgraph.pregel import Pregel

from fluxloop.bridge import log, was_raised_from_outside

from .internals import ROOT, UNNAMED, nested_nodes

AGENT_STATE = frozenset({"messages", "jump_to", "structured_response"})
"""The keys that the state of every agent made by ``create_agent`` has."""

_known: WeakKeyDictionary[Any, Topology] = WeakKeyDictionary()


class Topology:
    """The structure of one graph; empty for a graph that cannot be found, such as one that a node creates."""

    def __init__(self, graph: Any = None) -> None:
        self._graph: Callable[[], Any] = ref(graph) if graph is not None else lambda: None

    def _items(self, name: str) -> Any:
        return (getattr(self._graph(), name, None) or {}).items()

    @cached_property
    def mermaid(self) -> str | None:
        """The diagram of the graph as mermaid text; None if it cannot be drawn."""
        return _attempt(lambda: self._graph().get_graph().draw_mermaid(), None)  # type: ignore[no-any-return]

    @cached_property
    def max_attempts(self) -> dict[str, int]:
        """The retry limit of each node that may be tried more than once."""
        default = getattr(self._graph(), "retry_policy", None)
        policies = {name: getattr(node, "retry_policy", None) or default for name, node in self._items("nodes")}
        return {name: limit for name, policy in policies.items() if (limit := attempts_in(policy)) > 1}

    @cached_property
    def keys(self) -> frozenset[str]:
        """The channels of the graph, the keys of its state among them."""
        return frozenset(key for key, _ in self._items("channels"))

    @cached_property
    def is_single(self) -> bool:
        """Whether the state is a single value, such as a list."""
        return ROOT in self.keys

    @cached_property
    def reducers(self) -> dict[str, str]:
        """The name of the reducer, for each key of the state that has one."""
        found = ((key, getattr(channel, "operator", None)) for key, channel in self._items("channels"))
        return {key: getattr(made, "__name__", "reduce").strip("_") for key, made in found if made is not None}

    @cached_property
    def is_agent(self) -> bool:
        """Whether ``create_agent`` made the graph; older releases of langchain mark it only by its nodes and state."""
        return "model" in dict(self._items("nodes")) and self.keys >= AGENT_STATE

    @cached_property
    def graph_nodes(self) -> dict[str, Topology]:
        """The nodes that are graphs themselves and have no name other than the node's."""
        bound = {name: getattr(node, "bound", None) for name, node in self._items("nodes")}
        graphs = {name: graph for name, graph in bound.items() if isinstance(graph, Pregel)}
        return {name: topology_of(graph) for name, graph in graphs.items() if graph.get_name() in (UNNAMED, name)}

    @cached_property
    def _subgraphs(self) -> dict[str, Topology]:
        graphs = _attempt(lambda: dict(self._graph().get_subgraphs()), {})
        return {name: topology_of(graph) for name, graph in graphs.items()}

    def around(self, namespace: str) -> Topology:
        """Return the structure of the innermost graph around the node at *namespace*, such as ``outer:1|inner:2``."""
        topology = self
        for name in nested_nodes(namespace):
            topology = topology._subgraphs.get(name, _UNKNOWN)
        return topology


_UNKNOWN = Topology()


def _attempt(read: Callable[[], Any], default: Any) -> Any:
    """Return what *read* returns, or *default* if it raises: drawing a graph evaluates the user's annotations."""
    try:
        return read()
    except Exception as exc:
        if was_raised_from_outside(exc):
            raise
        log.debug("the structure of a graph could not be read: %r", exc)
        return default


def attempts_in(policies: Any) -> int:
    """Return the highest number of attempts that *policies* allow: one retry policy, several, or None."""
    policies = policies if isinstance(policies, list | tuple) else (policies,)
    return max((getattr(policy, "max_attempts", 1) for policy in policies), default=1)


def topology_of(graph: Any) -> Topology:
    """Return the structure of *graph*, which is cached as long as the graph lives."""
    return _known.get(graph) or _known.setdefault(graph, Topology(graph))
