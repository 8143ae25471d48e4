"""
Keep the events of streamed model calls, which the Agents SDK does not report, for an exact replay.

Only while a client records with ``replayable=True``, the streams of models are followed; see `replaying`.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from typing import Any

from agents import tracing

from fluxloop.bridge import add_whole

from .processor import span_state_of
from .spans import MODEL_CALLS, SpanState


class KeptEvents:
    """The events of one stream, and when they arrived."""

    def __init__(self, tick: Callable[[], int], limit: int) -> None:
        self._tick = tick
        self._left = limit
        self._events: list[Any] = []
        self._times: list[int] = []

    def add(self, event: Any) -> None:
        """Keep a copy of *event*, as the SDK and the program may change it."""
        self._left -= 1
        if self._left >= 0:
            self._times.append(self._tick())
            self._events.append(event.model_copy(deep=True) if hasattr(event, "model_copy") else event)

    def record(self, observation: Any) -> None:
        """Add the events to *observation*; none of a stream that is too long, which is replayed from its answer."""
        if self._left < 0 or not self._events:
            return
        add_whole(observation, items=self._events)
        offsets = [(at - observation.started) // 1_000 / 1_000 for at in self._times]
        observation.add_metadata(stream={"count": len(offsets), "offsets_ms": offsets, "first_item_ms": offsets[0]})


async def followed(stream: Any) -> AsyncGenerator[Any, None]:
    """Yield the events of *stream*, the running call of a model, and keep them if its answers are kept."""
    kept: KeptEvents | None = None
    is_first = True
    try:
        async for event in stream:
            if is_first:
                is_first, kept = False, _kept_here()
            if kept is not None:
                kept.add(event)
            yield event
    finally:  # the span ends when the stream is closed, and not when it is collected
        if (close := getattr(stream, "aclose", None)) is not None:
            await close()


def _kept_here() -> KeptEvents | None:
    """
    Return where the events of the model call whose span is open are kept; None if they are not.

    A model that calls another one gets its events after that: those of the outermost model are kept.
    """
    state: SpanState | None = span_state_of(tracing.get_current_span())
    if state is None or state.observation is None or state.kind not in MODEL_CALLS:
        return None
    recorder = state.observation.trace.recorder
    if not (recorder.settings.replayable and recorder.captures_output):
        return None
    state.kept_events = KeptEvents(recorder.tick, recorder.settings.max_stream_items)
    return state.kept_events  # type: ignore[no-any-return]
