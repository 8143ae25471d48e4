"""
Access to the open trace for user code: `FluxLoopContext`, `get_current_context`, `get_current_trace`.
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
    The open trace of the running task or thread.

    All methods can be called at any time. If recording is off, or sampling left out the trace, `is_enabled` returns
    False and nothing is recorded.
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
        """The data of the trace so far. Changes to its ``metadata`` and ``tags`` are recorded."""
        return self._trace.data()

    @property
    def trace_id(self) -> str:
        """The id of the trace."""
        return self._trace.id

    @property
    def session_id(self) -> str:
        """The session that the trace belongs to."""
        return self._trace.session_id

    @property
    def user_id(self) -> str | None:
        """The user of the trace, as set by `set_user`."""
        return self._trace.user_id

    @property
    def metadata(self) -> dict[str, Any]:
        """The metadata of the trace, which can be changed until the trace ends."""
        return self._trace.metadata

    @property
    def tags(self) -> list[str]:
        """The tags of the trace, without duplicates."""
        return self._trace.tags

    def is_enabled(self) -> bool:
        """Return whether the trace records observations."""
        return self._trace.is_recording

    def push_observation(self, observation: ObservationData) -> None:
        """
        Start *observation* and make it the parent of later observations, until it is popped.

        Sets its ``trace_id`` and ``parent_id``. All other fields are recorded as given, and can be changed until
        `pop_observation`. An EVENT is written immediately. Anything else than an `ObservationData` warns.
        """
        manual.push(self._trace, observation)

    def pop_observation(self) -> ObservationData | None:
        """
        End the last pushed observation, write it, and return it; return None if there is none.

        Ends the last observation that the calling function pushed, even if another task has resumed the function since.
        If the function has pushed none, ends the innermost observation that was pushed in this context.
        """
        return manual.pop(self._trace)

    def add_metadata(self, key: str, value: Any) -> None:
        """Set ``metadata[key] = value`` on the trace."""
        self._trace.metadata[key] = value

    def add_tag(self, tag: str) -> None:
        """Add *tag* to the trace, unless it has that tag already."""
        self._trace.add_tags((tag,))

    def set_session(self, session_id: str) -> None:
        """Set the session that the trace belongs to, such as a conversation; any string."""
        self._trace.adopt(session_id=session_id)

    def set_user(self, user_id: str) -> None:
        """Set the user of the trace."""
        self._trace.user_id = user_id


def get_current_context() -> FluxLoopContext | None:
    """Return the context of the open trace, or None outside a trace."""
    here = current()
    return FluxLoopContext(here.trace) if here is not None else None


def get_current_trace() -> TraceData | None:
    """Return the data of the open trace so far, or None outside a trace."""
    here = current()
    return here.trace.data() if here is not None else None
