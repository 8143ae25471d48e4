"""
The handler that a wrapped graph adds to each of its calls.

It records what LangGraph adds to LangChain's runs: attempts, changes of the state, cached nodes, timeouts, checkpoints,
interrupts and answers. The state of the call is in one object, see `CallState`.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from functools import lru_cache
from typing import Any

from langgraph.errors import GraphInterrupt, ParentCommand

from fluxloop import FluxLoopClient, ObservationType, Status
from fluxloop.bridge import Entry, OpenObservation, default
from fluxloop_langchain import FluxLoopCallbackHandler
from fluxloop_langchain.events import Outcome, StartReader
from fluxloop_langchain.internals import DONE, inline_callback, is_resume
from fluxloop_langchain.interrupts import record_resume
from fluxloop_langchain.orphan_runs import key_of, running_key
from fluxloop_langchain.runs import AGENT_LOOP, CHAIN, Run, may_be_plumbing

from . import internals
from .call_state import CallState, current_config
from .changes import changes, values_of
from .internals import NAMESPACE, ROOT, UNNAMED, GraphCallbackHandler
from .interrupts import record_pause
from .topology import attempts_in, topology_of

CHECKED_NAMES = frozenset({UNNAMED}) | internals.UNNAMED_EDGES | AGENT_LOOP
"""The names of runs that may be folded: nodes of agents, and graphs and edges without a name of their own."""


@lru_cache(maxsize=1_000)
def may_be_folded(name: str, run_type: str | None) -> bool:
    """Return whether a run may be folded for its name or type, rather than for a tag or its parent."""
    return name in CHECKED_NAMES or may_be_plumbing(name, run_type)


class GraphHandler(FluxLoopCallbackHandler, GraphCallbackHandler):
    """Record one call of *graph*; the options are those of `FluxLoopCallbackHandler`."""

    def __init__(self, graph: Any, *, show_all: bool = False, client: FluxLoopClient = default) -> None:
        super().__init__(show_all=show_all, client=client)
        self.call = CallState(topology_of(graph))

    def begin(self, run: Run, read: StartReader) -> None:
        """As `FluxLoopCallbackHandler.begin`; a run that another handler has begun is adopted."""
        entry = self.ledger.entries.get(run.key)
        if entry is None or run.event == "model":  # LangChain's handler counts models that begin unannounced
            FluxLoopCallbackHandler.begin(self, run, read)
        elif run.event == "chain":
            self._adopt(entry, run)
        if self.call.root is None and run.event == "chain":
            self.call.root = run.key
            self._begin_graph(run)

    def _adopt(self, entry: Entry, run: Run) -> None:
        run.pending_calls = entry.run.pending_calls
        entry.run = run
        if entry.observation is None or not entry.is_recorded:
            return
        if run.parent is not None and self.is_folded(run):
            self.ledger.fold(entry)
        else:
            entry.observation.add_metadata(**self.metadata_of(run))
            if self.observation_type(run) is ObservationType.AGENT:
                self.make_agent(entry)

    def _begin_graph(self, run: Run) -> None:
        if (observation := self._observation(run.key)) is None:
            return
        if self.call.topology.is_agent:
            self.make_agent(self.ledger.entries.get(run.key))
        if (mermaid := self.call.topology.mermaid) is not None:
            observation.trace.metadata.setdefault("topology", mermaid)
        if is_resume(run.input) or (run.input is None and not internals.HAS_INTERRUPT_EVENTS):
            self.call.continuing = run

    def is_folded(self, run: Run) -> bool:
        """As `FluxLoopCallbackHandler.is_folded`; graphs and edges without a name of their own are folded as well."""
        if self.show_all:
            return False
        name, around = run.name, run.parent
        is_usual = around is not None and name != around.run.name and not run.tags.is_hidden
        if is_usual and not may_be_folded(name, run.extra.get("run_type")):
            return False
        if run.is_plumbing():
            return True
        if run.event != "chain" or around is None:
            return False
        parent: Run = around.run
        if name == UNNAMED or name == parent.name:
            return parent.tags.is_node and parent.node() in self.call.topology_around(parent).graph_nodes
        if name in AGENT_LOOP:
            return run.node() == name and self.call.topology_around(run).is_agent
        return name in CHECKED_NAMES and (name != "chain" or not run.extra.get("name"))

    def observation_type(self, run: Run) -> ObservationType:
        """As `FluxLoopCallbackHandler.observation_type`; AGENT for a node that is an agent."""
        if run.tags.is_node:
            topology = run.node_state[1] if run.node_state is not None else self.call.topology_around(run)
            if (graphs := topology.graph_nodes) and (graph := graphs.get(run.name)) is not None and graph.is_agent:
                return ObservationType.AGENT
        return run.observation_type()

    def metadata_of(self, run: Run) -> dict[str, Any]:
        """As `FluxLoopCallbackHandler.metadata_of`; with the attempt and the checkpoint of a node."""
        if run.event != "chain":
            return super().metadata_of(run)
        metadata, parent = run.start_metadata(), run.parent
        if parent is None:
            return metadata
        if run.tags.is_node:
            self._add_node_metadata(run, parent, metadata)
        elif internals.is_task(run.metadata, parent.run.metadata):
            policy = internals.retry_policy_in(self.call.loop, run.metadata.get(NAMESPACE, ""))
            self.call.count_attempt(run, parent, attempts_in(policy), metadata)
        return metadata

    def _add_node_metadata(self, run: Run, parent: Entry, metadata: dict[str, Any]) -> None:
        call, given = self.call, run.input
        topology = call.topology_around(run)
        before = {ROOT: given} if topology.is_single else given.copy() if type(given) is dict else values_of(given)
        run.node_state = before, topology  # read when the node ends, see `_add_changes`
        if call.continuing is not None:
            self._record_continuing()
        limits = topology.max_attempts
        limit = limits.get(run.metadata.get("langgraph_node", ""), 1) if limits else 1
        call.count_attempt(run, parent, limit, metadata)
        if parent.key == call.root and (checkpoint_id := internals.checkpoint_in(call.loop)):
            metadata["checkpoint_id"] = checkpoint_id

    def end(self, entry: Entry, result: Any, outcome: Outcome) -> None:
        """As `FluxLoopCallbackHandler.end`; with changes, interrupts and timeouts."""
        run, call = entry.run, self.call
        has_failed = type(result) is not dict and isinstance(result, BaseException)
        if not has_failed:
            if run.node_state is not None and entry.is_recorded and entry.observation is not None:
                self._add_changes(entry, result)
        elif isinstance(result, GraphInterrupt):
            self.record_interrupts(run, result)
        elif isinstance(result, ParentCommand):
            outcome["output"] = result.args[0]
        if call.timeouts:
            self._add_timeout(run, outcome)
        if run.event == "chain" and (run.key == call.root or (call.pauses and run.key in call.pauses)):
            self._add_pause(run, outcome, has_failed=has_failed)
        self.ledger.finish(entry, **outcome)

    def _add_changes(self, entry: Entry, result: Any) -> None:
        recorder = entry.observation.trace.recorder
        if not recorder.captures_output:
            return
        before, topology = entry.run.node_state
        try:
            found = changes(before, result, topology.reducers, topology.keys, recorder.captures_input)
        except Exception as exc:  # the output is recorded even if it cannot be compared
            self.note_failure("comparing the state", exc)
            return
        # The metadata is the dict that `metadata_of` has made; there is none if another thread has ended the run.
        if found and (metadata := entry.observation.metadata) is not None:
            metadata["changes"] = found

    def _add_timeout(self, run: Run, outcome: Outcome) -> None:
        """End *run*, and open runs inside it, as failures if their timeout is exceeded: LangGraph cancels them."""
        entry = self.ledger.entries.get(run.key)
        for child in tuple(entry.children or ()) if entry is not None else ():
            if timeout := self._timeout_of(child.run):
                self.ledger.finish(child, **timeout)
        outcome.update(self._timeout_of(run))

    def _timeout_of(self, run: Run) -> Outcome:
        is_task = run.parent is not None and internals.is_task(run.metadata, run.parent.run.metadata)
        namespace = run.metadata.get(NAMESPACE, "") if run.tags.is_node or is_task else ""
        message = self.call.timeouts.pop(namespace, None)
        outcome = {"error": message, "status": Status.ERROR, "metadata": {"error_type": "NodeTimeoutError"}}
        return outcome if message is not None else {}

    def _add_pause(self, run: Run, outcome: Outcome, *, has_failed: bool) -> None:
        if self.call.continuing is run:
            self._record_continuing()
        pause, observation = self.call.take_pause(run.key, has_failed=has_failed), self._observation(run.key)
        if pause is not None and observation is not None:
            node = self.call.stopped_node or internals.next_nodes_in(self.call.loop)
            record_pause(observation, run, pause, self.call.raised, node)
            if not has_failed:  # a failed run can be continued as well, and stays an error
                outcome["status"] = Status.INTERRUPTED

    def record_interrupts(self, run: Run, error: BaseException) -> None:
        """Note the interrupts that ended *run*; they are recorded when the graph ends."""
        entry = self.ledger.entries.get(run.key)
        self.call.add_interrupts(run, entry.observation if entry is not None else None, error)

    def resumes(self, run: Run) -> None:
        """Leave the answer to `on_resume`, which has the checkpoint."""

    @inline_callback
    def on_interrupt(self, event: Any) -> Any:
        """Note why a graph stops; its run ends after this event."""
        self.call.pauses[key_of(event.run_id)] = event
        return DONE

    @inline_callback
    def on_resume(self, event: Any) -> Any:
        """Record that a graph continues from a checkpoint; the same event for its subgraphs is ignored."""
        try:
            key = key_of(event.run_id)
            observation = self._observation(key)
            if observation is not None and not event.checkpoint_ns:
                record_resume(observation, self.ledger.entries[key].run, event.checkpoint_id)
                self.call.continuing = None
        except Exception as exc:
            self.note_failure("recording an event", exc)
        return DONE

    def _record_continuing(self) -> None:
        """Record that the graph continues, if LangGraph has sent no event for it."""
        run, self.call.continuing = self.call.continuing, None
        observation = self._observation(run.key) if run is not None else None
        if run is not None and observation is not None:
            record_resume(observation, run, internals.checkpoint_in(self.call.loop))

    def note_timeout(self, namespace: str, message: str) -> None:
        """Note that the node at *namespace* exceeded its timeout, and is cancelled next."""
        self.call.timeouts[namespace] = message

    def record_cached(self, found: Mapping[Any, Any]) -> None:
        """Record the nodes that do not run because the cache has their writes."""
        try:
            for node, output in internals.cached_nodes(found) or ():
                key, metadata = object(), {"langgraph_node": node, "cached": True}
                self.ledger.start(key, CHAIN, node, parent=self._running_graph())
                self.ledger.finish(key, output=output, metadata=metadata)
        except Exception as exc:
            self.note_failure("recording a cached node", exc)

    def _running_graph(self) -> Any:
        """Return the entry or key of the graph that runs here: the graph itself, or a subgraph in one of its nodes."""
        entry = self.ledger.entries.get(running_key(current_config()))
        if entry is None or entry.run.handler is not self:
            return self.call.root
        children = [one for one in tuple(entry.children or ()) if one.run is not None and one.run.event == "chain"]
        return children[-1] if children else entry

    def _observation(self, key: Hashable) -> OpenObservation | None:
        entry = self.ledger.entries.get(key)
        return entry.observation if entry is not None and entry.is_recorded else None
