"""
The files of cassettes: record files whose ids and times are numbers, so that the same run gives the same file.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, sleep
from typing import Any, TypeVar

import orjson

from ..enums import ObservationType
from ..errors import ReplayError, WriteError
from ..models import ObservationData, Trace
from ..reading import read_traces
from ..storage.descriptors import lock
from .equal_calls import STEP, TASK, TOOL_CALL, position

_ID = re.compile(r"[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}|\b[0-9a-f]{32}\b")
_VOLATILE_METADATA = frozenset({"langgraph_checkpoint_ns", "checkpoint_ns", "checkpoint_id"})
_TIMES = frozenset({"offsets_ms", "first_item_ms"})

ToolCalls = dict[Any, tuple[int, int]]
"""The number of an answer, and the place in it, by the id of a tool call."""

Sibling = TypeVar("Sibling", Trace, ObservationData)


def version(path: Path) -> object:
    """Return what changes when the file *path* is written; None if there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns


_ANY = object()

LOCK_S = 5.0
"""The longest wait for another program that writes a cassette of the same folder."""


def write(path: Path, traces: list[Trace], expected: object = _ANY) -> None:
    """
    Write *traces* as a cassette, in one step: another program reads the old file or the new one.

    Raises:
        WriteError: If the file cannot be written, or is not the *expected* version, as another program has written it.
    """
    lines = [orjson.dumps(record).decode() for record in records(traces, path.stem)]
    text = _with_numbered_ids("\n".join(lines) + "\n")
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _locked(path.parent):
            if expected is not _ANY and version(path) not in (expected, None):
                if path.read_bytes() == text.encode():
                    return
                raise WriteError(
                    f"the cassette {path} was written by another program while this one recorded, and is left as it "
                    "is. Run this program again"
                )
            try:
                unfinished.write_text(text, encoding="utf-8")
                os.replace(unfinished, path)
            finally:
                unfinished.unlink(missing_ok=True)
    except WriteError:
        raise
    except OSError as problem:
        raise WriteError(f"cannot write the cassette {path}: {problem.strerror or problem}") from problem


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Let one program at a time write a cassette of *folder*; without locks, on Windows, two may write at once."""
    try:
        fd = os.open(folder, os.O_RDONLY)
    except OSError:  # Windows opens no folders
        yield
        return
    try:
        end = monotonic() + LOCK_S
        while lock(fd) is False and monotonic() < end:
            sleep(0.01)
        yield
    finally:
        os.close(fd)


def records(traces: list[Trace], name: str) -> Iterator[dict[str, Any]]:
    """Yield the records of *traces* with ids and times that are the same for each recording of a run."""
    clock = _Clock()
    in_order = sorted(traces, key=lambda each: str(each.start_time or ""))
    if all(trace.start_time is not None for trace in traces):
        in_order = [trace for group in _overlapping(in_order, {}) for trace in group]
    for number, trace in enumerate(in_order, 1):
        trace_id = f"{name}-{number}"
        begin = clock.time()
        yield from _Numbered(trace, trace_id, clock).records()
        kept = trace.model_dump(mode="json", by_alias=True, exclude_none=True, exclude={"observations", "duration_ms"})
        session = {"session_id": trace_id}
        times = {"start_time": begin, "end_time": clock.time()}
        yield {**kept, "trace_id": trace_id, **session, **times, "metadata": _metadata(trace.metadata)}


class _Clock:
    """Times in equal steps."""

    def __init__(self) -> None:
        self._step = 0

    def time(self) -> str:
        """Return the next time."""
        self._step += 1
        minutes, thousandths = divmod(self._step, 60_000)
        return f"2000-01-01T{minutes // 60:02}:{minutes % 60:02}:{thousandths / 1000:09.6f}Z"


class _Numbered:
    """Gives the observations of one trace numbers as ids, and times in the order of their starts and ends."""

    def __init__(self, trace: Trace, trace_id: str, clock: _Clock) -> None:
        self._trace = trace
        self._trace_id = trace_id
        self._clock = clock
        self._seq = 0
        self._tool_calls = _tool_calls(trace)

    def records(self) -> list[dict[str, Any]]:
        """Return the records of all observations."""
        groups = _overlapping(self._trace.roots, self._tool_calls)
        return [record for group in groups for root in group for record in self.record(root, None)]

    def record(self, observation: ObservationData, parent: str | None, number: str = "1") -> list[dict[str, Any]]:
        """Return the records of *observation* and of all inside it; overlapping siblings overlap again."""
        own_id = f"{self._trace_id}/{number}"
        start, own_number = self._clock.time(), self._seq
        self._seq += 1
        inside: list[dict[str, Any]] = []
        position = 0
        for group in _overlapping(self._trace.children(observation), self._tool_calls):
            starts: list[dict[str, Any]] = []
            for child in group:
                position += 1
                made = self.record(child, own_id, f"{number}.{position}")
                starts.append(made[0])
                inside += made
            if len(starts) > 1:  # they ran at the same time: all begin before the first ends
                for one in starts:
                    one["start_time"] = starts[0]["start_time"]
        kept = observation.model_dump(mode="json", exclude_none=True, exclude={"duration_ms", "time_to_first_token_ms"})
        kept |= {"id": own_id, "trace_id": self._trace_id, "parent_id": parent, "type": observation.type.name}
        kept["level"] = observation.level.name
        kept |= {"start_time": start, "end_time": self._clock.time(), "metadata": _metadata(observation.metadata)}
        kept["seq"] = own_number
        return [kept, *inside]


def _tool_calls(trace: Trace) -> ToolCalls:
    """Return the places at which the answers of models have the ids of the tool calls, which may be random."""
    found: ToolCalls = {}
    ids = [one.metadata.get(TOOL_CALL) for one in trace.observations]
    wanted = {call_id for call_id in ids if isinstance(call_id, str)}
    for number, observation in enumerate(trace.observations if wanted else ()):
        if observation.type is ObservationType.GENERATION:
            text = repr(observation.output)
            places = {call_id: (number, text.find(call_id)) for call_id in wanted if call_id in text}
            found = places | found
    return found


def _overlapping(siblings: Sequence[Sibling], tool_calls: ToolCalls) -> list[list[Sibling]]:
    """
    Return *siblings* in groups that ran at the same time, or may have.

    In a group, they are sorted by the place of their tool calls in the answer of a model, by name, input and position.
    """

    def may_overlap(one: Sibling, other: Sibling) -> bool:
        place, its_place = (tool_calls.get(each.metadata.get(TOOL_CALL)) for each in (one, other))
        is_of_one_answer = place is not None and its_place is not None and place[0] == its_place[0]
        return is_of_one_answer or _are_tasks_of_one_step(one, other)

    groups: list[list[Sibling]] = []
    end: Any = None
    for one in siblings:
        if end is None or not (one.start_time < end or may_overlap(groups[-1][0], one)):
            groups.append([one])
            end = one.end_time or one.start_time
        else:
            groups[-1].append(one)
            end = max(end, one.end_time or one.start_time)

    def key(one: Sibling) -> tuple[Any, ...]:
        place = tool_calls.get(one.metadata.get(TOOL_CALL), ())
        return place, one.name, _ID.sub("", repr(one.input)), position(one.metadata)

    return [sorted(group, key=key) for group in groups]


def _are_tasks_of_one_step(one: Trace | ObservationData, other: Trace | ObservationData) -> bool:
    """Whether two siblings are tasks of a graph that start in any order, although one had ended before the other."""
    first, second = one.metadata, other.metadata
    return first.get(STEP) is not None and first.get(STEP) == second.get(STEP) and first.get(TASK) != second.get(TASK)


def _metadata(metadata: dict[str, Any]) -> dict[str, Any]:
    kept = {name: item for name, item in metadata.items() if name not in _VOLATILE_METADATA}
    if isinstance(stream := kept.get("stream"), dict):
        kept["stream"] = {name: item for name, item in stream.items() if name not in _TIMES}
    if isinstance(text := kept.get("traceback"), str):  # without the places in this machine's files
        kept["traceback"] = text.strip().splitlines()[-1] if text.strip() else ""
    return kept


def _with_numbered_ids(text: str) -> str:
    """Return *text* with each id of a run replaced by its number, the same one wherever it occurs."""
    numbers: dict[str, int] = {}

    def number(found: re.Match[str]) -> str:
        index = numbers.setdefault(found[0], len(numbers) + 1)
        return f"00000000-0000-8000-8000-{index:012d}" if "-" in found[0] else f"{index:032d}"

    return _ID.sub(number, text)


def prune(path: Path, used: set[str]) -> int:
    """
    Remove the traces whose ids are not in *used* from the cassette *path*; return how many were removed.

    Raises:
        ReplayError: If the cassette has no trace with one of these ids; the file is unchanged.
    """
    traces = list(read_traces(path))
    if unknown := used - {trace.trace_id for trace in traces}:
        raise ReplayError(
            f"expected ids of its traces to keep, found {', '.join(sorted(unknown))!r}; nothing was removed. "
            "List the ids with: fluxloop cassette show"
        )
    kept = [trace for trace in traces if trace.trace_id in used]
    if len(kept) < len(traces):
        write(path, kept)
    return len(traces) - len(kept)
