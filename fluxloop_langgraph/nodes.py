"""
Record single nodes of a graph that is not wrapped.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar, overload

from langchain_core.runnables import Runnable

from fluxloop import FluxLoopClient, ObservationType
from fluxloop.bridge import Spec, begin, default
from fluxloop_langchain.orphan_runs import ledger_of, running_key

from .call_state import current_config, thread_id_in

F = TypeVar("F", bound=Callable[..., Any])


@overload
def trace_node(func: F, /) -> F: ...
@overload
def trace_node(*, name: str | None = None, client: FluxLoopClient = default) -> Callable[[F], F]: ...
def trace_node(func: Any = None, /, *, name: str | None = None, client: FluxLoopClient = default) -> Any:
    """
    Record each run of the node *func* as CHAIN; opens a trace in the session of the thread if no trace is open.

    A run that is recorded already, as in a wrapped graph, is not recorded again.

    Args:
        func: The function or method of a node, sync or async. LangGraph sees its signature and the subgraphs it uses.
        name: The observation's name; by default the name of the node in its graph.
        client: The client that records the traces; by default that of the package.

    Raises:
        TypeError: If *func* is not a function, or is a generator function; for graphs, see `wrap_graph`.
    """
    traced = functools.partial(_traced, name=name, client=client)
    return traced if func is None else traced(func)


def _traced(func: Any, *, name: str | None, client: FluxLoopClient) -> Any:
    if isinstance(func, Runnable) or not callable(func):
        raise TypeError(f"trace_node takes a node's function, got {type(func).__name__}; see wrap_graph for graphs")
    if inspect.isgeneratorfunction(func) or inspect.isasyncgenfunction(func):  # LangGraph runs these in its own way
        raise TypeError(f"trace_node takes a function that returns, got the generator {func.__name__}; see wrap_graph")
    # A method decorated in its class: the first argument of a call is not the state.
    is_method = inspect.isfunction(func) and next(iter(inspect.signature(func).parameters), "") in ("self", "cls")

    def recording(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        given = (*args[is_method:], *kwargs.values())
        return _recording(client, name, func, given[0] if given else None)

    if inspect.iscoroutinefunction(func) or inspect.iscoroutinefunction(type(func).__call__):

        async def node(*args: Any, **kwargs: Any) -> Any:
            with recording(args, kwargs) as returned:
                return returned(await func(*args, **kwargs))
    else:

        def node(*args: Any, **kwargs: Any) -> Any:  # type: ignore[misc]
            with recording(args, kwargs) as returned:
                return returned(func(*args, **kwargs))

    functools.update_wrapper(node, func)
    # LangGraph looks for subgraphs through exactly one __wrapped__.
    node.__wrapped__ = inspect.unwrap(func)  # type: ignore[attr-defined]
    return node


@contextmanager
def _recording(client: FluxLoopClient, name: str | None, func: Any, state: Any) -> Iterator[Callable[[Any], Any]]:
    """Record a block as the run of a node, unless that is recorded already; yields what to pass its result through."""
    config = current_config()
    entry = ledger_of(client).entries.get(running_key(config))
    if entry is not None and entry.run.event == "chain" and entry.run.node() is not None:
        yield lambda result: result
        return
    metadata = {key: item for key, item in (config.get("metadata") or {}).items() if key.startswith("langgraph_")}
    default_name = metadata.get("langgraph_node") or getattr(func, "__name__", type(func).__name__)
    spec = Spec(
        client,
        ObservationType.CHAIN,
        str(name or default_name),
        opens_trace=True,
        metadata=metadata,
        trace={"session_id": thread_id_in(config)},
        bind=lambda state: state,
    )
    call = begin(spec, (state,), {})
    if call is None:
        yield lambda result: result
        return
    call.enter()
    try:
        yield call.returned
    except BaseException as exc:
        call.raised(exc)
        raise
