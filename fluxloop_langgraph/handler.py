"""
The handler a wrapped graph hands to each call: what a graph's run has beyond that of a chain.

Nodes say how often they were tried and what they changed, nodes whose result came from a cache are seen, and a run
that waits for a human ends as such, with what it asks as an EVENT of the node that asks.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any
from weakref import ReferenceType

from fluxloop import FluxLoopClient, ObservationType, Status
from fluxloop.bridge import Entry, OpenObservation, default
from fluxloop_langchain import FluxLoopCallbackHandler
from fluxloop_langchain.events import Ending, StartReader
from fluxloop_langchain.inline_callbacks import DONE, in_place
from fluxloop_langchain.runs import AGENT_LOOP, CHAIN, Run, key_of

from . import interrupts
from .changes import changes, held
from .interrupts import GraphCallbackHandler, GraphInterrupt, ParentCommand
from .pregel_internals import checkpoint_of, loop_of, next_nodes, task_in
from .timeouts import TIMED_OUT
from .topology import UNNAMED, Facts, attempts_in, facts_of

UNIMPORTANT = frozenset({UNNAMED, "RunnableCallable", "chain"}) | AGENT_LOOP
"""
What is looked at closely before it is recorded: an agent's nodes, and graphs and edges that nobody gave a name;
LangGraph names an edge it awaits not at all.
"""

_PLACE = "langgraph_checkpoint_ns"
"""The metadata that says where in the graph, and in which of its steps, a run is."""


class GraphHandler(FluxLoopCallbackHandler, GraphCallbackHandler):
    """
    Record one call of a graph.

    Args:
        graph: The graph that is called.
        show_all: As for `FluxLoopCallbackHandler`.
        client: As for `FluxLoopCallbackHandler`.
    """

    def __init__(self, graph: Any, *, show_all: bool = False, client: FluxLoopClient = default) -> None:
        super().__init__(show_all=show_all, client=client)
        self.running: ReferenceType[Any] | None = None
        """The generator in which the call runs; held weakly, as dropping it is how a program may end the call."""
        self.root: Hashable | None = None
        """The key of the run of the graph itself."""
        self.loop: ReferenceType[Any] | None = None
        self.attempts: dict[tuple[object, object], int] = {}
        self.asked: dict[str, interrupts.Asked] = {}
        """Who has asked a human during this call, by the id of the interrupt."""
        self.stopped_at: str | None = None
        """The node that is a graph which was told to stop, and so asked nothing."""
        self.resuming: Run | None = None
        """The call's run, where it goes on from a checkpoint and that is not recorded yet."""
        self.paused: dict[Hashable, Any] = {}
        """What LangGraph tells about the runs that wait, by their keys."""
        self.late: dict[str, str] = {}
        """What LangGraph says of nodes that took too long and are being cancelled, by their places."""
        self.facts = facts_of(graph)

    def begin(self, run: Run, read: StartReader) -> None:
        """As `FluxLoopCallbackHandler.begin`; a run another handler of ours has begun already is taken over."""
        entry = self.ledger.entries.get(run.key)
        if entry is None or run.event == "model":  # whose end is not to be taken for one without a start
            super().begin(run, read)
        elif run.event == "chain":
            self._take_over(entry, run)
        if self.root is None and run.event == "chain":
            self.root = run.key
            self._begin_graph(run)

    def _take_over(self, entry: Entry, run: Run) -> None:
        entry.about = run
        if entry.observation is None or not entry.is_recorded:
            return
        if run.above is not None and self.is_folded(run):
            self.ledger.fold(entry)
        else:
            entry.observation.add_metadata(**self.metadata_of(run))
            if self.kind_of(run) is ObservationType.AGENT:
                self.make_agent(entry)

    def is_folded(self, run: Run) -> bool:
        """As `FluxLoopCallbackHandler.is_folded`; and what a node consists of, if a graph or edge without a name."""
        if self.show_all:
            return False
        if run.is_plumbing():
            return True
        if run.event != "chain" or run.above is None:
            return False
        name, above = run.name, run.above.about
        if name == UNNAMED or name == above.name:
            return above.marks.is_node and above.node() in self._facts(above).graphs
        if name not in UNIMPORTANT:
            return False
        if name in AGENT_LOOP:
            return run.node() == name and self._facts(run).is_agent
        return name != "chain" or not run.extra.get("name")

    def kind_of(self, run: Run) -> ObservationType:
        """As `FluxLoopCallbackHandler.kind_of`; a node that is an agent is one."""
        is_agent = run.marks.is_node and run.name in self._facts(run).agents
        return ObservationType.AGENT if is_agent else super().kind_of(run)

    def metadata_of(self, run: Run) -> dict[str, Any]:
        """As `FluxLoopCallbackHandler.metadata_of`, with the attempt and the checkpoint of a node."""
        if run.event != "chain":
            return super().metadata_of(run)
        facts, above = run.facts(), run.above
        if above is not None:
            if run.marks.is_node:
                facts |= self._graph_facts(run, above)
            elif _is_task(run, above):
                facts |= self._attempts(run, above, self._limit_of_task(run))
        return facts

    def _graph_facts(self, run: Run, above: Entry) -> dict[str, Any]:
        """Return what is noted about *run*, of a node of the graph that runs *above*."""
        given, facts = run.given, self._facts(run)
        run.more = given.copy() if type(given) is dict else held(given), facts  # for what it changes
        if self.resuming is not None:
            self._resume()
        limit = facts.max_attempts.get(run.metadata.get("langgraph_node", ""), 1)
        about = self._attempts(run, above, limit)
        if above.key == self.root and (checkpoint_id := checkpoint_of(self._loop())):
            about["checkpoint_id"] = checkpoint_id
        return about

    def _attempts(self, run: Run, above: Entry, limit: int) -> dict[str, Any]:
        """Count *run* as a try of its node or task, and return which it is, where there may be several."""
        place = (above.key, run.metadata.get(_PLACE))
        self.attempts[place] = count = self.attempts.get(place, 0) + 1
        return {"attempt": count, "max_attempts": max(limit, count)} if count > 1 or limit > 1 else {}

    def _limit_of_task(self, run: Run) -> int:
        """Return how often the ``@task`` that *run* is may be tried, which only the loop knows that runs it."""
        task = task_in(self._loop(), run.metadata.get(_PLACE, ""))
        return attempts_in(getattr(task, "retry_policy", None))

    def _facts(self, run: Run) -> Facts:
        """Return what is known of the graph in which the node *run* is one."""
        namespace = run.metadata.get(_PLACE, "")
        return self.facts.inside(namespace) if "|" in namespace else self.facts

    def _resume(self) -> None:
        """Record that the call goes on from a checkpoint, where only the loop can tell from which."""
        run, self.resuming = self.resuming, None
        observation = self._observation(run.key) if run is not None else None
        if run is not None and observation is not None:
            interrupts.resumed(observation, run, checkpoint_of(self._loop()))

    def _loop(self) -> Any:
        if self.loop is None and self.running is not None:
            loop = loop_of(self.running())
            if loop is None:
                return None
            self.loop = ReferenceType(loop)
        return self.loop() if self.loop is not None else None

    def _begin_graph(self, run: Run) -> None:
        observation = self._observation(run.key)
        if observation is None:
            return
        if self.facts.is_agent:
            self.make_agent(self.ledger.entries.get(run.key))
        mermaid = self.facts.mermaid()
        if mermaid is not None:
            observation.trace.metadata.setdefault("topology", mermaid)
        self.resuming = run if not interrupts.ARE_TOLD and interrupts.answers(run.given) else None

    def _observation(self, key: Hashable) -> OpenObservation | None:
        entry = self.ledger.entries.get(key)
        return entry.observation if entry is not None and entry.is_recorded else None

    def end(self, run: Run, result: Any, ending: Ending) -> None:
        """As `FluxLoopCallbackHandler.end`, with what a graph's or node's run has besides."""
        if isinstance(result, BaseException):
            self._failed(run, result, ending)
        elif run.event == "chain":
            self._changed(run, result, ending)
        if self.late:
            self._end_late(run, ending)
        if run.event == "chain" and (run.key == self.root or run.key in self.paused):
            self._stops(run, result, ending)
        self.ledger.finish(run.key, **ending)

    def _changed(self, run: Run, result: Any, ending: Ending) -> None:
        """Note in the *ending* of a node's run what the node changed in the state, as far as that is to be captured."""
        observation = self._observation(run.key) if run.more is not None else None
        if observation is None or not observation.trace.recorder.captures_output:
            return
        before, facts = run.more
        changed = changes(before, result, facts.reducers, facts.keys)
        if not observation.trace.recorder.captures_input:
            for change in changed.values():
                if type(change) is dict:
                    change.pop("from", None)
        if changed:
            ending["metadata"] = {**ending.get("metadata", {}), "changes": changed}

    def _failed(self, run: Run, error: BaseException, ending: Ending) -> None:
        """Complete the *ending* of a run that was left by *error*, which may steer the graph rather than fail it."""
        if isinstance(error, GraphInterrupt):
            self.asks(run, error)
        elif isinstance(error, ParentCommand):
            ending["output"] = error.args[0]

    def took_too_long(self, place: str, message: str) -> None:
        """Note that the node at *place* is cancelled because its own time is up."""
        self.late[place] = message

    def _end_late(self, run: Run, ending: Ending) -> None:
        """Let *run*, and what it leaves open, end as failures where their time was up; what they return is lost."""
        entry = self.ledger.entries.get(run.key)
        for left_open in tuple(entry.below or ()) if entry is not None else ():
            if told := self._lateness(left_open.about):
                self.ledger.finish(left_open, **told)
        ending.update(self._lateness(run))

    def _lateness(self, run: Run) -> Ending:
        if not (run.marks.is_node or (run.above is not None and _is_task(run, run.above))):
            return {}
        message = self.late.pop(run.metadata.get(_PLACE, ""), None)
        if message is None:
            return {}
        return {"error": message, "status": Status.ERROR, "metadata": {"error_type": TIMED_OUT}}

    def asks(self, run: Run, error: BaseException) -> None:
        """Note the innermost run that each interrupt came from, or what that is folded into; the graph's end tells."""
        entry = self.ledger.entries.get(run.key)
        observation = entry.observation if entry is not None else None
        asked = error.args[0] if error.args else ()
        if not asked and self.stopped_at is None:
            self.stopped_at = run.metadata.get("langgraph_node")
        for one in asked:
            if observation is not None and one.id not in self.asked:
                self.asked[one.id] = interrupts.Asked(one, observation, run.metadata.get("langgraph_node"))

    def resumes(self, run: Run) -> None:
        """Wait for what the graph tells: from which checkpoint it goes on."""

    def _stops(self, run: Run, result: Any, ending: Ending) -> None:
        """Complete the *ending* of a graph's own run: it may be one that waits."""
        if self.resuming is run:
            self._resume()
        told, has_ended_well = self.paused.pop(run.key, None), not isinstance(result, BaseException)
        if told is None and has_ended_well and not interrupts.ARE_TOLD:
            told = interrupts.guessed(self._loop(), self.asked, self.stopped_at)
        elif told is None and not has_ended_well and self.asked:  # it can be answered all the same
            told = interrupts.left(self._loop(), self.asked)
        observation = self._observation(run.key)
        if told is not None and observation is not None:
            interrupts.waits(observation, run, told, self.asked, self.stopped_at or next_nodes(self._loop()))
            if has_ended_well:
                ending["status"] = Status.INTERRUPTED

    @in_place
    def on_interrupt(self, event: Any) -> Any:
        """Note that a run of the graph waits; the run ends after this."""
        if event.run_id is not None:
            self.paused[key_of(event.run_id)] = event
        return DONE

    @in_place
    def on_resume(self, event: Any) -> Any:
        """Record that a run goes on from where one waited; its subgraphs tell so too, which says nothing new."""
        try:
            entry = self.ledger.entries.get(key_of(event.run_id)) if event.run_id is not None else None
            if entry is not None and entry.is_recorded and entry.observation and not event.checkpoint_ns:
                interrupts.resumed(entry.observation, entry.about, event.checkpoint_id)
        except Exception as exc:
            self.client.record_failure("noting an event", exc)
        return DONE

    def cached(self, node: str, writes: Any) -> None:
        """Record a node that did not run, as what it would have written came from the cache."""
        try:
            above = self._graph_running()
            key = object()
            metadata = {"langgraph_node": node, "cached": True}
            self.ledger.start(key, CHAIN, node, parent=above, metadata=metadata)
            self.ledger.finish(key, output=writes)
        except Exception as exc:
            self.client.record_failure("noting an event", exc)

    def _graph_running(self) -> Any:
        """Return the entry or id of the graph's run that goes on here: the call's own, or a subgraph's in a node."""
        entry = self.ledger.entries.get(interrupts.running_step())
        if entry is None or entry.about.handler is not self:
            return self.root
        below = [one for one in tuple(entry.below or ()) if one.about is not None and one.about.event == "chain"]
        return below[-1] if below else entry


def _is_task(run: Run, above: Entry) -> bool:
    """Whether *run* is that of a ``@task``, which has the metadata of a node, as all below it do, but no tag."""
    path = run.metadata.get("langgraph_path") or (False,)
    return path[-1] is True and run.metadata.get(_PLACE) != above.about.metadata.get(_PLACE)
