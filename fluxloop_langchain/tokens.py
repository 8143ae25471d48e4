"""
Notes on a streamed answer, taken within a microsecond a token.

While the model speaks, what it says and when is put on lists; they are read when it has ended. Of a piece that
is text the text is kept, of any other - a tool call, counts - the chunk: a new object each time, and changed by nobody,
so that reading it late tells what was said.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import accumulate, count
from typing import Any

from fluxloop.bridge import Entry, OpenObservation, StreamItems, delta_text


class TokenNotes(StreamItems):
    """What a model said so far; `output` reads it."""

    def __init__(self, observation: OpenObservation) -> None:
        super().__init__(observation)
        recorder = observation.trace.recorder
        self.captures = recorder.captures_output
        self.times: list[int] = []
        self.said: list[Any] = []
        self.is_answered = False
        """Whether the framework told the whole answer, so that none has to be made of the pieces."""
        self.more = count()
        """Steps on for each piece beyond those kept."""
        self.note = _noter(self.times, self.said, self.more, self.items_left, recorder.tick)
        """Notes a token and the chunk that brought it, or an event of a version 3 stream, which has no token."""

    def output(self, ended: str, returned: object) -> object:
        """As `StreamItems.output`."""
        said, times = self._heard()
        self.count += len(said) + next(self.more)
        if not self.is_answered:
            for item in said:
                self.facts.on_item(item)
        if self.captures:
            started = self.observation.started
            pieces = _texts(said)
            if sum(map(len, pieces)) > self.bytes_left:
                ends = accumulate(map(len, pieces))
                pieces = [piece for piece, end in zip(pieces, ends, strict=True) if end <= self.bytes_left]
            self.offsets_ms = [(at - started) // 1_000 / 1_000 for at in times[: len(pieces)]]
            self.items, self.pieces = [*pieces], pieces
        items = super().output(ended, returned)
        if self.is_answered and items and self.observation.metadata:
            self.observation.metadata["stream"]["items"] = items
        return items

    def _heard(self) -> tuple[list[Any], list[int]]:
        """Return what was said and when; of a model that sends tokens beside its events, the events."""
        said, times = self.said, self.times
        if not said or dict not in (type(said[0]), type(said[-1])):
            return said, times
        events = [(item, at) for item, at in zip(said, times, strict=True) if type(item) is dict]
        return [item for item, _ in events], [at for _, at in events]


def note_of(entry: Entry) -> Callable[[object, object], None]:
    """Return what notes a token of the run *entry*, and the chunk it came in."""
    if entry.observation is None or not entry.is_recorded:
        return unheard
    if entry.stream_items is None:
        entry.stream_items = TokenNotes(entry.observation)
    return entry.stream_items.note  # type: ignore[no-any-return]


def unheard(token: object, chunk: object) -> None:
    """Note nothing."""


def _texts(said: list[Any]) -> list[str]:
    """Return the text of each item; most are texts but for the last, which brings the counts."""
    end = len(said)
    while end and type(said[end - 1]) is not str:
        end -= 1
    texts = said[:end]
    if not {str}.issuperset(map(type, texts)):
        texts = [item if type(item) is str else _text(item) for item in texts]
    return texts + [_text(item) for item in said[end:]]


def _text(item: Any) -> str:
    content = getattr(getattr(item, "message", None), "content", None)
    return content if type(content) is str else delta_text(item) or ""


def _noter(
    times: list[int], said: list[Any], more: count[int], most: int, tick: Callable[[], int]
) -> Callable[[object, object], None]:
    """Return what runs for every token; a closure, as names in it cost half of what attributes do."""

    mark, say = times.append, said.append

    def note(token: object, chunk: object) -> None:
        if len(times) < most:
            mark(tick())
            say(token if type(token) is str and (token or chunk is None) else token if chunk is None else chunk)
        else:
            next(more)

    return note
