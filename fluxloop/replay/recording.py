"""
The recorded calls of a replay, as a tree with an index per parent.

A call is found under its parent by type, name and input, in constant time: the index of a parent is built when the
first call under it is asked for.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable, Iterator
from typing import Any

from ..enums import ObservationType, Status
from ..models import ObservationData, Trace
from ..reading.lazy import Observations
from . import canonical

ANSWERED = frozenset(
    {ObservationType.GENERATION, ObservationType.TOOL, ObservationType.RETRIEVAL, ObservationType.EMBEDDING}
)
"""The types of observations that answer a call."""

_TYPES = dict(ObservationType.__members__)

Label = tuple[ObservationType | None, str]
"""
Type and name; None for all types that answer no call: an observation may get one of these when more is known about it.
"""


def label_of(observation_type: ObservationType, name: str) -> Label:
    """Return the label of an observation."""
    return observation_type if observation_type in ANSWERED else None, name


class Place:
    """A recorded observation in the tree; the root of the tree has none."""

    __slots__ = ("_index", "_inside", "_observation", "_source", "children", "is_asked", "is_paired", "parent")

    def __init__(
        self,
        observation: ObservationData | None,
        parent: Place | None,
        source: tuple[Observations, int] | None = None,
    ) -> None:
        self._observation: Any = observation
        self._source = source
        """Where the observation is, if it is built at the first access."""
        self.parent = parent
        self.children: list[Place] = []
        self.is_asked = False
        """Whether a call was answered with it, or ran in its place."""
        self.is_paired = False
        """Whether an observation of the replay has its place in the tree."""
        self._index: Index | None = None
        self._inside: Index | None = None

    @property
    def observation(self) -> Any:
        """The recorded observation; None for the root of the tree."""
        if self._source is not None:
            observations, index = self._source
            self._observation, self._source = observations[index], None
        return self._observation

    def label(self) -> Label:
        """Return type and name."""
        return self.head()[0]

    def head(self) -> tuple[Label, Any, bool]:
        """Return label and input, and whether something in the record was cut, without building the observation."""
        record = self._source[0].peek(self._source[1]) if self._source is not None else self._observation
        if isinstance(record, dict):
            kind = _TYPES.get(str(record.get("type")))
            if kind is None or type(record.get("name")) is not str:  # read as other programs write it
                return self._built_head()
            label = label_of(kind, record["name"])
            return label, record.get("input"), bool(record.get("truncated"))
        return self._built_head()

    def _built_head(self) -> tuple[Label, Any, bool]:
        built = self.observation
        return label_of(built.type, built.name), built.input, bool(built.truncated)

    def index(self, normalize: canonical.Normalize | None) -> Index:
        """Return the index of the children."""
        if self._index is None:
            self._index = Index(self.children, normalize)
        return self._index

    def inside(self, normalize: canonical.Normalize | None) -> Index:
        """Return the index of all places under this one."""
        if self._inside is None:
            self._inside = Index(list(self.walk()), normalize)
        return self._inside

    def is_answer(self) -> bool:
        """Whether it answers a call that was recorded to its end or its failure."""
        return self.observation is not None and self.observation.type in ANSWERED

    def walk(self) -> Iterator[Place]:
        """Yield all places under this one, parents first."""
        pending = self.children[::-1]
        while pending:
            place = pending.pop()
            yield place
            pending += place.children[::-1]

    def path(self) -> str:
        """Return the names from the root to this place."""
        names: list[str] = []
        place: Place | None = self
        while place is not None and place.observation is not None:
            names.append(place.observation.name)
            place = place.parent
        return " > ".join(reversed(names)) or "the start of the run"


class Index:
    """The children of a place, by type and name, and by input too."""

    def __init__(self, children: list[Place], normalize: canonical.Normalize | None) -> None:
        self.by_name: dict[Label, deque[Place]] = defaultdict(deque)
        self.by_input: dict[tuple[Label, bytes], deque[Place]] = defaultdict(deque)
        self._children = children
        self._normalize = normalize
        self._by_stable: dict[tuple[Label, bytes], deque[Place]] | None = None
        self.cut: dict[Label, list[Place]] = defaultdict(list)
        """The observations with something cut, in the input or elsewhere."""
        self.pushed: dict[str, deque[Place]] = defaultdict(deque)
        """The tools by the last part of a name with dots, which a tool may have pushed for itself."""
        for child in children:
            label, given, is_cut = child.head()
            self.by_name[label].append(child)
            self.by_input[label, canonical.exact_key(given)].append(child)
            if is_cut:
                self.cut[label].append(child)
            if "." in label[1] and label[0] is ObservationType.TOOL:
                self.pushed[label[1].rpartition(".")[2]].append(child)

    @property
    def by_stable(self) -> dict[tuple[Label, bytes], deque[Place]]:
        """The observations by input without ids and times; made when a call has no recorded input that is the same."""
        if self._by_stable is None:
            self._by_stable = defaultdict(deque)
            for child in self._children:
                label, given, _ = child.head()
                self._by_stable[label, canonical.stable_key(given, self._normalize)].append(child)
        return self._by_stable


def is_expected(place: Place) -> bool:
    """Whether a run of the program asks for it: not if it was left open, or is a call that no tool received."""
    observation = place.observation
    if observation.status in (None, Status.CRASHED, Status.CANCELLED, Status.ABANDONED):
        return False
    # Without a traceback, nothing was raised: the model asked for a tool that was not there, or not run.
    is_unrun = observation.type is ObservationType.TOOL and observation.status is Status.ERROR
    return not (is_unrun and "traceback" not in observation.metadata)


def tree_of(traces: Iterable[Trace]) -> Place:
    """Return the recorded observations of *traces* as one tree; the roots of the traces are its first level."""
    root = Place(None, None)
    for trace in sorted(traces, key=lambda each: str(each.start_time or "")):
        if isinstance(trace.observations, Observations) and _add_lines(root, trace.observations):
            continue
        places: dict[int, Place] = {-1: root}
        for depth, observation in trace.walk():
            parent = places[depth - 1]
            places[depth] = place = Place(observation, parent)
            parent.children.append(place)
    return root


def _add_lines(root: Place, observations: Observations) -> bool:
    """
    Add *observations*, which are built at their first access, under *root*.

    Returns:
        False, with nothing added, if a parent comes after its child, as in damaged records.
    """
    known: dict[str, Place] = {}
    links = observations.links()
    ids = {own_id for own_id, _ in links}
    added: list[tuple[Place, Place]] = []
    for index, (own_id, parent_id) in enumerate(links):
        parent = known.get(parent_id) if parent_id is not None else None
        if parent is None and parent_id in ids:
            return False
        known[own_id] = place = Place(None, parent or root, (observations, index))
        added.append((parent or root, place))
    for parent, place in added:
        parent.children.append(place)
    return True
