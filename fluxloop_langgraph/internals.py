"""
Every part of LangGraph that FluxLoop reads and that is not public API.

Private modules and methods, local variables, names and formats are read here and nowhere else; each docstring states
what is lost when a release changes them. A missing part is reported once, and only ever costs detail.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from importlib import import_module
from typing import Any

from langchain_core.callbacks import BaseCallbackHandler, BaseCallbackManager
from langgraph import errors

from fluxloop.bridge import note_missing

NAMESPACE = "langgraph_checkpoint_ns"
"""The metadata key with the position of a run among nested graphs, such as ``outer:1|inner:2``."""

UNNAMED = "LangGraph"
"""The name of a graph without a name of its own."""

UNNAMED_EDGES = frozenset({"RunnableCallable", "chain"})
"""The names of edges without a name of their own; an edge that is awaited is named ``chain``."""

ROOT = "__root__"
"""The channel of a state that is a single value, such as a list."""

ERROR_HANDLERS = ("__error_handler__", "__default_error_handler__")
"""The names of nodes that handle errors; LangGraph nests them under the failed node as if that were a graph."""

INTERNAL_CHANNELS = ("branch:", "__", "start:")
"""Prefixes of the channels that LangGraph uses for control flow."""

RETURNED = "__return__"
"""The channel with the result of a ``@task``."""

STATIC_STOPS = frozenset({"interrupt_before", "interrupt_after"})
"""The statuses of a loop that stopped at a node as configured."""

_missing = partial(note_missing, "fluxloop_langgraph")


def _private(module: str, name: str, lost: str) -> Any:
    """Return the attribute *name* of *module*, or None; a missing one is reported with what is *lost*."""
    try:
        return getattr(import_module(module), name)
    except (ImportError, AttributeError):
        _missing(f"{module}.{name}", lost)
        return None


try:
    from langgraph.callbacks import GraphCallbackHandler

    HAS_INTERRUPT_EVENTS = True
    """Whether handlers are notified of interrupts; public since LangGraph 1.1."""
except ImportError:
    GraphCallbackHandler = type("GraphCallbackHandler", (BaseCallbackHandler,), {})  # type: ignore[assignment,misc]
    HAS_INTERRUPT_EVENTS = False

# A release without this module is newer than all that are known, and those merge.
_ensure_config = _private(
    "langgraph._internal._config", "ensure_config", "callbacks of several configurations are assumed to be merged"
)

_config_variable = _private(
    "langchain_core.runnables.config", "var_child_runnable_config", "the node that runs is not known inside of it"
)

_OBSERVER_KEY = (
    _private(
        "langgraph._internal._constants",
        "CONFIG_KEY_TIMED_ATTEMPT_OBSERVER",
        "a node that exceeds its timeout is recorded as cancelled",
    )
    if hasattr(errors, "NodeTimeoutError")
    else None
)


@cache
def merges_callbacks() -> bool:
    """
    Whether this LangGraph merges the callbacks of a call, its graph and its surroundings, or uses the first of them.

    Without ``ensure_config`` they are assumed to be merged, as in all newer releases.
    """
    if _ensure_config is None:
        return True
    one, other = BaseCallbackHandler(), BaseCallbackHandler()
    return one in handlers_in(_ensure_config({"callbacks": [one]}, {"callbacks": [other]})["callbacks"])


def handlers_in(callbacks: Any) -> list[Any]:
    """Return the handlers in *callbacks*, the value of a configuration: a manager, a list or None."""
    return callbacks.handlers if isinstance(callbacks, BaseCallbackManager) else list(callbacks or ())


def current_config() -> Mapping[str, Any]:
    """
    Return the configuration of the node that runs here, which langchain-core keeps in a context variable.

    Without it, a graph called in a node is recorded twice if both are wrapped, and `trace_node` finds no metadata.
    """
    return (_config_variable.get() if _config_variable is not None else None) or {}


def defaults_method(graph_class: type) -> Callable[..., Any] | None:
    """
    Return ``Pregel._defaults``, which resolves the options of a call: its cache among them.

    Without it, cached nodes are not recorded, and a node that exceeds its timeout is recorded as cancelled.
    """
    method = getattr(graph_class, "_defaults", None)
    if method is None:
        _missing("Pregel._defaults", "cached nodes are not recorded, and node timeouts are recorded as cancelled")
    return method


def loop_in(generator: Any) -> Any:
    """
    Return the loop of a graph, a local variable of the running *generator* that ``Pregel.stream`` returned, or None.

    Without it, nodes have no ``checkpoint_id`` and tasks no ``max_attempts``. In LangGraph before 1.1, questions and
    answers lack their ``checkpoint_id``, and a stop by ``interrupt_before`` or ``interrupt_after`` is not seen.
    """
    frame = getattr(generator, "gi_frame", None) or getattr(generator, "ag_frame", None)
    if frame is None:
        return None  # the generator is exhausted
    loop = frame.f_locals.get("loop")
    if loop is not None and all(hasattr(loop, name) for name in ("checkpoint", "checkpointer", "status", "tasks")):
        return loop
    if loop is not None or "loop" not in frame.f_code.co_varnames + frame.f_code.co_cellvars:
        _missing("the local variable loop of Pregel.stream", "checkpoints of nodes and retries of tasks are unknown")
    return None


def checkpoint_in(loop: Any) -> str | None:
    """Return the id of the current checkpoint of *loop*; None if the graph saves none."""
    if loop is None or loop.checkpointer is None:
        return None
    return loop.checkpoint.get("id")  # type: ignore[no-any-return]


def retry_policy_in(loop: Any, namespace: str) -> Any:
    """Return the retry policy of the task that *loop* runs at *namespace*; None without one."""
    task = loop.tasks.get(namespace.rpartition(":")[2]) if loop is not None else None
    return getattr(task, "retry_policy", None)


def next_nodes_in(loop: Any) -> str | None:
    """Return the names of the nodes before which *loop* stopped; None if it did not."""
    if loop is None or loop.status != "interrupt_before":
        return None
    return ", ".join(sorted({task.name for task in loop.tasks.values()}))


def is_task(metadata: Mapping[str, Any], parent: Mapping[str, Any]) -> bool:
    """
    Whether a run with this *metadata* is that of a ``@task``: its path ends with a flag, its namespace is new.

    Without the flag, attempts of tasks are not numbered.
    """
    path = metadata.get("langgraph_path") or (False,)
    return path[-1] is True and metadata.get(NAMESPACE) != parent.get(NAMESPACE)


def cached_node(namespace: Sequence[str]) -> str:
    """
    Return the name of the node or task whose cached result is stored under *namespace*.

    If the format changes, cached nodes are recorded under another name.
    """
    name = str(namespace[-1])
    return name if len(namespace) > 2 else name.rpartition(".")[2]


def cached_output(writes: Any) -> object:
    """
    Return what a cached node returned, from its *writes*: by key, or a list if it wrote a key several times.

    If the format changes, the writes are recorded as they are.
    """
    try:
        pairs = [(str(channel), value) for channel, value in writes]
    except (TypeError, ValueError):
        return writes
    for channel, value in pairs:
        if channel in (RETURNED, ROOT):
            return value
    pairs = [pair for pair in pairs if not pair[0].startswith(INTERNAL_CHANNELS)]
    output = dict(pairs)
    return [{channel: value} for channel, value in pairs] if len(output) < len(pairs) else output or None


@dataclass(frozen=True, slots=True)
class TimeoutObserver:
    """Receives the events of attempts with a timeout, and passes them on to the observer that was there before."""

    report: Callable[[str, str], None]
    previous: Callable[[Any], None] | None

    def __call__(self, event: Any) -> None:
        if getattr(event, "error_type", None) == "NodeTimeoutError":
            self.report(event.context.checkpoint_ns, event.error_message)
        if self.previous is not None:
            self.previous(event)


def observe_timeouts(config: Any, report: Callable[[str, str], None]) -> None:
    """
    Call *report* with the namespace of each node that exceeds its timeout, and the message, before it is cancelled.

    Args:
        config: The configuration that LangGraph made for one call.
        report: A bound method, which is attached once.

    Without the key of the observer, such a node is recorded as cancelled.
    """
    if _OBSERVER_KEY is None:
        return
    configurable = config["configurable"]
    previous = configurable.get(_OBSERVER_KEY)
    if type(previous) is not TimeoutObserver or previous.report != report:
        configurable[_OBSERVER_KEY] = TimeoutObserver(report, previous)


def nested_nodes(namespace: str) -> Iterable[str]:
    """
    Return the nodes that are graphs around the run at *namespace*, outermost first.

    If the format changes, nodes of subgraphs have no ``max_attempts`` and no reducers in their changes.
    """
    steps = namespace.split("|")
    for step, inner in zip(steps, steps[1:], strict=False):
        name = step.partition(":")[0]
        if not (name.isdigit() or inner.startswith(ERROR_HANDLERS)):
            yield name
