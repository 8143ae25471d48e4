"""
For tests, ours and yours: traces in memory, a clock that stands still until it is read, counting ids, outlines.

    with fluxloop.testing.capture() as captured:
        my_agent("hello")
    assert captured.outline() == "AGENT my_agent -> 'hi'"
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Unpack

from .client import FluxLoopClient, default
from .encoding.record_text import ns_of
from .models import ObservationData, Status, Trace
from .reading import traces_of
from .settings.layers import Configuration
from .storage import MemoryStorage

if TYPE_CHECKING:
    from .settings.options import SettingOptions

__all__ = ["Captured", "CountingIds", "FixedClock", "MemoryStorage", "capture", "outline"]


class FixedClock:
    """A clock that moves by one step each time it is read, so that every duration is known beforehand."""

    def __init__(self, start: datetime = datetime(2026, 1, 17, 14, 30, tzinfo=UTC), step_ms: int = 1) -> None:
        self._start_ns = ns_of(start)
        self._step_ns = step_ms * 1_000_000
        self._steps = 0

    def now(self) -> int:
        """Return the time of day, in nanoseconds since 1970."""
        return self._start_ns + self.tick()

    def tick(self) -> int:
        """Return the time passed since the start, in nanoseconds."""
        self._steps += 1
        return self._steps * self._step_ns


class CountingIds:
    """Ids that count from 1 and look like UUIDs."""

    def __init__(self) -> None:
        self._last = 0

    def __call__(self) -> str:
        self._last += 1
        return f"00000000-0000-8000-8000-{self._last:012d}"


class Captured:
    """What was recorded while `capture` was in force."""

    def __init__(self, storage: MemoryStorage) -> None:
        self.storage = storage

    def traces(self) -> list[Trace]:
        """Return the traces so far, in the order they began."""
        return sorted(traces_of(self.storage.read()), key=lambda trace: str(trace.start_time))

    def outline(self, *, inputs: bool = False) -> str:
        """Return the outlines of all traces, one below the other; see `outline`."""
        return "\n".join(outline(trace, inputs=inputs) for trace in self.traces())


@contextmanager
def capture(
    client: FluxLoopClient = default, *, clock: FixedClock | None = None, **settings: Unpack[SettingOptions]
) -> Iterator[Captured]:
    """
    Record into memory for a block: fixed clock, counting ids, and default settings but for those given.

    Neither the environment nor earlier configuration has an effect, and what was configured is in force
    again afterwards.

    Args:
        client: Whose traces to capture; those of the package's own functions by default.
        clock: The clock to use; a new one by default.
        settings: As `fluxloop.configure` takes them.

    Raises:
        ConfigError: If a setting is unknown or not acceptable.
    """
    clock = clock or FixedClock()
    storage = MemoryStorage()
    in_force = Configuration(isolated=True).configure(storage=storage, **settings)
    recorder = client.assemble(in_force, now=clock.now, tick=clock.tick, new_id=CountingIds())
    with client.recording_by(recorder):
        yield Captured(storage)


def outline(trace: Trace, *, inputs: bool = False) -> str:
    """
    Return *trace* as text, a line per observation, children indented by two spaces.

    A line reads ``TYPE name -> output``. An ending other than success stands in brackets, with the error's
    text, of several lines the first; values longer than 60 characters are cut.

    Args:
        trace: As `fluxloop.read_traces` and `Captured.traces` give it.
        inputs: Whether to show inputs too, in parentheses after the name.
    """
    return "\n".join("  " * depth + _line(observation, inputs) for depth, observation in trace.walk())


def _line(observation: ObservationData, inputs: bool) -> str:
    line = f"{observation.type.name} {observation.name}"
    if inputs and observation.input is not None:
        line += f"({_short(observation.input)})"
    if observation.status is not Status.SUCCESS:
        status = observation.status.value if observation.status else "running"
        line += f" [{status}: {_first_line(observation.error)}]" if observation.error else f" [{status}]"
    if observation.output is not None:
        line += f" -> {_short(observation.output)}"
    return line


def _first_line(text: str) -> str:
    first, *more = text.splitlines() or [text]
    return f"{first} …" if more else first


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:59] + "…"
