"""
The current node, stored in one context variable.

The node has a reference to its trace. There is no shared stack, so tasks, threads and generators do not affect each
other. The previous value is restored by assignment, not by a token, because a token works in one context only.
"""

from __future__ import annotations

import contextvars
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from ..forks import after_fork

if TYPE_CHECKING:
    from .node import Node

P = ParamSpec("P")
R = TypeVar("R")

_current: contextvars.ContextVar[Node | None] = contextvars.ContextVar("fluxloop", default=None)

_carried: contextvars.ContextVar[Node | None] = contextvars.ContextVar("fluxloop_carried", default=None)
"""The node that `copy_context` was asked to carry along: it is the parent also after its end, in any thread."""

Locator = Callable[["Node | None"], "Node | None"]
"""Takes the node of the context variable, and returns the current node, which may be a step of a framework."""

_locators: list[Locator] = []

open_traces: set[object] = set()
"""Weak references to the open traces of this process, in any context; usually empty in a program without traces."""

needs_lookup: set[object] = set()
"""Reasons for a full lookup if the context variable is empty: locators, and tracers that log ignored calls."""

reasons: set[object] = set()
"""Reasons to look for a current node at all: those of `needs_lookup`, and every trace that a node may belong to."""


def add_lookup(reason: object) -> None:
    """Add *reason* to `needs_lookup`."""
    needs_lookup.add(reason)
    reasons.add(reason)


def remove_lookup(reason: object) -> None:
    """Remove *reason* from `needs_lookup`, if it is there."""
    needs_lookup.discard(reason)
    reasons.discard(reason)


def add_locator(locate: Locator) -> None:
    """Call *locate* to find the current node each time an observation starts; for frameworks that report events."""
    if locate not in _locators:
        _locators.append(locate)
        add_lookup(locate)


def remove_locator(locate: Locator) -> None:
    """Remove *locate*, if it was added."""
    if locate in _locators:
        _locators.remove(locate)
        remove_lookup(locate)


def current(but: Locator | None = None) -> Node | None:
    """
    Return the parent of an observation that starts here, or None outside a trace.

    Args:
        but: A locator to skip: that of an adapter whose framework reports the parent itself.
    """
    here = _current.get()
    if here is not None and here.closed:
        here = nearest_open(here)
    for locate in _locators:
        if locate != but:
            here = locate(here)
    return here


def innermost(here: Node | None, step: Node | None) -> Node | None:
    """
    Return the inner one of two current nodes, for a locator.

    Args:
        here: The node of the context variable.
        step: The node of the running step of the framework. *here* is the inner one if it started inside *step*.
    """
    if step is None:
        return here
    ancestor = here
    while ancestor is not None:
        if ancestor is step or ancestor.id == step.id:
            return here
        ancestor = ancestor.parent if ancestor.parent is not None else ancestor.trace.outer
    return step


def set_current(node: Node | None) -> None:
    """Make *node* the current node of this context."""
    _current.set(node)


def nearest_open(here: Node | None) -> Node | None:
    """
    Return the current node if the context variable holds a node that has ended.

    A task that was started inside the node inherited it: the node is the parent of what the task does, even after its
    end. But a scope that another task closed, for example in a generator, must not become the parent of what its
    consumer does next. The owner of the node distinguishes the two cases.
    """
    while here is not None and here.closed:
        if here.owner is None or here.owner != strand_id() or _carried.get() is here:
            return here
        here = here.previous
    return here


def strand_id() -> tuple[int, object]:
    """Return the thread and, inside asyncio, the task of the running code."""
    task = None
    asyncio = sys.modules.get("asyncio")
    if asyncio is not None:
        try:
            task = asyncio.current_task()
        except RuntimeError:  # no loop runs in this thread
            task = None
    return threading.get_ident(), task


@contextmanager
def current_is(node: Node | None) -> Iterator[None]:
    """Make *node* current inside a block, then restore the previous current node."""
    before = _current.get()
    _current.set(node)
    try:
        yield
    finally:
        _current.set(before)


def copy_context(func: Callable[P, R]) -> Callable[P, R]:
    """
    Return *func* bound to a copy of the current context, to be called later or from another thread.

    Observations of its calls become children of the observation that is current now, even after its end. *func* may
    also be a generator function, or return a generator. The result can be called many times, also concurrently.
    """
    context = contextvars.copy_context()
    context.run(_carried.set, _current.get())

    def in_context(*args: P.args, **kwargs: P.kwargs) -> R:
        # Only one thread at a time can enter a Context, hence a copy per call.
        return context.copy().run(func, *args, **kwargs)

    return in_context


class ContextThreadPoolExecutor(ThreadPoolExecutor):
    """A `ThreadPoolExecutor` that runs each job in a copy of the submitter's context, and so inside its trace."""

    def submit(self, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> Future[R]:
        """Do as `ThreadPoolExecutor.submit`; *fn* runs in a copy of the current context."""
        run: Callable[..., R] = contextvars.copy_context().run
        return super().submit(run, fn, *args, **kwargs)


POOL_WORKERS = {("concurrent.futures.process", "_process_worker"), ("multiprocessing.pool", "worker")}
"""The main functions of worker processes of pools. A worker outlives the trace in which it was forked."""


def _forget_in_pool_worker() -> None:
    """Clear the current node in a forked worker of a process pool."""
    frame = sys._getframe()
    while frame is not None:
        process = frame.f_locals.get("process_obj") if frame.f_code.co_name == "_launch" else None
        target = getattr(process, "_target", None)
        if (getattr(target, "__module__", None), getattr(target, "__name__", None)) in POOL_WORKERS:
            _current.set(None)
            return
        frame = frame.f_back  # type: ignore[assignment]


after_fork(_forget_in_pool_worker)
