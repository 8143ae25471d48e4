"""
Tools for tests: traces in memory, a predictable clock, consecutive ids, and outlines.

    with fluxloop.testing.capture() as captured:
        my_agent("hello")
    assert captured.outline() == "AGENT my_agent -> 'hi'"
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Unpack, overload

from .client import FluxLoopClient, default
from .encoding.record_text import ns_of
from .models import ObservationData, Status, Trace
from .reading import traces_of
from .settings.layers import Configuration
from .storage import MemoryStorage
from .storage.memory import MemoryJournal

if TYPE_CHECKING:
    from .settings.options import SettingOptions

__all__ = ["Captured", "CountingIds", "FixedClock", "MemoryStorage", "SystemClock", "capture", "outline"]


class FixedClock:
    """A clock that advances by one step per reading, so that every duration is predictable."""

    def __init__(self, start: datetime = datetime(2026, 1, 17, 14, 30, tzinfo=UTC), step_ms: int = 1) -> None:
        self._start_ns = ns_of(start)
        self._step_ns = step_ms * 1_000_000
        self._steps = 0

    def now(self) -> int:
        """Return the time of day, in nanoseconds since 1970."""
        return self._start_ns + self.tick()

    def tick(self) -> int:
        """Advance by one step, and return the time since the start in nanoseconds."""
        self._steps += 1
        return self._steps * self._step_ns


class SystemClock:
    """The clock of the system, for tests that look at durations."""

    now = staticmethod(time.time_ns)
    tick = staticmethod(time.perf_counter_ns)


class CountingIds:
    """Consecutive ids in the format of UUIDs, starting from 1."""

    def __init__(self) -> None:
        self._last = 0

    def __call__(self) -> str:
        self._last += 1
        return f"00000000-0000-8000-8000-{self._last:012d}"


class _CaptureStorage(MemoryStorage):
    """Memory that also lists the observations which have started and not ended."""

    def __init__(self) -> None:
        super().__init__()
        self.journal = MemoryJournal()


class Captured(Sequence[Trace]):
    """The traces that were recorded inside a `capture` block, in the order of their start."""

    def __init__(self, storage: MemoryStorage) -> None:
        self.storage = storage

    @property
    def trace(self) -> Trace:
        """
        The only trace.

        Raises:
            AssertionError: If there is none, or more than one.
        """
        __tracebackhide__ = True  # in reports of pytest
        traces = self.traces()
        if len(traces) != 1:
            raise AssertionError(f"expected one trace, recorded {len(traces)}{': ' if traces else ''}{_names(traces)}")
        return traces[0]

    def __len__(self) -> int:
        return len(self.traces())

    @overload
    def __getitem__(self, index: int) -> Trace: ...
    @overload
    def __getitem__(self, index: slice) -> list[Trace]: ...
    def __getitem__(self, index: Any) -> Any:
        return self.traces()[index]

    def __iter__(self) -> Iterator[Trace]:
        return iter(self.traces())

    def __repr__(self) -> str:
        return repr(self.traces())

    def traces(self) -> list[Trace]:
        """Return the traces so far, in the order of their start, with the observations that are still open."""
        journal = getattr(self.storage, "journal", None)
        is_open = journal.records() if journal is not None else ()
        return sorted(traces_of(self.storage.read(), is_open), key=lambda trace: str(trace.start_time))

    def outline(self, *, inputs: bool = False) -> str:
        """Return the outlines of all traces, separated by line breaks; see `outline`."""
        return "\n".join(outline(trace, inputs=inputs) for trace in self.traces())


@contextmanager
def capture(
    client: FluxLoopClient = default,
    *,
    clock: FixedClock | SystemClock | None = None,
    **settings: Unpack[SettingOptions],
) -> Iterator[Captured]:
    """
    Record into memory inside a block, with a fixed clock, consecutive ids and default settings.

    The environment and earlier calls of `configure` have no effect inside the block. The previous configuration is
    restored at its end.

    Args:
        client: The client whose traces are captured; by default the one of the package's functions.
        clock: The clock to use; by default a new one.
        settings: Settings that differ from the defaults, as for `fluxloop.configure`.

    Raises:
        ConfigError: If a setting is unknown or its value is invalid.
    """
    clock = clock or FixedClock()
    storage = _CaptureStorage()
    isolated = Configuration(isolated=True).configure(storage=storage, **settings)
    recorder = client.make_recorder(isolated, now=clock.now, tick=clock.tick, new_id=CountingIds())
    with client.using_recorder(recorder):
        yield Captured(storage)


def outline(trace: Trace, *, inputs: bool = False, outputs: bool = True, normalize: Callable[[str], str] = str) -> str:
    """
    Return *trace* as text, with one line per observation and children indented by two spaces.

    A line has the form ``TYPE name -> output``. A status other than success follows the name in brackets, with the
    first line of the error. Values are cut at 60 characters.

    Args:
        trace: A trace from `fluxloop.read_traces` or `Captured.traces`.
        inputs: Whether to show inputs, in parentheses after the name.
        outputs: Whether to show outputs.
        normalize: Applied to the text of each value before it is cut.
    """

    def shown(value: object) -> str:
        return _cut(normalize(repr(value)))

    return "\n".join("  " * depth + _line(one, inputs, outputs, shown) for depth, one in trace.walk())


def _line(observation: ObservationData, inputs: bool, outputs: bool, shown: Callable[[object], str]) -> str:
    line = f"{observation.type.name} {observation.name}"
    if inputs and observation.input is not None:
        line += f"({shown(observation.input)})"
    if observation.status is not Status.SUCCESS:
        status = observation.status.value if observation.status else "running"
        line += f" [{status}: {_first_line(observation.error)}]" if observation.error else f" [{status}]"
    if outputs and observation.output is not None:
        line += f" -> {shown(observation.output)}"
    return line


def _names(traces: list[Trace]) -> str:
    names = [repr(trace.name) for trace in traces[:10]]
    return ", ".join(names + ["…"] * (len(traces) > 10))


def _first_line(text: str) -> str:
    first, *more = text.splitlines() or [text]
    return f"{first} …" if more else first


def _cut(text: str) -> str:
    return text if len(text) <= 60 else text[:59] + "…"
