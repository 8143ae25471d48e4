"""
Wrap a graph: the same object, recorded.

A compiled graph is changed in one thing only: its class becomes a subclass whose ``stream`` and ``astream``, where
every way to run it ends, hand a handler of ours to each call. Its attributes, its configuration and so all that it
saves stay as they were, and copies of it, as ``with_config`` makes them, are wrapped as well.
"""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable
from typing import Any, TypeVar

from langgraph.pregel import Pregel

from fluxloop import FluxLoopClient
from fluxloop.bridge import default

from .attaching import attached, in_force
from .cache import watched
from .handler import GraphHandler
from .remote import RemoteGraph, recorded_remote
from .timeouts import observe

G = TypeVar("G", bound=Any)

_WRAPPED: dict[type, type] = {}
"""The subclasses made so far, by the class of the graph; there are about as many as graph classes in LangGraph."""

_options: weakref.WeakKeyDictionary[type, Any] = weakref.WeakKeyDictionary()


def wrap_graph(graph: G, *, show_all: bool = False, client: FluxLoopClient = default) -> G:
    """
    Record every run of *graph*, which behaves as before, and return it: the very same object.

    Takes what ``StateGraph.compile`` and ``create_agent`` return, functions decorated with ``@entrypoint``, and
    `RemoteGraph`, of which only the calls themselves are seen. Wrapping again changes nothing, nor does it matter
    whether a graph around this one is wrapped, or a handler is passed or installed besides: a run is recorded once.

    Args:
        graph: The graph. ``isinstance`` holds as before; what it is ``with_config`` and ``copy`` are wrapped too.
        show_all: Record also runs that LangGraph and LangChain mark hidden.
        client: Whose traces to record into; the package's own by default.

    Raises:
        TypeError: If *graph* is none of these, such as a graph that is not compiled yet.
    """
    kind = type(graph)
    if kind in _options:
        return graph
    if not isinstance(graph, Pregel | RemoteGraph):
        hint = "; compile it first" if hasattr(graph, "compile") else ""
        raise TypeError(
            f"wrap_graph takes a compiled graph, an @entrypoint or a RemoteGraph, got {kind.__name__}{hint}"
        )
    graph.__class__ = _wrapped(kind, show_all, client)
    return graph


def unwrap_graph(graph: G) -> G:
    """Take `wrap_graph` back, and return *graph*; harmless where it was not wrapped."""
    if type(graph) in _options:
        graph.__class__ = type(graph).__base__
    return graph


def _wrapped(kind: type, show_all: bool, client: FluxLoopClient) -> type:
    """Return the subclass of *kind* that records; one for each way to."""
    is_usual = client is default and not show_all
    if is_usual and kind in _WRAPPED:
        return _WRAPPED[kind]
    members = _remote_members(kind, client) if issubclass(kind, RemoteGraph) else _members(kind, show_all, client)
    members |= {
        name: getattr(kind, name) for name in ("__module__", "__qualname__", "__doc__")
    }  # it is shown, and found by what looks for a name, as what it was
    members["__reduce_ex__"] = _reduced
    subclass = type(kind)(kind.__name__, (kind,), members)
    _options[subclass] = (show_all, client)
    if is_usual:
        _WRAPPED[kind] = subclass
    return subclass


def _members(kind: Any, show_all: bool, client: FluxLoopClient) -> dict[str, Any]:
    """Return the methods of a subclass of *kind* that records."""

    def recording(method: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(method)
        def call(self: Any, input: Any, config: Any = None, **options: Any) -> Any:
            if not client.switch.on:
                return method(self, input, config, **options)
            handler = GraphHandler(self, show_all=show_all, client=client)
            running = method(self, input, attached(self, config, handler), **options)
            handler.running = weakref.ref(running)
            return running

        return call

    @functools.wraps(kind._defaults)
    def defaults(self: Any, config: Any, **options: Any) -> Any:
        settled = kind._defaults(self, config, **options)
        handler = in_force(config)
        if handler is None:
            return settled
        observe(config, handler.took_too_long)
        return watched(settled, handler)

    return {"stream": recording(kind.stream), "astream": recording(kind.astream), "_defaults": defaults}


def _remote_members(kind: Any, client: FluxLoopClient) -> dict[str, Any]:
    return {name: recorded_remote(getattr(kind, name), client) for name in ("stream", "astream")}


def _reduced(self: Any, protocol: Any) -> Any:
    """Pickle and copy it as the graph it was, to be wrapped again."""
    show_all, client = _options[type(self)]
    bare: Any = object.__new__(type(self).__mro__[1])
    bare.__dict__.update(self.__dict__)
    again = wrap_graph if client is default else functools.partial(wrap_graph, client=client)
    return functools.partial(again, show_all=show_all) if show_all else again, (bare,)
