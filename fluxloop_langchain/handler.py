"""
The handler: a table from LangChain's events to observations.

The start and the end of a run open and close its observation in a ledger, by run id. What a run is and what is
recorded of it is decided by small methods, for the adapters of what is built on LangChain to override.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, TypeAlias
from uuid import UUID

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.tracers.base import BaseTracer

from fluxloop import FluxLoopClient, ObservationType, Status
from fluxloop.bridge import NOTHING, Entry, default, status_of

from . import events, interrupts, payloads
from .inline_callbacks import DONE, in_place
from .ledgers import ledger_of
from .orphan_runs import refer
from .runs import AGENT_EDGES, CHAIN, KINDS, NO_MARKS, Run, key_of, marks_of, name_of
from .tokens import note_of, unheard

Speaking: TypeAlias = tuple[Callable[[], object], Callable[[object, object], None]]
"""What gives the id of a run that streams, and what notes its tokens."""

OF_ITS_RUNS = frozenset({"ledger", "_left_to_others", "_speaking"})
"""Attributes of a handler that belong to the runs of this process, and not to its copies."""


def _starts(event: str, read: events.StartReader) -> Any:
    """Return the method for the start of a run; *read* tells what is to be recorded of what it was given."""

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
        key = getattr(run_id, "int", run_id)  # `key_of`, without the calls
        above = self.ledger.entries.get(getattr(parent_run_id, "int", parent_run_id)) if parent_run_id else None
        if above is None or event != "chain":
            id_ref = self.ledger.watch(run_id, key)
            above = above or self.ledger.left.get(key_of(parent_run_id))
        else:  # what ends it is told, or ends what is above it as well
            id_ref = refer(run_id)
        try:
            name = extra.get("name") or name_of(serialized, event)
            marks = marks_of(tuple(tags)) if tags else NO_MARKS
            self.begin(Run(self, event, key, name, given, marks, metadata or {}, extra, above, id_ref), read)
        except Exception as exc:  # what we cannot read must not cost what is below its place in the tree
            self.client.record_failure("beginning it", exc)
            unread = Run(self, event, key, event, None, NO_MARKS, {}, {}, above, id_ref)
            self.ledger.start(key, KINDS.get(event, CHAIN), event, parent=above, about=unread)
        return DONE

    return in_place(on_start)


def _ends(read: events.EndReader, *, event: str = "") -> Any:
    """Return the method for the end of a run, good or bad; *read* tells how it ended."""

    def on_end(self: FluxLoopCallbackHandler, result: Any, *, run_id: UUID, **extra: Any) -> Any:
        try:
            entry = self.ledger.entries.get(getattr(run_id, "int", run_id))
            if entry is None and event == "model":
                entry = self.missed(run_id, extra.get("parent_run_id"), extra.get("tags"))
            elif entry is not None and isinstance(result, Exception):
                entry = self.failed(entry, result)
            if entry is not None and entry.about.handler is self:
                ending = read(entry, result, extra) if entry.is_recorded else events.bare(result)
                if entry.stream_items is not None:
                    entry.stream_items.is_answered = "output" in ending
                    self._speaking = None
                self.end(entry.about, result, ending)
        except Exception as exc:
            self.client.record_failure("ending it", exc)
            self.ledger.finish(key_of(run_id), **events.bare(result))
        return DONE

    return in_place(on_end)


def _happens(name: str, read: Callable[[Any], object], *, only_in_agents: bool = False) -> Any:
    """Return the method for something that happens at one point of a run; *read* tells what."""

    def on_event(self: FluxLoopCallbackHandler, what: Any, *, run_id: UUID, **extra: Any) -> Any:
        if only_in_agents:
            self.make_agent(self.ledger.entries.get(key_of(run_id)))
        self.record_event(run_id, name, read, what)
        return DONE

    return in_place(on_event)


class FluxLoopCallbackHandler(BaseCallbackHandler):
    """
    Record LangChain runs as observations. Pass it in ``config={"callbacks": [...]}``, or see `install`.

    One handler serves any number of runs at once, sync and async, in any thread. It opens a trace where none is
    open, and nests under what is current where one is. It never raises, and forgets a run when that ends.

    Args:
        show_all: Record also what is folded by default: runs the framework marks hidden, runnables that only
            connect others and have no name of their own, prompts and parsers, the nodes an agent consists of.
        client: Whose traces to record into; the package's own by default.
    """

    raise_error = False
    run_inline = False  # it would starve other people's handlers, see `in_place`
    ignore_llm = ignore_retry = ignore_chain = ignore_agent = False
    ignore_retriever = ignore_chat_model = ignore_custom_event = False

    def __init__(self, *, show_all: bool = False, client: FluxLoopClient = default) -> None:
        self.show_all = show_all
        self.client = client
        self._join()

    def _join(self) -> None:
        self.ledger = ledger_of(self.client)
        self._left_to_others: set[Hashable] = set()
        self._speaking: Speaking | None = None
        """The run whose token came last, as the next one is most likely its."""

    def __getstate__(self) -> dict[str, Any]:
        """What goes into a copy, or to another process: settings, and none of the runs that are open here."""
        return {name: item for name, item in self.__dict__.items() if name not in OF_ITS_RUNS}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._join()

    def __repr__(self) -> str:
        return f"{type(self).__name__}(show_all={self.show_all})"

    on_chain_start = _starts("chain", events.chain_given)
    on_chat_model_start = _starts("model", events.chat_given)
    on_llm_start = _starts("model", events.prompt_given)
    on_tool_start = _starts("tool", events.tool_given)
    on_retriever_start = _starts("retriever", events.same)

    on_chain_end = _ends(events.chain_ended)
    on_llm_end = _ends(events.model_ended, event="model")
    on_tool_end = _ends(events.tool_ended)
    on_retriever_end = _ends(events.retriever_ended)

    on_chain_error = on_tool_error = on_retriever_error = _ends(events.failed)
    on_llm_error = _ends(events.model_failed, event="model")

    on_retry = _happens("retry", payloads.retry)
    on_agent_action = _happens("agent_action", payloads.attributes, only_in_agents=True)
    on_agent_finish = _happens("agent_finish", payloads.attributes, only_in_agents=True)

    @in_place
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
        """Note a token, or a list of content blocks."""
        try:
            speaking = self._speaking
            if speaking is None or speaking[0]() is not run_id:
                speaking = self._speaker(run_id, parent_run_id, tags)
            speaking[1](token, chunk)
        except Exception as exc:
            self.client.record_failure("noting an item", exc)
        return DONE

    @in_place
    def on_stream_event(self, event: Any, *, run_id: UUID, **extra: Any) -> Any:
        """Note an event of a version 3 stream."""
        return self.on_llm_new_token(None, chunk=event, run_id=run_id, **extra)

    @in_place
    def on_custom_event(self, name: str, data: Any, *, run_id: UUID, **extra: Any) -> Any:
        """Record what user code dispatched as EVENT of the run it came from."""
        self.record_event(run_id, name, payloads.same, data)
        return DONE

    @in_place
    def on_text(self, text: str, *, run_id: UUID, **extra: Any) -> Any:
        """Record a text for the console, which repeats what a model is given, only where all is to be shown."""
        if self.show_all:
            self.record_event(run_id, "text", payloads.same, text)
        return DONE

    @property
    def is_wanted(self) -> bool:
        """Whether runs that begin now would be recorded."""
        return self.client.switch.on

    def begin(self, run: Run, read: events.StartReader) -> None:
        """Begin the observation of *run*, unless another handler of ours has; *read* tells what it was given."""
        above = run.above
        if above is None:
            self._speaking = None
            interrupts.learn_control_flow()
            if not self.ledger.entries:
                self._left_to_others.clear()
        else:
            if above.about.is_answer:
                self._answers(above.about)
            if run.name in AGENT_EDGES and run.is_agent_edge():
                self.make_agent(above.parent)
        if run.event == "model" and run.key in self.ledger.entries:
            self._left_to_others.add(run.key)
        elif above is not None and not (above.is_recorded or above.is_folded):  # nor will this be
            self.ledger.start(run.key, CHAIN, run.name, parent=above, about=run)
        elif self.is_folded(run):
            run.started = self.client.recorder.tick()
            self.ledger.start(run.key, CHAIN, run.name, parent=above, is_folded=True, about=run)
        else:
            self._record(run, read)
            if type(run.given) is not dict and interrupts.is_answer(run.given):
                self.resumes(run)

    def _record(self, run: Run, read: events.StartReader) -> None:
        try:
            given = read(run)
        except Exception as exc:  # a shape we do not know is no reason to lose the run, and what is below it
            self.client.record_failure("reading its input", exc)
            given = NOTHING
        self.ledger.start(
            run.key,
            self.kind_of(run),
            run.name,
            parent=run.above,
            input=given,
            read=payloads.readable,
            metadata=self.metadata_of(run),
            fields=events.model_fields(run) if run.event == "model" else None,
            trace=run.trace_options() if run.above is None else None,
            tool_matcher=events.tool_matcher(run) if run.event == "tool" else None,
            about=run,
            started=run.started,
        )

    def end(self, run: Run, result: Any, ending: events.Ending) -> None:
        """End the observation of *run* with *ending*, which was read from its *result*, and what is open below it."""
        if run.is_answer:
            self._answers(run)
        if isinstance(result, BaseException):
            if status_of(result) is Status.INTERRUPTED:
                self.asks(run, result)
        elif run.asked is not None and (observation := self.ledger.get(run.key)) is not None:
            interrupts.waits(observation, run)
            ending["status"] = Status.INTERRUPTED
        self.ledger.finish(run.key, **ending)

    def asks(self, run: Run, error: BaseException) -> None:
        """Record what *error*, by which LangGraph left *run*, asks a human; unless another handler sees to it."""
        above = run.above.about.handler if run.above is not None else self
        if above is not self:
            above.asks(run, error)
        else:
            interrupts.asks(self.ledger.get(run.key), run, error)

    def resumes(self, run: Run) -> None:
        """See that it is recorded that *run*, which has just begun, brings an answer."""
        run.is_answer = True  # another handler may be told of the run, and know more

    def _answers(self, run: Run) -> None:
        run.is_answer = False
        observation = self.ledger.get(run.key)
        if observation is not None:
            interrupts.resumed(observation, run)

    def make_agent(self, entry: Entry | None) -> None:
        """Record a run as AGENT after all, of which only what happens inside shows that it is one."""
        if entry is not None:
            self.ledger.rename(entry, ObservationType.AGENT, entry.about.name)

    def failed(self, entry: Entry, error: Exception) -> Entry | None:
        """Record a folded run after all, if it is what *error* ended, and not what ran inside it or feeds it."""
        run: Run = entry.about
        is_its_own = run.handler is self and run.fails_by_itself(error) and status_of(error) is Status.ERROR
        if is_its_own and entry.is_folded and entry.below is None:
            self.ledger.finish(entry)
            self._record(run, events.chain_given)
        return self.ledger.entries.get(run.key)

    def record_event(self, run_id: UUID, name: str, read: Callable[[Any], object], what: Any) -> None:
        """Record a point in time in a run."""
        try:
            entry = self.ledger.entries.get(key_of(run_id))
            if entry is None or entry.about.handler is self:
                self.ledger.event(name, parent=key_of(run_id), input=read(what))
        except Exception as exc:
            self.client.record_failure("noting an event", exc)

    def kind_of(self, run: Run) -> ObservationType:
        """Return what *run* is recorded as."""
        return run.kind()

    def is_folded(self, run: Run) -> bool:
        """Whether *run* makes no observation, so that what is below it nests under what is above it."""
        return not self.show_all and run.is_plumbing()

    def metadata_of(self, run: Run) -> dict[str, Any]:
        """Return what is noted about *run* when it begins."""
        facts = run.facts()
        if run.event != "chain":
            events.add_details(run, facts)
        return facts

    def missed(self, run_id: UUID, parent_id: UUID | None, tags: list[str] | None) -> Entry | None:
        """
        Begin a model's run of whose start we were not told, and return its entry.

        Handlers that run inline, as LangGraph's own do, keep langchain-core from telling the others that a
        completion model started. A run that ended with what was above it is not begun again.
        """
        key, above = key_of(run_id), self.ledger.entries.get(key_of(parent_id)) if parent_id is not None else None
        if key in self._left_to_others:
            self._left_to_others.discard(key)
        elif (parent_id is None or above is not None) and key not in self.ledger.unannounced:
            self.ledger.unannounced.append(key)
            marks = marks_of(tuple(tags)) if tags else NO_MARKS
            id_ref = refer(run_id)
            self.begin(Run(self, "model", key, "model", NOTHING, marks, {}, {}, above, id_ref), events.same)
        return self.ledger.entries.get(key)

    def _speaker(self, run_id: UUID, parent_id: UUID | None, tags: list[str] | None) -> Speaking:
        """Return who speaks now, and what notes it: nothing, where that is not recorded, or by another handler."""
        entry = self.ledger.entries.get(key_of(run_id)) or self.missed(run_id, parent_id, tags)
        note = note_of(entry) if entry is not None and entry.about.handler is self else unheard
        self._speaking = speaking = refer(run_id) or (lambda: run_id), note
        return speaking


BaseTracer.register(FluxLoopCallbackHandler)  # what a LangGraph node's TracePolicy shapes, it shapes for tracers only
