"""
The current observation, carried by one context variable.

The variable holds the current observation, which knows its trace; there is no shared stack, so tasks,
threads and generators cannot disturb each other. No token of the variable is kept: the previous value is
restored by assignment, which works from any context.
"""

from __future__ import annotations

import contextvars
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, ParamSpec, TypeVar

if TYPE_CHECKING:
    from .observation import OpenObservation

P = ParamSpec("P")
R = TypeVar("R")
_current: contextvars.ContextVar[OpenObservation | None] = contextvars.ContextVar("fluxloop", default=None)
Locator = Callable[["OpenObservation | None"], "OpenObservation | None"]
"""Given what is current by the context variable, says what really is, inside a framework's step."""
_locators: list[Locator] = []
needs_lookup: set[object] = set()
"""Why to look further where the context variable is empty: locators, and clients that log what they ignore."""


def add_locator(locate: Locator) -> None:
    """Ask *locate* at each begin which observation is current; adapters of event-reporting frameworks use it."""
    if locate not in _locators:
        _locators.append(locate)
        needs_lookup.add(locate)


def remove_locator(locate: Locator) -> None:
    """Take *locate* back; harmless when it was not added."""
    if locate in _locators:
        _locators.remove(locate)
        needs_lookup.discard(locate)


def current(but: Locator | None = None) -> OpenObservation | None:
    """
    Return the observation under which something that begins here belongs, or None outside a trace.

    The locator *but* is not asked: that of an adapter whose framework tells what its steps belong to.
    """
    here = _current.get()
    if here is not None and here.closed:
        here = nearest_open(here)
    for locate in _locators:
        if locate != but:
            here = locate(here)
    return here


def innermost(here: OpenObservation | None, there: OpenObservation | None) -> OpenObservation | None:
    """
    Return which of two current observations is the inner one, for a locator.

    *here* is what the context variable says, *there* the framework's step that runs. Where *here* began
    inside *there* it stays current; else the step does.
    """
    if there is None:
        return here
    above = here
    while above is not None:
        if above is there or above.id == there.id:
            return here
        above = above.parent if above.parent is not None else above.trace.outer
    return there


def set_current(observation: OpenObservation | None) -> None:
    """Make *observation* the current one of this context."""
    _current.set(observation)


def nearest_open(here: OpenObservation | None) -> OpenObservation | None:
    """
    What is current where the variable still names an observation that has ended.

    A task started inside it inherited it rightly, and what the task does belongs there even now. A
    scope that ended behind our back - in a generator that another task closed - was only left
    behind, and must not catch what its consumer does next: that is told by who entered it.
    """
    while here is not None and here.closed:
        if here.owner is None or here.owner != strand_id():
            return here
        here = here.previous
    return here


def strand_id() -> tuple[int, object]:
    """Return what identifies the running code as one strand: its thread and, inside asyncio, its task."""
    task = None
    asyncio = sys.modules.get("asyncio")
    if asyncio is not None:
        with suppress(RuntimeError):  # no loop runs in this thread
            task = asyncio.current_task()
    return threading.get_ident(), task


@contextmanager
def current_is(observation: OpenObservation | None) -> Iterator[None]:
    """Make *observation* current for a block, and put back what was current before."""
    before = _current.get()
    _current.set(observation)
    try:
        yield
    finally:
        _current.set(before)


def copy_context(func: Callable[P, R]) -> Callable[P, R]:
    """
    Return *func* bound to the context of this very moment, to be called from a thread of your own.

    What it records nests under what is current now. It may be called many times, also at once.
    """
    taken = contextvars.copy_context()

    def carried(*args: P.args, **kwargs: P.kwargs) -> R:
        # A Context can be entered by one thread at a time, hence a copy for each call.
        return taken.copy().run(func, *args, **kwargs)

    return carried


class ContextThreadPoolExecutor(ThreadPoolExecutor):
    """A `ThreadPoolExecutor` whose jobs see the trace, and every other context variable, of their submitter."""

    def submit(self, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> Future[R]:
        """As `ThreadPoolExecutor.submit`; *fn* runs in a copy of the current context."""
        run: Callable[..., R] = contextvars.copy_context().run
        return super().submit(run, fn, *args, **kwargs)
