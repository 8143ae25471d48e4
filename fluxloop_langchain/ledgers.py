"""
One ledger a client, shared by all its handlers, and the locator that asks them.

Sharing makes two handlers on one run record it once, and a handler passed anew inside a step find that step.
While a step runs, langchain-core keeps its configuration in a context variable, which goes along into tasks and
threads; the run id in there names the step's entry, and so the observation that is current.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any
from weakref import WeakValueDictionary

from langchain_core.runnables.config import var_child_runnable_config

from fluxloop import FluxLoopClient
from fluxloop.bridge import Node, add_locator, default, innermost

from .orphan_runs import RunLedger
from .runs import key_of

_running = var_child_runnable_config.get


def ledger_of(client: FluxLoopClient) -> RunLedger:
    """Return *client*'s ledger, from now on asked which observation is current."""
    add_locator(locate)
    if client is default:
        return _default_ledger
    return _others.setdefault(client, RunLedger(client, locate))


def running(config: Any) -> Hashable | None:
    """Return by which key a ledger has the run that goes on under *config*; None where none does."""
    run_id = getattr(config.get("callbacks"), "parent_run_id", None)
    return key_of(run_id) if run_id is not None else None


def locate(here: Node | None) -> Node | None:
    """Return the observation of the step that runs here, or what user code inside it has made current."""
    config = _running()
    if config is None:
        return here
    key = running(config)
    if key is None:
        return here
    step = _default_ledger.get(key)
    if step is None and _others:
        step = next((found for ledger in _others.values() if (found := ledger.get(key)) is not None), None)
    return innermost(here, step)


_default_ledger = RunLedger(default, locate)
_others: WeakValueDictionary[FluxLoopClient, RunLedger] = WeakValueDictionary()
"""The ledgers of clients users made; they live as long as a handler of theirs does."""
