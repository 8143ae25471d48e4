"""
The observations of a replay that have started and have no place in the recording yet.

Calls that run at the same time ask for their answers in any order. The order in which they started is the better
sign: tasks that a program starts one after the other start in the same order in each run.
"""

from __future__ import annotations

from collections.abc import Callable
from weakref import WeakKeyDictionary

from ..tracing.node import Node
from ..tracing.observation import OpenObservation

Siblings = WeakKeyDictionary[OpenObservation, None]

_EVENT = '"type":"EVENT"'


class Started:
    """The observations that wait for a place, by parent, in the order of their start. They are not kept alive."""

    def __init__(self) -> None:
        self._roots: Siblings = WeakKeyDictionary()
        self._inside: WeakKeyDictionary[Node, Siblings] = WeakKeyDictionary()

    def add(self, node: OpenObservation) -> None:
        """Note that *node* starts."""
        if not node.label.startswith(_EVENT):  # a point in time has nothing inside
            self._beside(node)[node] = None

    def remove(self, node: Node | None) -> None:
        """Note that *node* has a place, or needs none."""
        if isinstance(node, OpenObservation):
            self._beside(node).pop(node, None)

    def count_before(self, node: OpenObservation, is_equal: Callable[[OpenObservation], bool]) -> int:
        """Return how many open observations that *is_equal* accepts started before *node*, under the same parent."""
        count = 0
        for known in self._beside(node).keyrefs():
            one = known()
            if one is node:
                return count
            if one is not None and not one.closed and _named(one) == _named(node) and is_equal(one):
                count += 1
        return 0  # it started before the replay was opened

    def _beside(self, node: OpenObservation) -> Siblings:
        if node.parent is None:
            return self._roots
        return self._inside.setdefault(node.parent, WeakKeyDictionary())


def _named(node: OpenObservation) -> str:
    """Return the name in the label of *node*; the type may change while the observation is open."""
    return node.label.partition(',"name"')[2]
