"""
Notes on a streamed answer, taken within a microsecond a token.

While the model speaks, token, chunk and time are put on a list; they are read when it has ended. Chunks are
new objects each time and changed by nobody, so that reading them late tells what was said.
"""

from __future__ import annotations

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
        events = [item for item in self.heard if item[1] is None]
        if events:  # a model may send its tokens beside them, and says the same twice
            self.heard = events
        self.count += len(self.heard)
        started = self.observation.started
        for at, token, chunk in self.heard:
            piece = token if type(token) is str else delta_text(chunk if chunk is not None else token) or ""
            if not self.is_answered:
                self.facts.saw(token if chunk is None else chunk)
            if self.bytes_left > 0 and self.captures:
                self.bytes_left -= len(piece)
                self.offsets_ms.append((at - started) / 1_000_000)
                self.items.append(piece)
                self.pieces.append(piece)
        self.heard = []
        said = super().output(ended, returned)
        if self.is_answered and said and self.observation.metadata:
            self.observation.metadata["stream"]["items"] = said
        return said
