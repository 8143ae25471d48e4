"""
Record single nodes, where the graph around them is not to be wrapped.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar, overload

from langchain_core.runnables import Runnable
from langchain_core.runnables.config import var_child_runnable_config

from fluxloop import FluxLoopClient, ObservationType
from fluxloop.bridge import Execution, Spec, begin, default
from fluxloop_langchain.ledgers import ledger_of, running

from . import interrupts  # lets what steers a graph be no error

F = TypeVar("F", bound=Callable[..., Any])

__all__ = ["interrupts", "trace_node"]


@overload
def trace_node(func: F, /) -> F: ...
@overload
def trace_node(*, name: str | None = None, client: FluxLoopClient = default) -> Callable[[F], F]: ...
def trace_node(func: Any = None, /, *, name: str | None = None, client: FluxLoopClient = default) -> Any:
    """
    Record each run of the node *func* as CHAIN; opens a trace, of the thread's session, where none is open.

    Where the run is recorded already, as it is in a wrapped graph, nothing is added.

    Args:
        func: The function or method of a node, sync or async. LangGraph sees its signature and the subgraphs it uses.
        name: The observation's name; by default what the node is called in the graph it runs in.
        client: Whose traces to record into; the package's own by default.

    Raises:
        TypeError: If *func* is no function, such as a graph, for which `wrap_graph` is made, or if it is a generator.
    """
    if func is None:
        return functools.partial(_traced, name=name, client=client)
    return _traced(func, name=name, client=client)


def _traced(func: Any, *, name: str | None, client: FluxLoopClient) -> Any:
    if isinstance(func, Runnable) or not callable(func):
        raise TypeError(f"trace_node takes a node's function, got {type(func).__name__}; see wrap_graph for graphs")
    if inspect.isgeneratorfunction(func) or inspect.isasyncgenfunction(func):  # LangGraph runs these in its own way
        raise TypeError(f"trace_node takes a function that returns, got the generator {func.__name__}; see wrap_graph")
    called = str(name or getattr(func, "__name__", type(func).__name__))
    is_named = name is not None

    takes_self = _takes_self(func)

    def recording(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        given = (*args[takes_self:], *kwargs.values())
        return _recording(client, called, is_named, given[0] if given else None)

    if inspect.iscoroutinefunction(func) or inspect.iscoroutinefunction(type(func).__call__):

        async def node(*args: Any, **kwargs: Any) -> Any:
            with recording(args, kwargs) as call:
                result = await func(*args, **kwargs)
                return call.returned(result) if call is not None else result
    else:

        def node(*args: Any, **kwargs: Any) -> Any:  # type: ignore[misc]
            with recording(args, kwargs) as call:
                result = func(*args, **kwargs)
                return call.returned(result) if call is not None else result

    functools.update_wrapper(node, func)
    # LangGraph looks for subgraphs in the function one wrapper deep, so that has to be the user's own.
    node.__wrapped__ = inspect.unwrap(func)  # type: ignore[attr-defined]
    return node


def _takes_self(func: Any) -> bool:
    """Whether *func* is decorated as a method, in its class, so that a call's first argument is not the state."""
    names = inspect.getfullargspec(func).args if inspect.isfunction(func) else []
    return names[:1] in (["self"], ["cls"])


@contextmanager
def _recording(client: FluxLoopClient, name: str, is_named: bool, state: Any) -> Iterator[Execution | None]:
    """Record a block as the run of a node, unless that is recorded already."""
    config = var_child_runnable_config.get() or {}
    entry = ledger_of(client).entries.get(running(config))
    if entry is not None and entry.about.event == "chain" and entry.about.node() is not None:
        yield None
        return
    about = {key: value for key, value in (config.get("metadata") or {}).items() if key.startswith("langgraph_")}
    thread_id = (config.get("configurable") or {}).get("thread_id")
    spec = Spec(
        client,
        ObservationType.CHAIN,
        name if is_named else str(about.get("langgraph_node", name)),
        opens_trace=True,
        metadata=about,
        trace={"session_id": thread_id},
        bind=lambda state: state,
    )
    call = begin(spec, (state,), {})
    if call is None:
        yield None
        return
    call.enter()
    try:
        yield call
    except BaseException as exc:
        call.raised(exc)
        raise
