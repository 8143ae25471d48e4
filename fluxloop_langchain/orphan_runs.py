"""
How long a run can be heard of: as long as somebody holds its id.

Each event of a run brings the very object that is its id, and so does the start of each run inside it. While that
lives something may come; when nobody holds it any more, nothing can. LangChain does not tell every end - not that a
timeout struck a model's ``ainvoke``, not that a stream was left alone, not that a task was cancelled while handlers
were told of a start - and things come after an end: a thread goes on whose task was cancelled.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable, Hashable
from functools import partial
from typing import TypeAlias
from uuid import UUID
from weakref import ReferenceType, ref

from fluxloop import FluxLoopClient, Status
from fluxloop.bridge import Entry, Ledger, Locator, OpenObservation

IdRef: TypeAlias = ReferenceType[UUID] | None
"""A run's id, as long as anybody else holds it."""


class RunLedger(Ledger):
    """A ledger that ends runs of which nothing can be heard any more, and knows those that go on after their end."""

    def __init__(self, client: FluxLoopClient, locate: Locator) -> None:
        super().__init__(client, locate)
        self.left: dict[Hashable, Entry] = {}
        """Runs that were ended from outside and may go on all the same."""
        self.unannounced: deque[Hashable] = deque(maxlen=200)
        """The latest of whose start no handler was told: the next one that hears of them leaves them alone."""

    def watch(self, run_id: object, key: Hashable) -> IdRef:
        """
        Return what refers to *run_id*, and ends the run *key* once nobody holds that; for the handler's methods.

        Only if langchain-core itself tells of the run: who else hands on events, from another process for example,
        may make an id anew for each.
        """
        teller = sys._getframe(2).f_globals.get("__name__", "")
        return refer(run_id, partial(self._lost, key) if teller.startswith("langchain_core.") else None)

    def on_forced_end(self, entry: Entry) -> None:
        """Remember a run that is to end and may go on: what it still does belongs below it."""
        run = entry.about
        run_id = run.id_ref() if run.id_ref is not None else None
        if run_id is not None:
            key = entry.key
            self.left[key] = entry
            run.id_ref = ref(run_id, partial(self._gone, key))

    def get(self, key: Hashable) -> OpenObservation | None:
        """As `Ledger.get`, also of a run that goes on although it has ended."""
        entry = self.entries.get(key) or self.left.get(key)
        return entry.observation if entry is not None else None

    def _gone(self, key: Hashable, dead: object) -> None:
        self.left.pop(key, None)
        self._lost(key, dead)  # it may have begun only while it was ended

    def _lost(self, key: Hashable, dead: object) -> None:
        entry = self.entries.get(key)
        if entry is None or sys.is_finalizing():  # what is open when the process ends, the journal tells
            return
        # Of chains and streams LangChain tells whatever ends them, but that their consumer left them alone.
        is_left = entry.stream_items is not None or entry.about.event == "chain"
        self.finish(entry, status=Status.ABANDONED if is_left else Status.CANCELLED)


def refer(run_id: object, gone: Callable[[object], None] | None = None) -> IdRef:
    """Return what refers to *run_id* without holding it, and calls *gone* when nobody does; None if it is no UUID."""
    return ref(run_id, gone) if type(run_id) is UUID else None
