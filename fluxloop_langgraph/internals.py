"""
Every part of LangGraph that FluxLoop reads and that is not public API.

Private modules and methods, local variables, names and formats are read here and nowhere else; each docstring states
what is lost when a release changes them. A missing part is reported once, and only ever costs detail.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache, partial, wraps
from itertools import pairwise
from typing import Any

from langchain_core.callbacks import BaseCallbackHandler, BaseCallbackManager
from langgraph import errors

from fluxloop.bridge import note_missing
from fluxloop_langchain.internals import optional

NAMESPACE = "langgraph_checkpoint_ns"
"""The metadata key with the position of a run among nested graphs, such as ``outer:1|inner:2``."""
UNNAMED = "LangGraph"
"""The name of a graph without a name of its own."""
UNNAMED_EDGES = frozenset({"RunnableCallable", "chain"})
"""The names of edges without a name of their own; one that is awaited is named ``chain``."""
ERROR_HANDLERS = ("__error_handler__", "__default_error_handler__")
"""The names of nodes that handle errors; LangGraph nests them under the failed node as if that were a graph."""
ROOT, RETURNED = "__root__", "__return__"
"""The channels of a state that is a single value, such as a list, and of the result of a ``@task``."""
INTERNAL_CHANNELS = ("branch:", "__", "start:")
"""Prefixes of the channels that LangGraph uses for control flow."""
STATIC_STOPS = frozenset({"interrupt_before", "interrupt_after"})
"""The statuses of a loop that stopped at a node as configured."""

_missing = partial(note_missing, "fluxloop_langgraph")
_private = partial(optional, adapter="fluxloop_langgraph")


def _reads(source: str, lost: str) -> Callable[[Any], Any]:
    """Make a function return None, and report what is *lost*, if its *source* has another form than it expects."""

    def guard(read: Any) -> Any:
        @wraps(read)
        def guarded(*args: Any) -> Any:
            try:
                return read(*args)
            except (AttributeError, LookupError, TypeError, ValueError):
                _missing(f"the expected form of {source}", lost)
                return None

        return guarded

    return guard


try:
    from langgraph.callbacks import GraphCallbackHandler as GraphCallbackHandler

    HAS_INTERRUPT_EVENTS = True  # public since LangGraph 1.1
except ImportError:
    GraphCallbackHandler = type("GraphCallbackHandler", (BaseCallbackHandler,), {})  # type: ignore[assignment,misc]
    HAS_INTERRUPT_EVENTS = False

_ensure_config = _private("langgraph._internal._config", "ensure_config", "callbacks are assumed to be merged")
_OBSERVER_KEY = hasattr(errors, "NodeTimeoutError") and _private(
    "langgraph._internal._constants", "CONFIG_KEY_TIMED_ATTEMPT_OBSERVER", "node timeouts are recorded as cancelled"
)


@cache
def merges_callbacks() -> bool:
    """Whether LangGraph merges callbacks of several configurations, as recent releases do, or uses the first ones."""
    if _ensure_config is None:
        return True
    one, other = BaseCallbackHandler(), BaseCallbackHandler()
    return one in handlers_in(_ensure_config({"callbacks": [one]}, {"callbacks": [other]}))


def handlers_in(config: Mapping[str, Any] | None) -> list[Any]:
    """Return the handlers in *config*, which has a callback manager, a list or nothing."""
    callbacks = (config or {}).get("callbacks")
    return callbacks.handlers if isinstance(callbacks, BaseCallbackManager) else list(callbacks or ())


def defaults_method(graph_class: type) -> Callable[..., Any] | None:
    """Return ``Pregel._defaults``, which resolves the options of a call; `_missing` lists what is lost without it."""
    method = getattr(graph_class, "_defaults", None)
    if method is None:
        _missing("Pregel._defaults", "cached nodes are not recorded, and node timeouts are recorded as cancelled")
    return method


@_reads("the local variables of Pregel.stream", "checkpoints of nodes and retries of tasks are unknown")
def loop_in(generator: Any) -> Any:
    """
    Return the loop of a graph, a local variable of the *generator* that ``Pregel.stream`` returned; None at its end.

    Without it, nodes have no ``checkpoint_id`` and tasks no ``max_attempts``. In LangGraph before 1.1, interrupts have
    no ``checkpoint_id`` either, and a stop by ``interrupt_before`` or ``interrupt_after`` is not seen.
    """
    frame = generator.gi_frame if hasattr(generator, "gi_frame") else generator.ag_frame
    if frame is None:
        return None  # the generator is exhausted
    loop = frame.f_locals.get("loop")
    if loop is None and "loop" not in frame.f_code.co_varnames + frame.f_code.co_cellvars:
        raise LookupError("loop")
    return loop


@_reads("PregelLoop.checkpoint", "checkpoints of nodes are unknown")
def checkpoint_in(loop: Any) -> str | None:
    """Return the id of the current checkpoint of *loop*; None if the graph saves none."""
    return None if loop is None or loop.checkpointer is None else loop.checkpoint["id"]


@_reads("PregelLoop.tasks", "retries of tasks are unknown")
def retry_policy_in(loop: Any, namespace: str) -> Any:
    """Return the retry policy of the task that *loop* runs at *namespace*; without it there is no ``max_attempts``."""
    task = loop.tasks.get(namespace.rpartition(":")[2]) if loop is not None else None
    return task.retry_policy if task is not None else None


@_reads("PregelLoop.status", "the node a graph stopped at is unknown")
def next_nodes_in(loop: Any) -> str | None:
    """Return the names of the nodes before which *loop* stopped; without them an interrupt names no node."""
    if loop is None or loop.status != "interrupt_before":
        return None
    return ", ".join(sorted({task.name for task in loop.tasks.values()}))


def is_task(metadata: Mapping[str, Any], parent: Mapping[str, Any]) -> bool:
    """Whether a run is that of a ``@task``, by its *metadata*; without it, attempts of tasks are not numbered."""
    path = metadata.get("langgraph_path") or (False,)
    return path[-1] is True and metadata.get(NAMESPACE) != parent.get(NAMESPACE)


def nested_nodes(namespace: str) -> Iterator[str]:
    """Yield the nodes around the run at *namespace*, outermost first; without them, it has no ``max_attempts``."""
    steps = namespace.split("|")
    for step, inner in pairwise(steps):
        name = step.partition(":")[0]
        if not (name.isdigit() or inner.startswith(ERROR_HANDLERS)):
            yield name


@_reads("the hits of a node cache", "cached nodes are not recorded")
def cached_nodes(found: Mapping[Any, Any]) -> list[tuple[str, object]]:
    """Return the names and outputs of the nodes and tasks whose writes are *found* in a cache."""
    return [(_cached_name(namespace), _cached_output(writes)) for (namespace, _), writes in found.items()]


def _cached_name(namespace: Sequence[str]) -> str:
    name = str(namespace[-1])
    return name if len(namespace) > 2 else name.rpartition(".")[2]  # a task has the path of its function


def _cached_output(writes: Any) -> object:
    """Return *writes* as a dict by key, as a list of these if a key was written twice, or as they are."""
    try:
        pairs = [(channel, value) for channel, value in writes if not channel.startswith(INTERNAL_CHANNELS)]
        output = dict(pairs or writes)
    except (AttributeError, TypeError, ValueError):
        return writes
    if not pairs:
        return output.get(RETURNED, output.get(ROOT))
    return [{channel: value} for channel, value in pairs] if len(output) < len(pairs) else output


def observe_timeouts(config: Any, report: Callable[[str, str], None]) -> None:
    """Call *report*, a bound method, with namespace and message of each node whose timeout, see *config*, expires."""
    previous = config["configurable"].get(_OBSERVER_KEY)
    is_attached = isinstance(previous, partial) and previous.func is _on_timed_attempt and previous.args[0] == report
    if _OBSERVER_KEY and not is_attached:
        config["configurable"][_OBSERVER_KEY] = partial(_on_timed_attempt, report, previous)


def _on_timed_attempt(report: Callable[[str, str], None], previous: Callable[[Any], None] | None, event: Any) -> None:
    if getattr(event, "error_type", None) == "NodeTimeoutError":
        report(event.context.checkpoint_ns, event.error_message)
    if previous is not None:
        previous(event)
