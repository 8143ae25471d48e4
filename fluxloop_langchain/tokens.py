"""
The tokens of a streamed answer, recorded in less than a microsecond each.

While the model streams, each item and its time are appended to lists, which are read at the end. The item is the text,
or the chunk if that has more, such as a tool call or token counts: a new object that does not change.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from itertools import accumulate, count
from typing import Any, TypeAlias

from fluxloop import Status
from fluxloop.bridge import Entry, OpenObservation, StreamItems, add_whole, delta_text, status_of

from .rebuilding import as_received


class TokenItems(StreamItems):
    """The items of a model's stream; `output` reads them."""

    def __init__(self, observation: OpenObservation) -> None:
        super().__init__(observation)
        recorder = observation.trace.recorder
        self.captures = recorder.captures_output
        self.times: list[int] = []
        self.received: list[Any] = []
        self.last: deque[Any] = deque(maxlen=2)
        """The last items of a stream that is too long to keep."""
        self.is_answered = False
        """Whether the framework reported the whole answer, so that it need not be read from the items."""
        self.dropped = count()
        """Incremented for each item that is not kept."""
        self.is_whole = recorder.settings.replayable and self.captures
        """Whether chunks are kept, and not only their texts."""
        make_sink = _chunk_sink if self.is_whole else _sink
        self.on_token = make_sink(self.times, self.received, self.last, self.dropped, self.items_left, recorder.tick)
        """Records a token and its chunk, or an event of a version 3 stream, which has no token."""

    def settle(self, outcome: dict[str, Any]) -> None:
        """Take note of the *outcome* of the run; a consumer that stops after the last event did not interrupt it."""
        self.is_answered = "output" in outcome
        error = outcome.get("error")
        if isinstance(error, BaseException) and status_of(error) is not Status.ERROR and self.is_complete():
            del outcome["error"]

    def is_complete(self) -> bool:
        """Whether the answer is complete: a version 3 stream has had its last event, with token counts."""
        items = [*self.received[-2:], *self.last]
        return any(type(item) is dict and item.get("event") == "message-finish" and item.get("usage") for item in items)

    def output(self, ended: str, returned: object) -> object:
        """As `StreamItems.output`."""
        received, times = self._events()
        self.count += len(received) + next(self.dropped)
        if not self.is_answered:
            for item in [*received, *self.last]:
                self.facts.on_item(item)
        if self.is_whole and received and not any(type(item) is dict for item in received):
            add_whole(self.observation, items=as_received(received))
        if self.captures:
            started = self.observation.started
            pieces = _texts(received)
            if sum(map(len, pieces)) > self.bytes_left:
                ends = accumulate(map(len, pieces))
                pieces = [piece for piece, end in zip(pieces, ends, strict=True) if end <= self.bytes_left]
            self.offsets_ms = [(at - started) // 1_000 / 1_000 for at in times[: len(pieces)]]
            self.items, self.parsed = [*pieces], len(pieces)
        items = super().output("exhausted" if self.is_complete() else ended, returned)
        if self.is_answered and items and self.observation.metadata:
            self.observation.metadata["stream"]["items"] = items
        return items

    def _events(self) -> tuple[list[Any], list[int]]:
        """Return the items and their times; of a model that sends tokens and events, the events."""
        received, times = self.received, self.times
        if not received or dict not in (type(received[0]), type(received[-1])):
            return received, times
        events = [(item, at) for item, at in zip(received, times, strict=True) if type(item) is dict]
        return [item for item, _ in events], [at for _, at in events]


TokenSink: TypeAlias = tuple[Callable[[], object], Callable[[object, object], None]]
"""Returns the id of a run that streams; records its tokens."""


def sink_of(entry: Entry | None) -> Callable[[object, object], None]:
    """Return the function that records a token of the run *entry*, and its chunk; or does nothing if it is None."""
    if entry is None or entry.observation is None or not entry.is_recorded:
        return _discard
    if entry.stream_items is None:
        entry.stream_items = TokenItems(entry.observation)
    return entry.stream_items.on_token  # type: ignore[no-any-return]


def _discard(token: object, chunk: object) -> None:
    """Record nothing."""


def _texts(received: list[Any]) -> list[str]:
    """Return the text of each item; all but the last, which has the token counts, are mostly texts."""
    end = len(received)
    while end and type(received[end - 1]) is not str:
        end -= 1
    texts = received[:end]
    if not {str}.issuperset(map(type, texts)):
        texts = [item if type(item) is str else _text(item) for item in texts]
    return texts + [_text(item) for item in received[end:]]


def _text(item: Any) -> str:
    content = getattr(getattr(item, "message", None), "content", None)
    return content if type(content) is str else delta_text(item) or ""


def _sink(
    times: list[int],
    received: list[Any],
    last: deque[Any],
    dropped: count[int],
    limit: int,
    tick: Callable[[], int],
) -> Callable[[object, object], None]:
    """Return the function that runs for each token; a closure, as its names are read twice as fast as attributes."""
    add_time, add_item = times.append, received.append

    def on_token(token: object, chunk: object) -> None:
        item = token if type(token) is str and (token or chunk is None) else token if chunk is None else chunk
        if len(times) < limit:
            add_time(tick())
            add_item(item)
        else:
            next(dropped)
            last.append(item)

    return on_token


def _chunk_sink(
    times: list[int],
    received: list[Any],
    last: deque[Any],
    dropped: count[int],
    limit: int,
    tick: Callable[[], int],
) -> Callable[[object, object], None]:
    """As `_sink`, but with the chunk of each token, for an exact replay."""
    on_token = _sink(times, received, last, dropped, limit, tick)
    return lambda token, chunk: on_token(token if chunk is None else "", chunk)
