"""
Hand a handler to one call of a graph, beside those that the call has anyway.

A call's handlers come from its own configuration, the graph's and, inside a node, the node's. Releases of LangGraph
differ in how they put these together: older ones take the first there is, newer ones merge them.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from langchain_core.callbacks import BaseCallbackHandler, BaseCallbackManager
from langchain_core.runnables.config import var_child_runnable_config
from langgraph._internal import _config

from .handler import GraphHandler


def attached(graph: Any, config: Any, handler: GraphHandler) -> Any:
    """Return *config*, a call's of *graph*, with *handler*; unless a handler of that kind hears the call already."""
    own = (config or {}).get("callbacks")
    sources = [own, (graph.config or {}).get("callbacks"), (var_child_runnable_config.get() or {}).get("callbacks")]
    given = [source for source in sources if source is not None]
    if not _merges():
        given = given[:1]
    for source in given:
        if any(isinstance(one, GraphHandler) and one.client is handler.client for one in _handlers(source)):
            return config
    base = own if _merges() else (given[0] if given else None)
    return {**(config or {}), "callbacks": _with(base, handler)}


def in_force(config: Any) -> GraphHandler | None:
    """Return our handler in a call's complete *config*."""
    found = (one for one in _handlers(config.get("callbacks")) if isinstance(one, GraphHandler))
    return next(found, None)


def _handlers(callbacks: Any) -> list[Any]:
    return callbacks.handlers if isinstance(callbacks, BaseCallbackManager) else list(callbacks or ())


def _with(callbacks: Any, handler: GraphHandler) -> Any:
    if isinstance(callbacks, BaseCallbackManager):
        manager = callbacks.copy()
        manager.add_handler(handler, inherit=True)
        return manager
    return [*(callbacks or ()), handler]


@cache
def _merges() -> bool:
    """Whether this LangGraph merges the handlers of several configurations."""
    one, other = BaseCallbackHandler(), BaseCallbackHandler()
    merged = _config.ensure_config({"callbacks": [one]}, {"callbacks": [other]})
    return one in _handlers(merged["callbacks"])
