"""
The current node, carried by one context variable.

The variable holds the current node, which has its trace. No stack is shared, so tasks, threads and
generators cannot disturb each other. No token of the variable is kept: the previous value is restored by
assignment, which works from any context.
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

Locator = Callable[["Node | None"], "Node | None"]
"""Takes the node of the context variable and returns the current one, inside a framework's step too."""

_locators: list[Locator] = []

needs_lookup: set[object] = set()
"""Why an empty context variable is not the whole answer: locators, and tracers that log what they ignore."""


def add_locator(locate: Locator) -> None:
    """Ask *locate* at each begin which node is current; for adapters of frameworks that report events."""
    if locate not in _locators:
        _locators.append(locate)
        needs_lookup.add(locate)


def remove_locator(locate: Locator) -> None:
    """Remove *locate*; harmless where it was not added."""
    if locate in _locators:
        _locators.remove(locate)
        needs_lookup.discard(locate)


def current(but: Locator | None = None) -> Node | None:
    """
    Return the node under which an observation that begins here belongs, or None outside a trace.

    Args:
        but: A locator to leave out: that of an adapter whose framework reports the parent itself.
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
        step: The node of the framework's step that runs. *here* is the inner one where it began inside *step*.
    """
    if step is None:
        return here
    above = here
    while above is not None:
        if above is step or above.id == step.id:
            return here
        above = above.parent if above.parent is not None else above.trace.outer
    return step


def set_current(node: Node | None) -> None:
    """Make *node* the current one of this context."""
    _current.set(node)


def nearest_open(here: Node | None) -> Node | None:
    """
    Return the current node where the variable holds one that has ended.

    A task that was started inside the node inherited it, and what the task does belongs there even now. A scope
    that another task closed - in a generator, for example - is only a leftover, and must not become the parent of
    what its consumer does next. The owner distinguishes the two.
    """
    while here is not None and here.closed:
        if here.owner is None or here.owner != strand_id():
            return here
        here = here.previous
    return here


def strand_id() -> tuple[int, object]:
    """Return what identifies the running strand of code: its thread and, inside asyncio, its task."""
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
    """Make *node* current for a block, and restore the node that was current before."""
    before = _current.get()
    _current.set(node)
    try:
        yield
    finally:
        _current.set(before)


def copy_context(func: Callable[P, R]) -> Callable[P, R]:
    """
    Return *func* bound to the current context, to be called from a thread of your own.

    What it records nests under the observation that is current now, also where *func* is a generator function or
    returns a generator. It may be called many times, concurrently too.
    """
    taken = contextvars.copy_context()

    def carried(*args: P.args, **kwargs: P.kwargs) -> R:
        # A Context can be entered by one thread at a time, hence a copy for each call.
        return taken.copy().run(func, *args, **kwargs)

    return carried


class ContextThreadPoolExecutor(ThreadPoolExecutor):
    """A `ThreadPoolExecutor` whose jobs run in a copy of their submitter's context, and so inside its trace."""

    def submit(self, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> Future[R]:
        """As `ThreadPoolExecutor.submit`; *fn* runs in a copy of the current context."""
        run: Callable[..., R] = contextvars.copy_context().run
        return super().submit(run, fn, *args, **kwargs)


POOL_WORKERS = {("concurrent.futures.process", "_process_worker"), ("multiprocessing.pool", "worker")}
"""Main functions of pools' worker processes. Such a process outlives the trace in which it happened to be forked."""


def _forget_in_pool_worker() -> None:
    """In a forked worker of a process pool: start outside any trace."""
    frame = sys._getframe()
    while frame is not None:
        process = frame.f_locals.get("process_obj") if frame.f_code.co_name == "_launch" else None
        target = getattr(process, "_target", None)
        if (getattr(target, "__module__", None), getattr(target, "__name__", None)) in POOL_WORKERS:
            _current.set(None)
            return
        frame = frame.f_back  # type: ignore[assignment]


after_fork(_forget_in_pool_worker)
