"""
What a stream said: its items with their offsets, and what a model meant by them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from orjson import loads

from ..encoding.introspection import MASK
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
        self.facts = StreamFacts(limit_chars=settings.max_value_bytes)
        self.items_left = settings.max_stream_items
        self.bytes_left = settings.max_stream_bytes

    def on_item(self, item: Any, offset_ns: int) -> None:
        """Note *item*, which arrived *offset_ns* after the beginning."""
        self.count += 1
        self.facts.on_item(item)
        if self.items_left > 0 and self.bytes_left > 0:
            kept = item if type(item) is str else self.observation.trace.recorder.encode_part(item, self.observation)
            self.items_left -= 1
            self.bytes_left -= len(kept)
            self.offsets_ms.append(offset_ns // 1_000 / 1_000)
            self.items.append(kept)

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
        if message is None and self.items and not items:
            return MASK  # text with a secret that is split over the events in it
        if items:
            stream["items"] = items
        return output

    def _items(self, message: JSON | None) -> list[Any]:
        """Return the items kept, with secrets masked that are split over several and show in none of them."""
        redactor = self.observation.trace.recorder.redactor
        items: list[Any] = [item if type(item) is str else loads(item) for item in self.items]
        if redactor is None:
            return items
        items, places = redactor.items(items)
        self.observation.redacted += places
        if message is not None and redactor.redact(message)[1] > places + redactor.redact(items)[1]:
            return []  # a secret that no field of the items holds in one piece or in several
        return items
