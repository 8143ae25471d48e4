"""
Cassettes: trace files that answer the calls of a test, recorded when they are missing.

A cassette is an ordinary record file. Ids and times in it are replaced by numbers, so that recording the same run again
changes nothing.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Literal, Self

import orjson

from ..client import default
from ..errors import ReplayError, WriteError
from ..models import ObservationData, Trace
from ..reading import read_traces, traces_of
from ..settings.layers import Configuration
from ..storage import MemoryStorage
from .block import Block, Replay
from .canonical import Normalize
from .checks import damages_in, divergences_in, problems_in
from .live import check_live
from .matching import MODES, Match
from .reports import ReplayReport
from .sources import traces_in
from .unmasking import Secrets, check_secrets

__all__ = [
    "FOLDER",
    "Cassette",
    "Mode",
    "cassette",
    "damages_in",
    "divergences_in",
    "problems_in",
    "prune",
    "records",
    "write",
]

Mode = Literal["once", "none", "new_episodes", "rewrite"]
FOLDER = "cassettes"
"""The folder, beside a file of tests, with the cassettes of its tests in a folder named after the file."""

CASSETTE_MODES: tuple[Mode, ...] = ("once", "none", "new_episodes", "rewrite")

_ID = re.compile(r"[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}|\b[0-9a-f]{32}\b")
_VOLATILE_METADATA = frozenset({"langgraph_checkpoint_ns", "checkpoint_ns", "checkpoint_id", "langgraph_path"})
_TIMES = frozenset({"offsets_ms", "first_item_ms"})


class Cassette(Block):
    """A block whose calls are answered from a cassette, or recorded into it; see `cassette`."""

    is_for_process = False
    """Whether calls of the whole process are answered, or those of the block."""

    def __init__(
        self,
        path: Path,
        mode: Mode,
        match: Match,
        normalize: Normalize | None = None,
        live: tuple[str, ...] = (),
        secrets: Secrets | None = None,
    ) -> None:
        self.path = path
        self.mode = mode
        self._match = match
        self._normalize = normalize
        self._live = live
        self._secrets = check_secrets(secrets)
        self._stack = ExitStack()
        self._before: object = None
        """The version of the file when the block was opened."""
        self._storage: MemoryStorage | None = None
        self._replay: Replay | None = None

    def __enter__(self) -> Self:
        with ExitStack() as stack:  # closed if something fails, so that nothing stays open
            self._open(stack)
            self._stack = stack.pop_all()
        return self

    def _open(self, stack: ExitStack) -> None:
        self._before = _version(self.path)
        exists = self.path.exists()
        if self.mode == "none" and not exists:
            raise ReplayError(
                f"expected a cassette at {self.path}, and the file does not exist: record it with mode='once'"
            )
        is_recording = self.mode == "rewrite" or (self.mode in ("once", "new_episodes") and not exists)
        if is_recording or self.mode == "new_episodes":
            self._storage = self._record(stack)
        if not is_recording:
            options: dict[str, Any] = {"live": self._live, "pace": None, "normalize": self._normalize}
            options |= {"is_open_ended": self.mode == "new_episodes", "everywhere": self.is_for_process}
            options |= {"secrets": self._secrets}
            traces = traces_in(self.path, None)
            if damages := damages_in(self.path, traces):
                raise ReplayError(
                    f"the cassette {self.path} is damaged: {damages[0]}. Restore the file, or record it again with "
                    "mode='rewrite'"
                )
            self._replay = Replay(traces, options, self._match)
            stack.enter_context(self._replay)

    def _pause(self) -> None:
        if self._replay is not None:
            self._replay._pause()

    def _resume(self) -> None:
        if self._replay is not None:
            self._replay._resume()

    def __exit__(self, kind: object, exc: BaseException | None, traceback: object) -> None:
        self._stack.__exit__(kind, exc, traceback)  # type: ignore[arg-type]
        if exc is not None or self._storage is None:
            return
        if self._replay is not None and not self._replay.report().live:
            return  # everything was answered, so the cassette is complete
        traces = self._recorded(self._storage)
        if not traces:
            raise ReplayError(
                f"no call was recorded into {self.path}: wrap the run in fluxloop.agent, or install the adapter of its "
                "framework, see fluxloop.install"
            )
        write(self.path, traces, self._before)

    def _record(self, stack: ExitStack) -> MemoryStorage:
        """Record into memory until *stack* is closed, and return the storage."""
        storage = MemoryStorage()
        settings = Configuration(isolated=True).configure(storage=storage, replayable=True)
        stack.enter_context(default.using_recorder(default.make_recorder(settings)))
        return storage

    def _recorded(self, storage: MemoryStorage) -> list[Trace]:
        """Return the traces to write."""
        return list(traces_of(storage.read()))

    def _again(self) -> Self:
        return type(self)(self.path, self.mode, self._match, self._normalize, self._live, self._secrets)

    @property
    def replay(self) -> Replay | None:
        """The open replay; None while the cassette is recorded."""
        return self._replay

    def report(self) -> ReplayReport | None:
        """Return the report of the replay; None while the cassette is recorded."""
        return self._replay.report() if self._replay is not None else None


def cassette(
    path: str | os.PathLike[str],
    mode: Mode = "once",
    *,
    match: Match = "strict",
    live: str | Sequence[str] = (),
    normalize: Normalize | None = None,
    secrets: Secrets | None = None,
) -> Cassette:
    """
    Answer the calls of a block from the file *path*, or record them: with ``with``, ``async with``, or as a decorator.

    The traces of a block that records are written to the cassette only, when the block ends without an error.

    Args:
        path: The cassette, a ``.jsonl`` file.
        mode: ``once``: record if there is no file, else replay. ``none``: replay. ``new_episodes``: replay, and record
            the calls that are not in it. ``rewrite``: record again.
        match: See `fluxloop.replay`.
        live: See `fluxloop.replay`.
        normalize: See `fluxloop.replay`.
        secrets: See `fluxloop.replay`.

    Raises:
        ReplayError: If *mode* or *match* is unknown; when the block is entered, if a cassette is missing.
    """
    if mode not in CASSETTE_MODES:
        raise ReplayError(f"mode must be one of {', '.join(CASSETTE_MODES)}, got {mode!r:.100}")
    if match not in MODES:
        raise ReplayError(f"match must be one of {', '.join(MODES)}, got {match!r:.100}")
    return Cassette(Path(path), mode, match, normalize, check_live(live), secrets)


def _version(path: Path) -> object:
    """Return what changes when the file *path* is written; None if there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns


