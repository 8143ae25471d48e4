"""
The handler: a table from LangChain's events to observations.

The start and the end of a run open and close its observation in a ledger, by run id. Small methods decide the type and
the metadata of a run; the adapters of frameworks that are built on LangChain override them.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any
from uuid import UUID

from langchain_core.callbacks import BaseCallbackHandler

from fluxloop import FluxLoopClient, ObservationType, Status
from fluxloop.bridge import NOTHING, Entry, add_locator, default, status_of, was_raised_from_outside

from . import events, internals, interrupts, payloads, unrun_calls
from .internals import DONE, RaiseError, RunInline, inline_callback, is_resume
from .orphan_runs import key_of, ledger_of, locate, refer
from .runs import AGENT_EDGES, CHAIN, NO_TAGS, TYPES, Run, name_of, read_tags
from .tokens import TokenSink, sink_of

UNCOPIED = frozenset({"ledger", "_recorded_elsewhere", "_last_sink"})
"""Attributes of a handler that belong to the runs of this process, and not to its copies."""


def _starts(event: str, read: events.StartReader) -> Any:
    """Return the method for the start of a run; *read* returns the input to record."""

    def on_start(
        self: FluxLoopCallbackHandler,
        serialized: Any,
        given: Any,
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        tags: list[str] | None = None,
        metadata: dict[str, Any] | None = None,
        **extra: Any,
    ) -> Any:
        ledger, key, tool = self.ledger, key_of(run_id), None
        parent = ledger.entries.get(key_of(parent_run_id)) if parent_run_id else None
        if parent is None or event != "chain":
            id_ref, tool = ledger.watch(run_id, key, is_tool=event == "tool")
            parent = parent or ledger.ended_early.get(key_of(parent_run_id))
        else:  # LangChain reports the end of the chain, or of its parent
            id_ref = refer(run_id)
        try:
            name = extra.get("name") or name_of(serialized, event)
            facts = read_tags(tuple(tags)) if tags else NO_TAGS
            run = Run().described(self, event, key, name, given, facts, metadata or {}, extra, parent, id_ref)
            run.tool = tool
            self.begin(run, read)
        except BaseException as exc:  # the run keeps its place in the tree even if it cannot be read
            self.note_failure("beginning it", exc, key)
            unread = Run().described(self, event, key, event, None, NO_TAGS, {}, {}, parent, id_ref)
            ledger.start(key, TYPES.get(event, CHAIN), event, parent=parent, run=unread)
        if parent is None:
            add_locator(locate)
        return DONE

    return inline_callback(on_start)


def _ends(read: events.EndReader, *, event: str = "") -> Any:
    """Return the method for the end of a run, good or bad; *read* returns the outcome."""

    def on_end(self: FluxLoopCallbackHandler, result: Any, *, run_id: UUID, **extra: Any) -> Any:
        try:
            entry = self.ledger.entries.get(key_of(run_id))
            if entry is None and event == "model":
                entry = self.begin_unannounced(run_id, extra.get("parent_run_id"), extra.get("tags"))
            elif entry is not None and type(result) is not dict and isinstance(result, Exception):
                entry = self.unfold_failed(entry, result)
            if entry is not None and entry.run.handler is self:
                outcome = read(entry, result, extra) if entry.is_recorded else events.unrecorded(result)
                if entry.stream_items is not None:
                    self._last_sink = None
                    entry.stream_items.settle(outcome)
                if entry.run.pending_calls:
                    unrun_calls.record(self.ledger, entry, result)
                self.end(entry, result, outcome)
        except BaseException as exc:
            self.ledger.finish(key_of(run_id), **events.unrecorded(result))
            self.note_failure("ending it", exc)
        return DONE

    return inline_callback(on_end)


def _points(name: str, read: Callable[[Any], object], *, only_in_agents: bool = False) -> Any:
    """Return the method for a point in time of a run; *read* returns what to record of it."""

    def on_event(self: FluxLoopCallbackHandler, value: Any, *, run_id: UUID, **extra: Any) -> Any:
        if only_in_agents:
            self.make_agent(self.ledger.entries.get(key_of(run_id)))
        self.record_event(run_id, name, read, value)
        return DONE

    return inline_callback(on_event)


class FluxLoopCallbackHandler(BaseCallbackHandler):
    """
    Record LangChain runs as observations. Pass it in ``config={"callbacks": [...]}``, or see `install`.

    One handler records any number of runs at once, sync and async, in any thread. It opens a trace if none is open, and
    nests runs under the current observation. It never raises, and forgets a run at its end.

    Args:
        show_all: Also record what is folded by default: runs that the framework hides, runnables that only connect
            others and have no name of their own, prompts and parsers, the nodes of an agent.
        client: The client whose traces are recorded into; the package's own by default.
    """

    raise_error = RaiseError()  # False but for exceptions that were raised from outside
    run_inline = RunInline()  # False
    ignore_llm = ignore_retry = ignore_chain = ignore_agent = False
    ignore_retriever = ignore_chat_model = ignore_custom_event = False

    def __init__(self, *, show_all: bool = False, client: FluxLoopClient = default) -> None:
        self.show_all = show_all
        self.client = client
        self._join()

    def _join(self) -> None:
        self.ledger = ledger_of(self.client)
        self._recorded_elsewhere: set[Hashable] = set()
        """Model runs that another handler records."""
        self._last_sink: TokenSink | None = None
        """That of the run whose token came last; the next token is probably of the same run."""

    def __getstate__(self) -> dict[str, Any]:
        """Return what is copied, also to other processes: the settings, without the runs that are open here."""
        return {name: item for name, item in self.__dict__.items() if name not in UNCOPIED}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._join()

    def __repr__(self) -> str:
        return f"{type(self).__name__}(show_all={self.show_all})"

    on_chain_start = _starts("chain", events.chain_input)
    on_chat_model_start = _starts("model", events.chat_input)
    on_llm_start = _starts("model", events.prompt_input)
    on_tool_start = _starts("tool", events.tool_input)
    on_retriever_start = _starts("retriever", events.same_input)

    on_chain_end = _ends(events.chain_outcome)
    on_llm_end = _ends(events.model_outcome, event="model")
    on_tool_end = _ends(events.tool_outcome)
    on_retriever_end = _ends(events.retriever_outcome)

    on_chain_error = on_tool_error = on_retriever_error = _ends(events.failure)
    on_llm_error = _ends(events.model_failure, event="model")

    on_retry = _points("retry", payloads.retry)
    on_agent_action = _points("agent_action", payloads.attributes, only_in_agents=True)
    on_agent_finish = _points("agent_finish", payloads.attributes, only_in_agents=True)

    @inline_callback
    def on_llm_new_token(
        self,
        token: Any,
        *,
        run_id: UUID,
        chunk: Any = None,
        parent_run_id: UUID | None = None,
        tags: list[str] | None = None,
        **extra: Any,
    ) -> Any:
        """Record a token, or a list of content blocks."""
        try:
            sink = self._last_sink
            if sink is None or sink[0]() is not run_id:  # another run, or an equal id
                sink = self._find_sink(run_id, parent_run_id, tags)
            sink[1](token, chunk)
        except Exception as exc:
            self.note_failure("recording an item", exc)
        return DONE

    @inline_callback
    def on_stream_event(self, event: Any, *, run_id: UUID, **extra: Any) -> Any:
        """Record an event of a version 3 stream."""
        return self.on_llm_new_token(None, chunk=event, run_id=run_id, **extra)

    @inline_callback
    def on_custom_event(self, name: str, data: Any, *, run_id: UUID, **extra: Any) -> Any:
        """Record an event that user code dispatched, as EVENT of the run it came from."""
        self.record_event(run_id, name, payloads.same, data)
        return DONE

    @inline_callback
    def on_text(self, text: str, *, run_id: UUID, **extra: Any) -> Any:
        """Record a text for the console if everything is shown; it repeats the input of a model."""
        if self.show_all:
            self.record_event(run_id, "text", payloads.same, text)
        return DONE

    def begin(self, run: Run, read: events.StartReader) -> None:
        """Begin the observation of *run*, unless another FluxLoop handler has; *read* returns its input."""
        parent, pending = run.parent, None
        if parent is None:
            self._last_sink = None
            internals.register_langgraph_outcomes()
            if not self.ledger.entries:
                self._recorded_elsewhere.clear()
        else:
            if parent.run.is_resume:
                interrupts.record_noted_resume(self.ledger, parent.run)
            if run.name in AGENT_EDGES and run.is_agent_edge():
                self.make_agent(parent.parent)
            if run.event == "tool":
                unrun_calls.consume(run)
        if run.tags.is_node and run.event == "chain":
            run.pending_calls = pending = unrun_calls.pending_calls(run.input)
        if run.event == "model" and run.key in self.ledger.entries:
            self._recorded_elsewhere.add(run.key)
        elif parent is not None and not (parent.is_recorded or parent.is_folded):  # not recorded either
            self.ledger.start(run.key, CHAIN, run.name, parent=parent, run=run)
        elif self.is_folded(run):
            run.started = self.client.recorder.tick()
            self.ledger.start_folded(run.key, parent=parent, run=run)
        else:
            self._record(run, read)
            if type(run.input) is not dict and is_resume(run.input):
                self.resumes(run)
            if pending and (observation := self.ledger.get(run.key)) is not None:
                observation.tool_matcher = observation.tool_matcher or unrun_calls.call_consumer(run)

    def _record(self, run: Run, read: events.StartReader) -> None:
        try:
            given = read(run)
        except Exception as exc:  # the run is recorded without an input that cannot be read
            self.note_failure("reading its input", exc)
            given = NOTHING
        metadata = self.metadata_of(run)  # may record an event, which comes before the run
        kind = self.observation_type(run)
        options = run.trace_options() if run.parent is None else None
        observation = self.ledger.start(
            run.key, kind, run.name, parent=run.parent, input=given, read=payloads.readable, trace=options, run=run
        )
        if observation is not None:
            if run.started is not None:
                observation.backdate(run.started)
            observation.metadata = metadata or None
            if run.event == "model":
                observation.set_fields(**events.model_fields(run))
            elif run.event == "tool":
                observation.tool_matcher = events.tool_matcher(run)

    def end(self, entry: Entry, result: Any, outcome: events.Outcome) -> None:
        """End the observation of *entry* with *outcome*, which was read from *result*, and those inside it."""
        run: Run = entry.run
        if run.is_resume:
            interrupts.record_noted_resume(self.ledger, run)
        if type(result) is not dict and isinstance(result, BaseException):
            if status_of(result) is Status.INTERRUPTED:
                self.record_interrupts(run, result)
        elif run.interrupt_ids is not None and (observation := self.ledger.get(run.key)) is not None:
            interrupts.mark_waiting(observation, run)
            outcome["status"] = Status.INTERRUPTED
        self.ledger.finish(entry, **outcome)

    def record_interrupts(self, run: Run, error: BaseException) -> None:
        """Record the interrupts in *error*, by which LangGraph left *run*, unless the handler around it does."""
        handler = run.parent.run.handler if run.parent is not None else self
        if handler is not self:
            handler.record_interrupts(run, error)
        else:
            interrupts.record_interrupts(self.ledger.get(run.key), run, error)

    def resumes(self, run: Run) -> None:
        """Note that *run*, which has just begun, resumes a graph; another handler may record it with more detail."""
        run.is_resume = True

    def make_agent(self, entry: Entry | None) -> None:
        """Record an open run as AGENT, as a run inside it shows that it is one."""
        if entry is not None:
            self.ledger.rename(entry, ObservationType.AGENT, entry.run.name)

    def unfold_failed(self, entry: Entry, error: Exception) -> Entry | None:
        """Record a folded run if *error* is its own, and not that of a run inside it or of the stream it reads."""
        run: Run = entry.run
        is_its_own = run.handler is self and run.is_own_failure(error) and status_of(error) is Status.ERROR
        if is_its_own and entry.is_folded and entry.children is None:
            self.ledger.finish(entry)
            self._record(run, events.chain_input)
        return self.ledger.entries.get(run.key)

    def record_event(self, run_id: UUID, name: str, read: Callable[[Any], object], value: Any) -> None:
        """Record a point in time in a run."""
        try:
            entry = self.ledger.entries.get(key_of(run_id))
            if entry is None or entry.run.handler is self:
                self.ledger.event(name, parent=key_of(run_id), input=read(value))
        except Exception as exc:
            self.note_failure("recording an event", exc)

    def note_failure(self, doing: str, exc: BaseException, key: Hashable = None) -> None:
        """Count *exc* as a failure of FluxLoop; if it was raised from outside, end the run *key* and raise it again."""
        if was_raised_from_outside(exc):
            self.ledger.finish(key, error=exc)
            raise exc
        self.client.record_failure(doing, exc)

    def observation_type(self, run: Run) -> ObservationType:
        """Return the observation type of *run*."""
        return run.observation_type()

    def is_folded(self, run: Run) -> bool:
        """Whether *run* makes no observation, so that runs inside it are nested under its parent."""
        return not self.show_all and run.is_plumbing()

    def metadata_of(self, run: Run) -> dict[str, Any]:
        """Return the metadata of *run* at its start."""
        found = run.start_metadata()
        return found if run.event == "chain" else found | events.event_metadata(run)

    def begin_unannounced(self, run_id: UUID, parent_id: UUID | None, tags: list[str] | None) -> Entry | None:
        """
        Begin a model run without a start event, and return its entry.

        Handlers with ``run_inline``, such as LangGraph's own, make langchain-core skip the start of a completion model
        for other handlers. A run that ended with its parent is not begun again.
        """
        key, parent = key_of(run_id), self.ledger.entries.get(key_of(parent_id)) if parent_id is not None else None
        if key in self._recorded_elsewhere:
            self._recorded_elsewhere.discard(key)
        elif (parent_id is None or parent is not None) and key not in self.ledger.unannounced:
            self.ledger.unannounced.append(key)
            facts = read_tags(tuple(tags)) if tags else NO_TAGS
            run = Run().described(self, "model", key, "model", NOTHING, facts, {}, {}, parent, refer(run_id))
            self.begin(run, events.same_input)
            add_locator(locate)
        return self.ledger.entries.get(key)

    def _find_sink(self, run_id: UUID, parent_id: UUID | None, tags: list[str] | None) -> TokenSink:
        """Return and cache the token sink of this run; it discards tokens if another handler records the run."""
        entry = self.ledger.entries.get(key_of(run_id)) or self.begin_unannounced(run_id, parent_id, tags)
        is_own = entry is not None and entry.run.handler is self
        self._last_sink = sink = refer(run_id) or (lambda: run_id), sink_of(entry if is_own else None)
        return sink


internals.register_as_tracer(FluxLoopCallbackHandler)
