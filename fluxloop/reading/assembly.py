"""
Assemble a `Trace` from its records, which may come in any order and more than once.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from ..enums import Status
from ..llm.prices import Cost
from ..models import ObservationData, Score, Trace
from ..storage.decoding import Json, decode, kind_of, trace_id_of
from .building import derived_status, finished_observation, observation_of, set_times, trace_of
from .lazy import Item, Observations, can_wait, seq_of, start_of
from .scores import scores_of


def traces_of(records: Iterable[Json], open_records: Iterable[Json] = ()) -> Iterator[Trace]:
    """
    Yield the traces of *records* held in memory, in order of first appearance; other JSON is left out.

    Args:
        records: Finished observations and traces.
        open_records: The beginnings of the records of observations that this process has not ended.
    """
    assemblies: dict[str, Assembly] = {}
    for record in records:
        if kind_of(record):
            trace_id = trace_id_of(record)
            assemblies.setdefault(trace_id, Assembly(trace_id)).add(record)
    begun: dict[str, list[tuple[bool, Json]]] = {}
    for record in open_records:
        begun.setdefault(trace_id_of(record), []).append((True, record))
    for trace_id, observations in begun.items():
        assemblies.setdefault(trace_id, Assembly(trace_id)).set_open(observations)
    for assembly in assemblies.values():
        if assembly:
            yield assembly.trace()


class Assembly:
    """
    The records of one trace, as far as they have been read.

    The last record of an id wins, and a finished record wins over the beginning found in a journal.
    """

    def __init__(self, trace_id: str) -> None:
        self.trace_id = trace_id
        self.ended = False
        """Whether the trace's own line has been added."""
        self._line: Json = {}
        self._begun: Json = {}
        self._finished: dict[str, Item] = {}
        self._open: dict[str, ObservationData] = {}
        self._numbers = array("q")
        """The ``seq`` of each line added, in order."""
        self._scores: list[Json] = []
        self._score_files: Callable[[str], list[Score]] | None = None
        self._has_only_lines = True
        self._reports_usage = False

    @property
    def name(self) -> str:
        """The trace's name, as far as it is known."""
        return str(self._line.get("name") or self._begun.get("name") or "")

    def __bool__(self) -> bool:
        return bool(self.ended or self._finished or self._open)

    def add(self, record: Json) -> ObservationData | None:
        """Add a finished record, and return the observation if it is one."""
        kind = kind_of(record)
        if kind == "score":
            self._scores.append(record)
            return None
        if kind == "trace":
            self._line, self.ended = record, True
            return None
        observation = finished_observation(record)
        self._finished[observation.id] = observation
        self._has_only_lines = False
        self._reports_usage |= observation.usage is not None
        return observation

    def add_line(self, line: bytes, record: Json) -> None:
        """Add a finished record with the *line* it was decoded from; an observation is built when it is accessed."""
        if not can_wait(record):
            self.add(record)
            return
        self._finished[record["id"]] = line
        self._numbers.append(record["seq"])
        if "usage" in record:
            self._reports_usage = True

    def find_scores_in(self, files: Callable[[str], list[Score]]) -> None:
        """Let the trace find further scores with *files* when they are asked for."""
        self._score_files = files

    def build(self) -> None:
        """Build what was added as lines, where the trace will be assembled many times."""
        self._finished = {item.id: item for item in Observations(self._finished.values())}
        self._has_only_lines = False

    def set_open(self, observations: Iterable[tuple[bool, Json]]) -> None:
        """Replace the open observations: the beginning of each record, and whether its process is alive."""
        self._open = {}
        for is_alive, record in observations:
            observation = observation_of(record)
            observation.status = None if is_alive else Status.CRASHED
            self._open[observation.id] = observation
            if isinstance(begun := record.get("trace"), dict):
                self._begun = {"name": observation.name, **begun}

    def trace(self) -> Trace:
        """Return the trace as far as it is known."""
        trace = trace_of({**self._begun, **self._line, "trace_id": self.trace_id})
        items = self._in_order()
        trace.observations = observations = Observations(items)  # type: ignore[assignment]  # a list in all but its type
        index = next((index for index, item in enumerate(items) if start_of(item).parent_id is None), None)
        root = observations[index] if index is not None and _completes(trace, items[index]) else None
        if trace.start_time is None and items:
            earliest = min(range(len(items)), key=lambda index: start_of(items[index]).time)
            trace.start_time = observations[earliest].start_time
        if root and trace.end_time is None and (root.end_time or root.duration_ms is not None):
            trace.end_time, trace.duration_ms = root.end_time, trace.duration_ms or root.duration_ms
        trace._pricer = _cost_of
        trace._set_scores(scores_of(self._scores), self._score_files)
        set_times(trace)
        if trace.status is None:
            trace.status = self._status(trace, root)
        if root:
            trace.name = trace.name or root.name
            for field in _VALUES:
                if getattr(trace, field) is None:
                    setattr(trace, field, getattr(root, field))
        if self._reports_usage and (trace.usage is None or not trace.usage.reported):
            trace.usage = trace.count_usage()
        return trace

    def _status(self, trace: Trace, root: ObservationData | None) -> Status | None:
        """Return the status of a trace whose line is missing or has no known status; None while the trace runs."""
        if self.ended:
            decisive = next((o for o in trace.roots if o.status is Status.ERROR), root)
            if decisive is None or decisive.status is None:
                return derived_status(trace)
            trace.error = trace.error or decisive.error
            return decisive.status
        if any(o.status is None for id, o in self._open.items() if id not in self._finished):
            return None
        # Without a root, the process that had the trace open has died.
        return root.status if root else Status.CRASHED

    def _in_order(self) -> list[Item]:
        """
        Return all observations in the order of their starts.

        ``seq`` decides where each has its own, since clocks tie and jump. Where several processes wrote the trace,
        their numbers collide, and the clock decides.
        """
        items = [*{**self._open, **self._finished}.values()]
        if self._has_only_lines and not self._open and len(self._numbers) == len(items):
            numbers: Sequence[int | None] = self._numbers
        else:
            numbers = [seq_of(item) for item in items]
        if None not in numbers and len({*numbers}) == len(numbers):
            keys: Sequence[Any] = numbers
        else:
            keys = [(start_of(item).time, number or 0) for item, number in zip(items, numbers, strict=True)]
        return [items[index] for index in sorted(range(len(items)), key=keys.__getitem__)]


def _cost_of(trace: Trace) -> Cost | None:
    from .pricing import cost_of_trace  # with SQLite, not before a cost is asked for

    return cost_of_trace(trace)


def _completes(trace: Trace, root: Item) -> bool:
    """Whether *root* has a value that the line of its *trace* lacks; a root that has none need not be built."""
    if not isinstance(root, bytes) or not trace.name or trace.status is None or trace.end_time is None:
        return True
    record = decode(root)
    return any(getattr(trace, field) is None and record.get(field) is not None for field in _VALUES)


_VALUES = ("error", "input", "output")
"""Fields of a trace that are those of its root."""
