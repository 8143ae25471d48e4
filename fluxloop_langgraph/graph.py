"""
Wrap a graph so that its runs are recorded.

Only its class changes, to a subclass whose ``stream`` and ``astream`` add a handler to each call: all other
ways to run it end there. Copies of the graph, such as those ``with_config`` makes, are wrapped as well.
"""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable
from typing import Any, TypeVar

from langchain_core.callbacks import BaseCallbackManager
from langgraph.pregel import Pregel
from langgraph.pregel.remote import RemoteGraph

from fluxloop import FluxLoopClient
from fluxloop.bridge import default, note_missing, was_raised_from_outside

from .cache import with_observed_cache
from .call_state import current_config
from .handler import GraphHandler
from .internals import defaults_method, handlers_in, merges_callbacks, observe_timeouts
from .remote import recorded_remote

G = TypeVar("G", bound=Any)

_WRAPPED: dict[type, type] = {}
"""The subclasses that record with default options, by the class of the graph; LangGraph has a handful of these."""

_options: weakref.WeakKeyDictionary[type, Any] = weakref.WeakKeyDictionary()
"""The options of all subclasses made here."""


def wrap_graph(graph: G, *, show_all: bool = False, client: FluxLoopClient = default) -> G:
    """
    Record every run of *graph*, which behaves as before, and return the same object.

    Wrapping twice has no effect. A run is recorded once, even if a graph around this one is wrapped, or another handler
    of FluxLoop is passed or installed.

    Args:
        graph: What ``StateGraph.compile`` or ``create_agent`` returned, an ``@entrypoint`` function or a `RemoteGraph`.
        show_all: Record runs that LangGraph and LangChain mark as hidden, too.
        client: The client that records the traces; by default that of the package.

    Raises:
        TypeError: If *graph* is none of these, such as a graph that is not compiled.
    """
    graph_class = type(graph)
    if graph_class in _options:
        return graph
    if not isinstance(graph, Pregel | RemoteGraph):
        given = graph_class.__name__ + ("; compile it first" if hasattr(graph, "compile") else "")
        raise TypeError(f"wrap_graph takes a compiled graph, an @entrypoint or a RemoteGraph, got {given}")
    try:
        graph.__class__ = _recording_class(graph_class, show_all, client)
    except (AttributeError, TypeError) as exc:
        note_missing("fluxloop_langgraph", f"a way to wrap {graph_class.__name__}", f"it is not recorded ({exc})")
    return graph


def unwrap_graph(graph: G) -> G:
    """Undo `wrap_graph` and return *graph*; no effect if it is not wrapped."""
    if type(graph) in _options:
        graph.__class__ = type(graph).__base__
    return graph


def _recording_class(graph_class: type, show_all: bool, client: FluxLoopClient) -> type:
    """Return the subclass of *graph_class* that records with these options."""
    is_default = client is default and not show_all
    if is_default and graph_class in _WRAPPED:
        return _WRAPPED[graph_class]
    if issubclass(graph_class, RemoteGraph):
        members = {name: recorded_remote(getattr(graph_class, name), client) for name in ("stream", "astream")}
    else:
        members = _recording_methods(graph_class, show_all, client)
    # Printed, and looked up by name, as the class it was made from.
    members |= {name: getattr(graph_class, name) for name in ("__module__", "__qualname__", "__doc__")}
    members["__reduce_ex__"] = _reduce
    subclass = type(graph_class)(graph_class.__name__, (graph_class,), members)
    _options[subclass] = (show_all, client)
    if is_default:
        _WRAPPED[graph_class] = subclass
    return subclass


def _recording_methods(graph_class: Any, show_all: bool, client: FluxLoopClient) -> dict[str, Any]:
    def recording(method: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(method)
        def call(self: Any, input: Any, config: Any = None, *args: Any, **options: Any) -> Any:
            if not client.switch.on:
                return method(self, input, config, *args, **options)
            handler = None
            try:
                handler = GraphHandler(self, show_all=show_all, client=client)
                config = _with_handler(self, config, handler)
            except Exception as exc:
                if was_raised_from_outside(exc):
                    raise
                client.record_failure("attaching to a graph", exc)
            generator = method(self, input, config, *args, **options)
            if handler is not None:
                handler.call.watch(generator)
            return generator

        return call

    methods = {"stream": recording(graph_class.stream), "astream": recording(graph_class.astream)}
    if (resolve := defaults_method(graph_class)) is not None:
        methods["_defaults"] = _observing(resolve, client)
    return methods


def _observing(resolve: Callable[..., Any], client: FluxLoopClient) -> Callable[..., Any]:
    """Return *resolve*, which resolves the options of a call, with the cache and the timeouts of the call observed."""

    @functools.wraps(resolve)
    def defaults(self: Any, config: Any, *args: Any, **options: Any) -> Any:
        resolved = resolve(self, config, *args, **options)
        try:
            handler = next((one for one in handlers_in(config) if isinstance(one, GraphHandler)), None)
            if handler is not None:
                observe_timeouts(config, handler.note_timeout)
                return with_observed_cache(resolved, handler.record_cached)
        except Exception as exc:
            if was_raised_from_outside(exc):
                raise
            client.record_failure("observing a graph", exc)
        return resolved

    return defaults


def _with_handler(graph: Any, config: Any, handler: GraphHandler) -> Any:
    """
    Return *config*, that of a call of *graph*, with *handler* added, unless it receives the events of one already.

    The handlers of a call come from its configuration, from that of the graph and, inside a node, from that of the
    node. Depending on the release, LangGraph merges them or uses the first.
    """
    sources = [source or {} for source in (config, graph.config, current_config())]
    if not merges_callbacks():
        sources = [source for source in sources if source.get("callbacks") is not None][:1]
    handlers = [one for source in sources for one in handlers_in(source)]
    if any(isinstance(one, GraphHandler) and one.client is handler.client for one in handlers):
        return config
    callbacks = sources[0].get("callbacks") if sources else None
    if isinstance(callbacks, BaseCallbackManager):
        callbacks = callbacks.copy()
        callbacks.add_handler(handler, inherit=True)
    else:
        callbacks = [*(callbacks or ()), handler]
    return {**(config or {}), "callbacks": callbacks}


def _reduce(self: Any, protocol: Any) -> Any:
    """Pickle and copy a wrapped graph as the graph it was made from, which is wrapped again when it is loaded."""
    show_all, client = _options[type(self)]
    bare: Any = object.__new__(type(self).__mro__[1])
    bare.__dict__.update(self.__dict__)
    wrap = wrap_graph if client is default else functools.partial(wrap_graph, client=client)
    return functools.partial(wrap, show_all=show_all) if show_all else wrap, (bare,)
