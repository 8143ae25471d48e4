"""
Open runs, and the detection of runs that will never report an end: nothing references their id any more.

The manager of a run holds the id that the events of the run carry, and so do the runs inside it. When the id is
collected, no event can follow. langchain-core reports no end if a timeout cancels a model's ``ainvoke``, if a stream is
not read to its end, or if a task is cancelled while handlers receive a start. A run may also continue after its end: a
thread does if its task is cancelled.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable, Hashable
from functools import partial
from types import FrameType
from typing import Any, TypeAlias
from uuid import UUID
from weakref import ReferenceType, WeakValueDictionary, ref

from fluxloop import FluxLoopClient, Status
from fluxloop.bridge import (
    Entry,
    Ledger,
    Locator,
    Node,
    add_locator,
    default,
    innermost,
    model_call_locators,
    remove_locator,
)

from .internals import runner_of, running_config, running_manager, tool_in

IdRef: TypeAlias = ReferenceType[UUID] | None
"""A weak reference to the id of a run; None if the id is not a UUID."""

MAX_UNPROVEN = 1_000
"""
Open runs whose id was collected, but may come again in a new object. If there are more, the oldest one without open
runs inside is ended.
"""


class RunLedger(Ledger):
    """A ledger that ends orphaned runs, and finds those that continue after their end."""

    def __init__(self, client: FluxLoopClient, locate: Locator) -> None:
        super().__init__(client, locate)
        self.ended_early: dict[Hashable, Entry] = {}
        """Runs that were ended from outside and may continue."""
        self.unannounced: deque[Hashable] = deque(maxlen=200)
        """The latest runs that began without a start event; other handlers ignore them."""
        self.announced: dict[Hashable, tuple[IdRef, Any]] = {}
        """The ids of async runs that are about to start, and their tools, see `internals.RunInline`."""
        self._unproven: dict[Hashable, None] = {}

    def announce(self, run_id: Any, runner: FrameType) -> None:
        """Note that an async run starts by code of the framework, so that its manager holds *run_id*."""
        key = key_of(run_id)
        self.announced[key] = refer(run_id, partial(self.announced.pop, key)), tool_in(runner)

    def watch(self, run_id: object, key: Hashable, *, is_tool: bool = False) -> tuple[IdRef, Any]:
        """
        Return a reference to *run_id* that ends the run *key* when the id is collected, and the tool if *is_tool*.

        The id alone ends a run only if a manager holds it: a relay of events may make an id for each.
        """
        if (runner := runner_of(2)) is not None:
            return refer(run_id, partial(self._end_orphan, key)), tool_in(runner) if is_tool else None
        announced, tool = self.announced.pop(key, (None, None))
        is_held = announced is not None and announced() is run_id
        return refer(run_id, partial(self._end_orphan if is_held else self._note_unproven, key)), tool

    def on_forced_end(self, entry: Entry) -> None:
        """Keep a run that was ended from outside and may continue: what it still does is nested in it."""
        run, items = entry.run, entry.stream_items
        run_id = run.id_ref() if run.id_ref is not None else None
        if run_id is not None:
            self.ended_early[entry.key] = entry
            run.id_ref = ref(run_id, partial(self._forget, entry.key))
        if items is not None and items.is_complete():
            self.finish(entry)

    def get(self, key: Hashable) -> Any:
        """As `Ledger.get`, also for a run that continues after its end."""
        entry = self.entries.get(key) or self.ended_early.get(key)
        return entry.observation if entry is not None else None

    def _forget(self, key: Hashable, dead: object) -> None:
        self.ended_early.pop(key, None)
        self._end_orphan(key, dead)  # it may have begun while it was ended

    def _end_orphan(self, key: Hashable, dead: object = None) -> None:
        entry = self.entries.get(key)
        if entry is None or sys.is_finalizing():  # what is open at exit is read from the journal
            return
        items = entry.stream_items
        # langchain-core reports every end of a chain or a stream, except that its consumer stopped reading.
        is_left = items is not None or entry.run.event == "chain"
        ending = Status.ABANDONED if is_left else Status.CANCELLED
        self.finish(entry, status=None if items is not None and items.is_complete() else ending)

    def _note_unproven(self, key: Hashable, dead: object) -> None:
        self._unproven[key] = None
        if len(self._unproven) > MAX_UNPROVEN and not sys.is_finalizing():
            # Copies, in one step each: the collector may run this in any thread.
            still_open = [entry for key in list(self._unproven) if (entry := self.entries.get(key)) is not None]
            self._unproven = {entry.key: None for entry in still_open}
            if len(still_open) > MAX_UNPROVEN:
                self._end_orphan(next((entry for entry in still_open if not entry.children), still_open[0]).key)


def refer(run_id: object, callback: Callable[[Any], object] | None = None) -> IdRef:
    """Return a weak reference to *run_id* that calls *callback* when it is collected; None if it is not a UUID."""
    return ref(run_id, callback) if type(run_id) is UUID else None


def key_of(run_id: Any) -> Hashable:
    """Return the key of a run: the number of its UUID, also of one as text; an id of another kind as it is."""
    if type(run_id) is UUID:
        return run_id.int
    if type(run_id) is str:
        try:
            return UUID(run_id).int
        except ValueError:
            return run_id
    return getattr(run_id, "int", run_id)  # type: ignore[no-any-return]


def id_of(key: Hashable) -> object:
    """Return the id of *key*: a new object, as the ledger must not hold the run's own."""
    if type(key) is not int:
        return key
    run_id = _new(UUID)
    _set_number(run_id, key)  # UUID(int=key) takes three times as long, as it validates the number
    return run_id


