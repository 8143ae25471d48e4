"""
Tools for tests: traces in memory, a predictable clock, consecutive ids, and outlines.

    with fluxloop.testing.capture() as captured:
        my_agent("hello")
    assert captured.outline() == "AGENT my_agent -> 'hi'"
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Unpack, overload

from .client import FluxLoopClient, default
from .encoding.record_text import ns_of
from .models import Trace
from .outlines import OutlineFile, normalized, outline
from .reading import traces_of
from .settings.layers import Configuration
from .storage import MemoryStorage
from .storage.memory import MemoryJournal

if TYPE_CHECKING:
    from .settings.options import SettingOptions

__all__ = [
    "Captured",
    "CountingIds",
    "FixedClock",
    "MemoryStorage",
    "OutlineFile",
    "SystemClock",
    "capture",
    "normalized",
    "outline",
]


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
        self.hidden: frozenset[str] = frozenset()
        """The ids of traces that are left out: those of earlier runs of a repeated test."""

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
        found = (one for one in traces_of(self.storage.read(), is_open) if one.trace_id not in self.hidden)
        return sorted(found, key=lambda trace: str(trace.start_time))

    @property
    def has_open(self) -> bool:
        """Whether an observation has started and not ended."""
        journal = getattr(self.storage, "journal", None)
        return journal is not None and bool(journal.has_open)

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


def _names(traces: list[Trace]) -> str:
    names = [repr(trace.name) for trace in traces[:10]]
    return ", ".join(names + ["…"] * (len(traces) > 10))
