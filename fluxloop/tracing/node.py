"""
A place in the tree of a trace.

Whatever can be the current observation is a `Node`: an open observation, a call whose observation a framework
began, a call in a trace that is not recorded. The context variable of `fluxloop.tracing.propagation` holds nodes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .. import forks
from ..enums import Status
from .recorder import NOTHING

if TYPE_CHECKING:
    from .tool_matching import ToolMatcher


class Node:
    """A place in the tree, without a record of its own."""

    __slots__ = ("__weakref__", "closed", "forks", "id", "owner", "parent", "previous", "trace", "usage_counted")

    tool_matcher: ToolMatcher | None = None
    """On the observation of a framework's tool event: what recognises the function of the same call."""

    def __init__(self, trace: Any, parent: Node | None, own_id: str) -> None:
        """
        Take a place in the tree.

        Args:
            trace: The trace it belongs to.
            parent: The node above it; None for the root.
            own_id: Its id, as the inside of a JSON string.
        """
        self.trace = trace  # an OpenTrace; its type, which names nodes itself, would make a cycle of imports
        self.parent = parent
        self.id = own_id
        self.closed = False
        self.forks = forks.fork_count
        self.usage_counted = False
        """Whether token counts of this node, or of one below it, are in the trace's."""
        self.owner: tuple[int, object] | None = None
        """The thread and task that entered it as a scope or pushed it, see `propagation.strand_id`."""
        self.previous: Node | None = None
        """What was current before it."""

    def add_metadata(self, **metadata: Any) -> None:
        """Add to the record's metadata, where the node has a record."""

    def set_fields(self, **fields: Any) -> None:
        """Set top-level fields of the record, where the node has a record."""

    def end(self, status: Status = Status.SUCCESS, output: object = NOTHING, error: str | None = None) -> None:
        """Close the node. Only the first call has an effect, and none raises."""
        self.closed = True