_ANY = object()


def write(path: Path, traces: list[Trace], expected: object = _ANY) -> None:
    """
    Write *traces* as a cassette, in one step: another program reads the old file or the new one.

    Raises:
        WriteError: If the file cannot be written, or is not the *expected* version, as another program has written it.
    """
    lines = [orjson.dumps(record).decode() for record in records(traces, path.stem)]
    text = _with_numbered_ids("\n".join(lines) + "\n")
    if expected is not _ANY and _version(path) not in (expected, None):
        if path.read_bytes() == text.encode():
            return
        raise WriteError(
            f"the cassette {path} was written by another program while this one recorded, and is left as it is. "
            "Run this program again"
        )
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            unfinished.write_text(text, encoding="utf-8")
            os.replace(unfinished, path)
        finally:
            unfinished.unlink(missing_ok=True)
    except OSError as problem:
        raise WriteError(f"cannot write the cassette {path}: {problem.strerror or problem}") from problem


def records(traces: list[Trace], name: str) -> Iterator[dict[str, Any]]:
    """Yield the records of *traces* with ids and times that are the same for each recording of a run."""
    clock = _Clock()
    for number, trace in enumerate(sorted(traces, key=lambda each: str(each.start_time or "")), 1):
        trace_id = f"{name}-{number}"
        begin = clock.time()
        made = [_Numbered(trace, trace_id, clock).record(root, None) for root in _ordered(trace.roots)]
        for group in made:
            yield from group
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

    def record(self, observation: ObservationData, parent: str | None, number: str = "1") -> list[dict[str, Any]]:
        """Return the records of *observation* and of all inside it; overlapping siblings overlap again."""
        own_id = f"{self._trace_id}/{number}"
        start, own_number = self._clock.time(), self._seq
        self._seq += 1
        inside: list[dict[str, Any]] = []
        position = 0
        for group in _overlapping(self._trace.children(observation)):
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


def _ordered(siblings: list[ObservationData]) -> list[ObservationData]:
    return [one for group in _overlapping(siblings) for one in group]


def _overlapping(siblings: list[ObservationData]) -> list[list[ObservationData]]:
    """Return *siblings* in groups that ran at the same time; in a group, sorted by name and input."""
    groups: list[list[ObservationData]] = []
    end: Any = None
    for one in siblings:
        if end is None or one.start_time >= end:
            groups.append([one])
            end = one.end_time or one.start_time
        else:
            groups[-1].append(one)
            end = max(end, one.end_time or one.start_time)
    return [sorted(group, key=lambda one: (one.name, repr(one.input))) for group in groups]


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
