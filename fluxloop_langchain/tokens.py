"""
Notes on a streamed answer, taken within a microsecond a token.

While the model speaks, token, chunk and time are put on a list; they are read when it has ended. Chunks are
new objects each time and changed by nobody, so that reading them late tells what was said.
"""

from __future__ import annotations

from itertools import accumulate

from fluxloop.bridge import OpenObservation, StreamNotes, delta_text


class TokenNotes(StreamNotes):
    """What a model said so far; `output` reads it."""

    def __init__(self, observation: OpenObservation) -> None:
        super().__init__(observation)
        recorder = observation.trace.recorder
        self.tick = recorder.tick
        self.captures = recorder.captures_output
        self.heard: list[tuple[int, object, object]] = []
        self.is_answered = False
        """Whether the framework told the whole answer, so that none has to be made of the pieces."""

    def note(self, token: object, chunk: object) -> None:
        """Note a *token* and the *chunk* that brought it, or an event of a version 3 stream, which has no token."""
        if len(self.heard) < self.items_left:
            self.heard.append((self.tick(), token, chunk))
        else:
            self.count += 1

    def output(self, ended: str, returned: object) -> object:
        """As `StreamNotes.output`."""
        heard, self.heard = self.heard, []
        if any(token is None for _, token, _ in heard):  # a model may send tokens beside them, which say the same
            heard = [item for item in heard if item[1] is None]
        self.count += len(heard)
        if not self.is_answered:
            for _, token, chunk in heard:
                self.facts.saw(token if chunk is None else chunk)
        if self.captures:
            started = self.observation.started
            pieces = [token if type(token) is str else _text(token, chunk) for _, token, chunk in heard]
            if sum(map(len, pieces)) > self.bytes_left:
                ends = accumulate(map(len, pieces))
                pieces = [piece for piece, end in zip(pieces, ends, strict=True) if end <= self.bytes_left]
            self.offsets_ms = [(at - started) / 1_000_000 for at, _, _ in heard[: len(pieces)]]
            self.items, self.pieces = [*pieces], pieces
        said = super().output(ended, returned)
        if self.is_answered and said and self.observation.metadata:
            self.observation.metadata["stream"]["items"] = said
        return said


def _text(token: object, chunk: object) -> str:
    """Return the text of a piece that is no text itself: a list of content blocks, or an event."""
    return delta_text(token if chunk is None else chunk) or ""
