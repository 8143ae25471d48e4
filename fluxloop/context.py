"""
The trace that is open here, as user code sees it: `FluxLoopContext`, `get_current_context`, `get_current_trace`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .tracing import manual
from .tracing.propagation import current

if TYPE_CHECKING:
    from .models import ObservationData, TraceData
    from .tracing.trace import OpenTrace


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
        """The user the trace was made for, as set by `set_user`."""
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
        manual.push(self._trace, observation)

    def pop_observation(self) -> ObservationData | None:
        """
        End the observation pushed last from here, write it, and return it; None if there is none.

        Safe in any order and from any task: it ends what this very function pushed, also where another
        task has resumed it since, or else the innermost one pushed in this context.
        """
        return manual.pop(self._trace)

    def add_metadata(self, key: str, value: Any) -> None:
        """Note ``metadata[key] = value`` on the trace."""
        self._trace.metadata[key] = value

    def add_tag(self, tag: str) -> None:
        """Tag the trace; a tag it already has is not repeated."""
        self._trace.add_tags((tag,))

    def set_session(self, session_id: str) -> None:
        """Set the session that the trace belongs to, such as a conversation; any string."""
        self._trace.adopt(session_id=session_id)

    def set_user(self, user_id: str) -> None:
        """Set the user the trace is made for."""
        self._trace.user_id = user_id


def get_current_context() -> FluxLoopContext | None:
    """Return the context of the trace that is open here, or None outside a trace."""
    here = current()
    return FluxLoopContext(here.trace) if here is not None else None


def get_current_trace() -> TraceData | None:
    """Return what the trace that is open here knows so far, or None outside a trace."""
    here = current()
    return here.trace.data() if here is not None else None
