"""
The state of one call of a wrapped graph, collected from the events of all runs inside it.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any
from weakref import ReferenceType, ref

from fluxloop.bridge import Entry, OpenObservation
from fluxloop_langchain.internals import running_config
from fluxloop_langchain.runs import Run

from .internals import NAMESPACE, loop_in
from .interrupts import RaisedInterrupt, pause_of
from .topology import Topology


@dataclass(slots=True, eq=False)
class CallState:
    """What the events so far say about one call; it ends with the call."""

    topology: Topology
    root: Hashable | None = None
    """The key of the run of the graph itself."""
    generator: ReferenceType[Any] | None = None
    """The generator in which the call runs; a weak reference, as a program may end the call by dropping it."""
    attempts: dict[tuple[object, object], int] = field(default_factory=dict)
    """The number of attempts, by the key of the parent and the namespace of the node or task."""
    continuing: Run | None = None
    """The run of the graph, if it continues from a checkpoint and its RESUME event is not recorded yet."""
    raised: dict[str, RaisedInterrupt] = field(default_factory=dict)
    """The interrupts raised so far, by id."""
    stopped_node: str | None = None
    """The node whose subgraph stopped as configured, by ``interrupt_before`` or ``interrupt_after``."""
    is_stopped: bool = False
    """Whether an interrupt left a node of the graph itself, which stops the graph."""
    pauses: dict[Hashable, Any] = field(default_factory=dict)
    """The interrupt events of LangGraph, by the key of the run that waits."""
    timeouts: dict[str, str] = field(default_factory=dict)
    """The messages of nodes that exceeded their timeout, by namespace."""
    _loop: ReferenceType[Any] | None = None

    def watch(self, generator: Any) -> None:
        """Note the *generator* in which the call runs."""
        if hasattr(generator, "gi_frame") or hasattr(generator, "ag_frame"):
            self.generator = ref(generator)

    @property
    def loop(self) -> Any:
        """The loop that runs the graph; None if it cannot be found."""
        if self._loop is None and self.generator is not None and (loop := loop_in(self.generator())) is not None:
            self._loop = ref(loop)
        return self._loop() if self._loop is not None else None

    def topology_around(self, run: Run) -> Topology:
        """Return the structure of the graph that *run* is a node of."""
        namespace = run.metadata.get(NAMESPACE, "")
        return self.topology.around(namespace) if "|" in namespace else self.topology

    def count_attempt(self, run: Run, parent: Entry, limit: int, metadata: dict[str, Any]) -> None:
        """Count *run* as an attempt of its node or task; add its number and the limit if several are possible."""
        place = (parent.key, run.metadata.get(NAMESPACE))
        attempts = self.attempts
        if place not in attempts:
            attempts[place] = count = 1
        else:
            attempts[place] = count = attempts[place] + 1
        if count > 1 or limit > 1:
            metadata["attempt"], metadata["max_attempts"] = count, max(limit, count)

    def add_interrupts(self, run: Run, observation: OpenObservation | None, error: BaseException) -> None:
        """Add the interrupts that ended *run*; the innermost run that an interrupt ends is where it was raised."""
        node = run.metadata.get("langgraph_node")
        carried = error.args[0] if error.args and isinstance(error.args[0], list | tuple) else ()
        interrupts = [item for item in carried if hasattr(item, "id")]
        if not interrupts and self.stopped_node is None:
            self.stopped_node = node
        self.is_stopped |= run.parent is not None and run.parent.key == self.root
        for item in interrupts:
            if observation is not None and item.id not in self.raised:
                self.raised[item.id] = RaisedInterrupt(item, observation, node)

    def take_pause(self, key: Hashable, *, has_failed: bool) -> Any:
        """Return why the run *key* of a graph stopped; None if it did not, or if it failed without an interrupt."""
        pause = self.pauses.pop(key, None)
        if pause is not None or (has_failed and not self.raised):
            return pause
        return pause_of(self.loop, self.raised, is_certain=has_failed or self.is_stopped)


def current_config() -> Mapping[str, Any]:
    """Return the configuration of the node or other runnable that runs here; empty outside of one."""
    return running_config() or {}


def thread_id_in(config: Any) -> Any:
    """Return the thread id in *config*, that of a call or a graph; None without one."""
    return ((config or {}).get("configurable") or {}).get("thread_id")
