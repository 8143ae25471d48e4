"""
What a stream said: its items with their offsets, and what a model meant by them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from orjson import loads

from ..llm.stream.assembly import StreamFacts

if TYPE_CHECKING:
    from ..redaction import JSON
    from .observation import OpenObservation


class StreamObserver(Protocol):
    """What is kept of a stream; an adapter that knows what it says keeps notes of its own."""

    count: int
    offsets_ms: list[float]

    def on_item(self, item: Any, offset_ns: int) -> None:
        """Note *item*, which arrived *offset_ns* after the beginning."""

    def output(self, ended: str, returned: object) -> object:
        """Write what is known on the observation, and return what its output shall be."""


class StreamItems:
    """What a stream said: every item in order with its offset, within bounds, and what a model meant by them."""

    def __init__(self, observation: OpenObservation) -> None:
        settings = observation.trace.recorder.settings
        self.observation = observation
        self.count = 0
        self.offsets_ms: list[float] = []
        self.items: list[bytes | str] = []
        self.pieces: list[str] = []
        self.facts = StreamFacts(limit_chars=settings.max_value_bytes)
        self.items_left = settings.max_stream_items
        self.bytes_left = settings.max_stream_bytes

    def on_item(self, item: Any, offset_ns: int) -> None:
        """Note *item*, which arrived *offset_ns* after the beginning."""
        self.count += 1
        piece = self.facts.on_item(item) or ""
        if self.items_left > 0 and self.bytes_left > 0:
            kept = item if type(item) is str else self.observation.trace.recorder.encode(item, self.observation)
            self.items_left -= 1
            self.bytes_left -= len(kept)
            self.offsets_ms.append(offset_ns // 1_000 / 1_000)
            self.items.append(kept)
            self.pieces.append(piece)

    def output(self, ended: str, returned: object) -> object:
        """Write what is known on the observation, and return what its output shall be."""
        facts = self.facts.facts()
        if facts is not None:
            self.observation.set_fields(
                usage=facts.usage, model=facts.model, provider=facts.provider, finish_reasons=facts.finish_reasons
            )
        stream: dict[str, Any] = {"count": self.count, "ended": ended, "offsets_ms": self.offsets_ms}
        if self.offsets_ms:
            stream["first_item_ms"] = self.offsets_ms[0]
        if returned is not None:
            stream["returned"] = returned
        if len(self.items) < self.count or self.facts.cut_chars:
            self.observation.truncated += 1
        message, text = self.facts.message(), self.facts.text()
        output = message if message is not None else text
        items = self._items(message)
        self.observation.add_metadata(stream=stream)
        if output is None:
            return items
        if items:
            stream["items"] = items
        return output

    def _items(self, message: JSON | None) -> list[object]:
        """Return the items kept, with secrets masked that are split over several and show in none of them."""
        redactor = self.observation.trace.recorder.redactor
        if redactor is None:
            return [item if isinstance(item, str) else loads(item) for item in self.items]
        if message is not None and redactor.redact(message)[1] > redactor.text("".join(self.pieces))[1]:
            return []  # a secret in the arguments of a tool call: no telling which pieces make it up
        masked, places = redactor.split(self.pieces)
        if masked == self.items:  # all of them text, and nothing to mask
            return list(masked)
        self.observation.redacted += places
        return [
            now if isinstance(item, str) or now != was else loads(item)
            for item, was, now in zip(self.items, self.pieces, masked, strict=True)
        ]
