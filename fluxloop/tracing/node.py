"""
Nodes: the positions in the tree of a trace.

Everything that can be the current observation is a `Node`: an open observation, a call that shares the observation of
a framework, or a call in an unsampled trace. The context variable of `fluxloop.tracing.propagation` holds a node.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .. import forks
from ..enums import Status
from .recorder import NOTHING

if TYPE_CHECKING:
    from .tool_matching import ToolMatcher


class Node:
    """A position in the tree of a trace. This base class has no record."""

    __slots__ = ("__weakref__", "closed", "forks", "id", "owner", "parent", "previous", "trace", "usage_counted")

    tool_matcher: ToolMatcher | None = None
    """Set on the observation of a framework's tool event: recognises the function of the same call."""

    def __init__(self, trace: Any, parent: Node | None, own_id: str) -> None:
        """
        Create a node.

        Args:
            trace: Its trace.
            parent: Its parent; None for the root.
            own_id: Its id, escaped for a JSON string.
        """
        self.trace = trace  # an OpenTrace; a type annotation would need a circular import
        self.parent = parent
        self.id = own_id
        self.closed = False
        self.forks = forks.fork_count
        self.usage_counted = False
        """Whether the usage of the trace includes the usage of this node or of a descendant."""
        self.owner: tuple[int, object] | None = None
        """The thread and task that entered or pushed it; see `propagation.strand_id`."""
        self.previous: Node | None = None
        """The node that was current before it."""

    def add_metadata(self, **metadata: Any) -> None:
        """Add *metadata* to the record, if the node has one."""

    def set_fields(self, **fields: Any) -> None:
        """Set top-level fields of the record, if the node has one."""

    def end(self, status: Status = Status.SUCCESS, output: object = NOTHING, error: str | None = None) -> None:
        """Close the node. Only the first call has an effect. Never raises."""
        self.closed = True
