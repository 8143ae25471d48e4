"""
Runs of whose end nobody is told: a model, tool or retriever that is cancelled, a stream that is left alone.

LangChain tells the end of what returns or raises an ``Exception``; that a timeout ended a model's ``ainvoke`` it tells
nobody. But each event brings the very object that is the run's id: once nobody holds that any more, none can come.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Hashable
from functools import partial
from typing import TypeAlias
from uuid import UUID
from weakref import ReferenceType, ref

from fluxloop import Status
from fluxloop.bridge import Ledger

Watch: TypeAlias = ReferenceType[UUID] | None
"""Ends a run with its id, for as long as it is held itself."""


def watch(run_id: object, key: Hashable, ledger: Ledger) -> Watch:
    """
    Return what ends the run *key* in *ledger* once nobody holds *run_id*; None where it is no UUID.

    A chain inside another run needs none: what ends it is told, or ends that as well.
    """
    return ref(run_id, partial(_lost, ledger, key)) if type(run_id) is UUID else None


def weakly(run_id: object) -> Callable[[], object]:
    """Return what gives *run_id* as long as anybody else holds it."""
    return ref(run_id) if type(run_id) is UUID else lambda: run_id


def _lost(ledger: Ledger, key: Hashable, dead: object) -> None:
    entry = ledger.entries.get(key)
    if entry is None or sys.is_finalizing():  # what is open when the process ends, the journal tells
        return
    # Of chains and streams LangChain tells whatever ends them, but that their consumer left them alone.
    is_left = entry.notes is not None or entry.about.event == "chain"
    ledger.finish(entry, status=Status.ABANDONED if is_left else Status.CANCELLED)
