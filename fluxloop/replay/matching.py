"""
Find the recorded answer of a call: under its parent, by type, name and input.

The parents are paired as calls ask for answers: an observation of the replay takes the place of the recorded one that
has its type, name and input under the same parent, in the order of their start, not of the first calls inside them.
Threads start in any order, so of calls that are equal and ran at the same time, the one of the same tool call, task and
model is taken, and of observations around a call, one that contains it. An observation that was not recorded is
transparent: the calls inside it are those of its parent.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Literal

from ..answering import Question, question_of
from ..encoding.typed import is_cut
from ..enums import ObservationType
from ..tracing.node import Node
from ..tracing.observation import OpenObservation
from . import canonical
from .equal_calls import next_unasked
from .recording import Index, Label, Place, label_of
from .started import Started

Match = Literal["strict", "fifo", "loose"]

MODES: tuple[Match, ...] = ("strict", "fifo", "loose")

COMPARED = 50
"""Recorded calls of one name that ``loose`` compares with a call."""


class Matching:
    """
    The pairing of a replay with its recording.

    Args:
        root: The recorded tree.
        mode: See `fluxloop.replay.replay`.
        normalize: Is applied to inputs before they are compared.
        outer: The observation in which the replay was opened; the recorded roots belong under it.
    """

    def __init__(self, root: Place, mode: Match, normalize: canonical.Normalize | None, outer: Node | None) -> None:
        self.root = root
        self.mode = mode
        self.normalize = normalize
        self.started = Started()
        """The observations of the replay that wait for a place."""
        self._outer = outer
        self._places: dict[tuple[str, str], Place] = {}
        self._everything: Index | None = None
        self._by_label: dict[Label, list[Place]] = {}

    def place_of(self, node: Node | None, asked: Question | None = None) -> Place:
        """Return the place in the recorded tree of *node*, an observation of the replay around the call *asked*."""
        chain: list[Node] = []
        while node is not None and node is not self._outer and (node.trace.id, node.id) not in self._places:
            chain.append(node)
            node = node.parent
        known = node is not None and node is not self._outer
        place = self._places[node.trace.id, node.id] if known and node is not None else self.root
        for inner in reversed(chain):
            place = self._paired(inner, place, asked)
            self._places[inner.trace.id, inner.id] = place
            self.started.remove(inner)
        return place

    def _paired(self, node: Node, parent: Place, asked: Question | None) -> Place:
        """Return the recorded child of *parent* that matches *node*; *parent* itself if there is none."""
        if not isinstance(node, OpenObservation):
            return parent
        question = question_of(node)
        has_inside = None if asked is None else lambda place: self._has_inside(place, asked)
        found = self._like(question, parent.index(self.normalize), by_name=True, has_inside=has_inside)
        if found is None and parent is self.root:  # what was recorded inside a run is the whole run here
            found = self._like(question, self._all(), by_name=True, has_inside=has_inside)
        if found is None:
            return parent
        found.is_paired = True
        return found

    def find(self, question: Question, parent: Place, *, is_exact: bool = False) -> Place | None:
        """
        Return the recorded answer of *question*, asked under *parent*; None if there is none.

        Args:
            question: The call.
            parent: The recorded observation around it.
            is_exact: Whether the input must be the same, whatever the mode.
        """
        by_name = self.mode == "fifo" and not is_exact
        found = self._like(question, parent.index(self.normalize), by_name=by_name, by_input=not by_name)
        if found is None and parent is self.root:
            found = self._like(question, self._all(), by_name=by_name, by_input=not by_name)
        if found is None and self.mode != "strict":
            found = self._like(question, self._all(), by_name=by_name, by_input=not by_name)
        if found is None and question.type is ObservationType.TOOL:
            found = self._pushed(question, parent)
        if found is None and self.mode == "loose" and not is_exact:
            found = self.nearest(question, asked=False)
        return found

    def _pushed(self, question: Question, parent: Place) -> Place | None:
        """
        Return the recorded call of a tool that pushed an observation of its own for it, as ``tool.NAME``.

        That has the input which the tool gave it, so such calls are found in their order.
        """
        found = self._next(parent.index(self.normalize).pushed.get(question.name), question)
        if found is None and (parent is self.root or self.mode != "strict"):
            found = self._next(self._all().pushed.get(question.name), question)
        return found

    def _like(
        self,
        question: Question,
        index: Index,
        *,
        by_name: bool,
        by_input: bool = True,
        has_inside: Callable[[Place], bool] | None = None,
    ) -> Place | None:
        label = label_of(question.type, question.name)
        if by_input:
            for given in question.inputs:
                places = index.by_input.get((label, canonical.exact_key(given)))
                if (found := self._next(places, question, canonical.exact_key, has_inside)) is not None:
                    return found
            for given in question.inputs:
                places = index.by_stable.get((label, self._stable_key(given)))
                if (found := self._next(places, question, self._stable_key, has_inside)) is not None:
                    return found
            if (found := self._cut(question, label, index)) is not None:
                return found
        return self._next(index.by_name.get(label), question, None, has_inside) if by_name else None

    def _next(
        self,
        places: deque[Place] | None,
        question: Question,
        key: Callable[[Any], bytes] | None = None,
        has_inside: Callable[[Place], bool] | None = None,
    ) -> Place | None:
        """Return the next of *places* for *question*; calls are equal whose inputs have the same *key*, or all."""

        def count_before() -> int:
            node = question.node
            if node is None:
                return 0
            if key is None:
                return self.started.count_before(node, lambda one: True)
            wanted = key(question.input)
            return self.started.count_before(node, lambda one: key(question_of(one).input) == wanted)

        return next_unasked(places, question, count_before, has_inside)

    def _stable_key(self, given: Any) -> bytes:
        return canonical.stable_key(given, self.normalize)

    def _has_inside(self, place: Place, asked: Question) -> bool:
        """Whether *place* contains a recorded answer of *asked* that no call was answered with."""
        index, label = place.inside(self.normalize), label_of(asked.type, asked.name)
        if self.mode != "strict":
            return any(not (one.is_asked or one.is_paired) for one in index.by_name.get(label, ()))
        found = [index.by_input.get((label, canonical.exact_key(given)), ()) for given in asked.inputs]
        found += [index.by_stable.get((label, self._stable_key(given)), ()) for given in asked.inputs]
        return any(not (one.is_asked or one.is_paired) for places in found for one in places)

    def _cut(self, question: Question, label: Label, index: Index) -> Place | None:
        """Return the recorded call whose input agrees as far as both are whole, if one of them was cut."""
        asked_cut = [is_cut(given) for given in question.inputs]
        for given, is_short in zip(question.inputs, asked_cut, strict=True):
            candidates = index.by_name.get(label, ()) if is_short else index.cut.get(label, ())
            wanted = canonical.normalized(self.normalize(given) if self.normalize else given)
            for place in candidates:
                recorded = place.observation.input
                recorded = canonical.normalized(self.normalize(recorded) if self.normalize else recorded)
                if not (place.is_asked or place.is_paired) and canonical.agree(recorded, wanted):
                    return place
        return None

    def nearest(self, question: Question, *, asked: bool) -> Place | None:
        """Return the recorded call of the same name with the most similar input, also one that was *asked* for."""
        label = label_of(question.type, question.name)
        candidates = [one for one in self.labelled(label) if asked or not (one.is_asked or one.is_paired)]
        wanted = canonical.stable_key(question.input, self.normalize)

        def score(place: Place) -> tuple[float, bool]:
            given = canonical.stable_key(place.observation.input, self.normalize)
            return canonical.similarity(given, wanted), not place.is_asked

        return max(candidates[:COMPARED], key=score, default=None)

    def _all(self) -> Index:
        if self._everything is None:
            self._everything = Index(list(self.root.walk()), self.normalize)
        return self._everything

    def labelled(self, label: Label) -> list[Place]:
        """Return the recorded observations of a type and name."""
        if not self._by_label:
            for place in self.root.walk():
                self._by_label.setdefault(place.label(), []).append(place)
        return self._by_label.get(label, [])

    def settle(self, question: Question, place: Place) -> None:
        """Note that the observation of *question* has this place, so that what runs inside it belongs there."""
        if question.key is not None:
            self._places[question.key] = place
