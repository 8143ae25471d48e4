"""
The tree of a trace: the positions of the children of each observation, whatever the records say.

Every observation can be reached from a root. One whose parent is missing is a root, and if damaged records form a cycle
of parents, one of them is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .observation import ObservationData

Positions = dict[str | None, list[int]]
"""The positions of the children, by the id of the parent; the roots are under None."""


def links_of(observations: list[ObservationData]) -> list[tuple[str, str | None]]:
    """Return the id and parent id of each observation; a lazy sequence has them without building observations."""
    links: Callable[[], list[tuple[str, str | None]]] | None = getattr(observations, "links", None)
    return links() if links else [(o.id, o.parent_id) for o in observations]


def positions_by_parent(links: list[tuple[str, str | None]]) -> Positions:
    """
    Return the positions of the children by the id of their parent; roots are under None.

    Args:
        links: The id and the parent's id of each observation. One whose parent is missing is a root.
    """
    known = {id for id, _ in links}
    by_parent: Positions = {}
    for index, (_, parent) in enumerate(links):
        by_parent.setdefault(parent if parent in known else None, []).append(index)
    reached: set[str | None] = {None}
    _add_descendants(None, by_parent, links, reached)
    for index, (id, parent) in enumerate(links):
        if id not in reached:  # it is in a cycle of parents: make it a root
            by_parent[parent].remove(index)
            by_parent.setdefault(None, []).append(index)
            reached.add(id)
            _add_descendants(id, by_parent, links, reached)
    return by_parent


def _add_descendants(
    start: str | None, by_parent: Positions, links: list[tuple[str, str | None]], reached: set[str | None]
) -> None:
    """Add the ids of all descendants of *start* to *reached*."""
    pending = [start]
    while pending:
        ids = {links[index][0] for index in by_parent.get(pending.pop(), ())} - reached
        reached |= ids
        pending += ids