_new, _set_number = object.__new__, UUID.__dict__["int"].__set__


def running_key(config: Any) -> Hashable | None:
    """Return the key of the run whose inside has *config*, or None."""
    run_id = getattr(config.get("callbacks"), "parent_run_id", None)
    return key_of(run_id) if run_id is not None else None


def ledger_of(client: FluxLoopClient) -> RunLedger:
    """
    Return the ledger of *client*, one for all handlers.

    Two handlers on one run record it once, and a handler that is passed inside a step finds the step.
    """
    if locate_model_call not in model_call_locators:
        model_call_locators.append(locate_model_call)
    return _default_ledger if client is default else _others.setdefault(client, RunLedger(client, locate))


def locate(here: Node | None) -> Node | None:
    """
    Return the observation of the step that runs here, or the one that user code inside it has made current.

    Each look-up takes time, so it is removed from the locators when no run is open; the next run adds it again.
    """
    config = running_config()
    key = running_key(config) if config is not None else None
    if key is None:
        if not _has_runs():
            remove_locator(locate)
            if _has_runs():  # begun in another thread meanwhile
                add_locator(locate)
        return here
    return innermost(here, _observation_of(key))


def locate_model_call(here: Node | None) -> Node | None:
    """As `locate`, where the code of a model runs: LangChain gives its run to the model's method alone."""
    if not (_default_ledger.entries or _others):
        return here
    run_id = getattr(running_manager(), "run_id", None)
    return here if run_id is None else innermost(here, _observation_of(key_of(run_id)))


def _observation_of(key: Hashable) -> Any:
    """Return the observation of the run *key*, of any client's."""
    step = _default_ledger.get(key)
    if step is None and _others:
        step = next((found for ledger in _others.values() if (found := ledger.get(key)) is not None), None)
    return step


def node_of_run(run_id: Any) -> Any:
    """Return the observation of the run *run_id*, of any client's; None if it is not recorded."""
    return None if run_id is None else _observation_of(key_of(run_id))


def node_of_step(name: str) -> Any:
    """Return the observation of the tool *name* whose code runs here; None if it is not recorded."""
    config = running_config()
    key = running_key(config) if config is not None else None
    entries = [ledger.entries.get(key) for ledger in (_default_ledger, *_others.values())] if key is not None else []
    found = next((entry for entry in entries if entry is not None), None)
    is_tool = found is not None and found.is_recorded and found.run.event == "tool"
    return found.observation if found is not None and is_tool else None


def _has_runs() -> bool:
    if _default_ledger.entries:
        return True
    return any(ledger.entries or ledger.ended_early for ledger in (_default_ledger, *_others.values()))


_default_ledger = RunLedger(default, locate)
_others: WeakValueDictionary[FluxLoopClient, RunLedger] = WeakValueDictionary()
"""The ledgers of other clients; each lives as long as a handler of the client."""
