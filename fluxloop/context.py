"""
The trace that is open here, and the observation that is current here.

One context variable holds the current observation, which knows its trace; there is no shared stack,
so tasks, threads and generators cannot disturb each other. No token of that variable is kept: what
was current before is put back by value, which works from any context.
"""

from __future__ import annotations

import contextvars
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

if TYPE_CHECKING:
    from .models import ObservationData, TraceData
    from .observations import OpenObservation
    from .traces import OpenTrace

P = ParamSpec("P")
R = TypeVar("R")

_current: contextvars.ContextVar[OpenObservation | None] = contextvars.ContextVar("fluxloop", default=None)

Locator = Callable[["OpenObservation | None"], "OpenObservation | None"]
"""Given what is current by the context variable, says what really is, inside a framework's step."""

_locators: list[Locator] = []

attention: set[object] = set()
"""Why to look further where the context variable is empty: locators, and clients that log what they ignore."""


def add_locator(locate: Locator) -> None:
    """Ask *locate* at each begin which observation is current; adapters of event-reporting frameworks use it."""
    if locate not in _locators:
        _locators.append(locate)
        attention.add(locate)


def remove_locator(locate: Locator) -> None:
    """Take *locate* back; harmless when it was not added."""
    if locate in _locators:
        _locators.remove(locate)
        attention.discard(locate)


def current(but: Locator | None = None) -> OpenObservation | None:
    """
    Return the observation under which something that begins here belongs, or None outside a trace.

    The locator *but* is not asked: that of an adapter whose framework tells what its steps belong to.
    """
    here = _current.get()
    if here is not None and here.closed:
        here = _standing(here)
    for locate in _locators:
        if locate != but:
            here = locate(here)
    return here


def deeper(here: OpenObservation | None, there: OpenObservation | None) -> OpenObservation | None:
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


def _standing(here: OpenObservation | None) -> OpenObservation | None:
    """
    What is current where the variable still names an observation that has ended.

    A task started inside it inherited it rightly, and what the task does belongs there even now. A
    scope that ended behind our back - in a generator that another task closed - was only left
    behind, and must not catch what its consumer does next: that is told by who entered it.
    """
    while here is not None and here.closed:
        if here.owner is None or here.owner != whereabouts():
            return here
        here = here.previous
    return here


def whereabouts() -> tuple[int, object]:
    """Return what identifies the running code as one strand: its thread and, inside asyncio, its task."""
    task = None
    asyncio = sys.modules.get("asyncio")
    if asyncio is not None:
        with suppress(RuntimeError):  # no loop runs in this thread
            task = asyncio.current_task()
    return threading.get_ident(), task


class FluxLoopContext:
    """
    The trace that is open here, as user code sees it.

    Everything on it is harmless: where tracing is off, or the trace was left out by sampling,
    `is_enabled` is False and nothing is recorded.
    """

    __slots__ = ("_trace",)

    def __init__(self, trace: OpenTrace) -> None:
        self._trace = trace

    def __repr__(self) -> str:
        return f"<FluxLoopContext {self._trace.name!r} trace_id={self._trace.id}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, FluxLoopContext) and other._trace is self._trace

    def __hash__(self) -> int:
        return hash(self._trace)

    @property
    def trace(self) -> TraceData:
        """What the trace knows so far; its ``metadata`` and ``tags`` are the live ones."""
        return self._trace.data()

    @property
    def trace_id(self) -> str:
        """The id all observations of this trace carry."""
        return self._trace.id

    @property
    def session_id(self) -> str:
        """The conversation this trace belongs to."""
        return self._trace.session_id

    @property
    def user_id(self) -> str | None:
        """Whom the trace was made for, as set by `set_user`."""
        return self._trace.user_id

    @property
    def metadata(self) -> dict[str, Any]:
        """The trace's own metadata, written with its last line; can be changed until then."""
        return self._trace.metadata

    @property
    def tags(self) -> list[str]:
        """The trace's tags, without duplicates."""
        return self._trace.tags

    def is_enabled(self) -> bool:
        """Whether an observation pushed now would be recorded."""
        return self._trace.is_recording

    def push_observation(self, observation: ObservationData) -> None:
        """
        Begin *observation* here: it becomes the parent of what follows, until it is popped.

        Sets its ``trace_id`` and ``parent_id``. Everything else is kept as given, and may be changed
        until `pop_observation`. An EVENT is a point in time and is written at once.
        """
        self._trace.push(observation)

    def pop_observation(self) -> ObservationData | None:
        """
        End the observation pushed last from here, write it, and return it; None if there is none.

        Safe in any order and from any task: it ends what this very function pushed, also where another
        task has resumed it since, or else the innermost one pushed in this context.
        """
        return self._trace.pop()

    def add_metadata(self, key: str, value: Any) -> None:
        """Note ``metadata[key] = value`` on the trace."""
        self._trace.metadata[key] = value

    def add_tag(self, tag: str) -> None:
        """Tag the trace; a tag it already has is not repeated."""
        self._trace.add_tags((tag,))

    def set_user(self, user_id: str) -> None:
        """Say whom the trace is made for."""
        self._trace.user_id = user_id


def get_current_context() -> FluxLoopContext | None:
    """Return the context of the trace that is open here, or None outside a trace."""
    here = current()
    return here.trace.context if here is not None else None


def get_current_trace() -> TraceData | None:
    """Return what the trace that is open here knows so far, or None outside a trace."""
    here = current()
    return here.trace.data() if here is not None else None


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
