"""
Observers of streams: they collect the items, with their offsets, and assemble the output.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, cast

from orjson import loads

from ..encoding.introspection import MASK
from ..llm.stream.assembly import StreamFacts

if TYPE_CHECKING:
    from ..redaction import JSON
    from .observation import OpenObservation


class StreamObserver(Protocol):
    """Collects the items of a stream. An adapter may have its own observer."""

    count: int
    offsets_ms: list[float]

    def on_item(self, item: Any, offset_ns: int) -> None:
        """Receive *item*, which arrived *offset_ns* after the start."""

    def output(self, ended: str, returned: object) -> object:
        """Set fields and metadata of the observation from the items, and return its output."""


class StreamItems:
    """Collects the items of a stream up to a limit, and assembles the answer of a model from them."""

    def __init__(self, observation: OpenObservation) -> None:
        settings = observation.trace.recorder.settings
        self.observation = observation
        self.count = 0
        self.offsets_ms: list[float] = []
        self.items: list[bytes | str] = []
        self.facts = StreamFacts(limit_chars=settings.max_value_bytes)
        self.items_left = settings.max_stream_items
        self.bytes_left = settings.max_stream_bytes
        self.parsed = 0
        """The number of collected items that `facts` has read. Texts are read together, which is faster."""

    def on_item(self, item: Any, offset_ns: int) -> None:
        """Receive *item*, which arrived *offset_ns* after the start."""
        self.count += 1
        if self.items_left > 0 and self.bytes_left > 0:
            if type(item) is str:
                encoded: bytes | str = item
            else:
                self._parse_texts()
                self.facts.on_item(item)
                self.parsed += 1
                encoded = self.observation.trace.recorder.encode_part(item, self.observation)
            self.items_left -= 1
            self.bytes_left -= len(encoded)
            self.offsets_ms.append(offset_ns // 1_000 / 1_000)
            self.items.append(encoded)
        else:
            self._parse_texts()
            self.facts.on_item(item)

    def _parse_texts(self) -> None:
        """Let `facts` read the texts that were collected since the last item of another kind."""
        if self.parsed < len(self.items):
            self.facts.add_text("".join(cast("list[str]", self.items[self.parsed :])))
            self.parsed = len(self.items)

    def output(self, ended: str, returned: object) -> object:
        """Set fields and metadata of the observation from the items, and return its output."""
        self._parse_texts()
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
            return MASK  # a secret is split over several events of the text
        if items:
            stream["items"] = items
        return output

    def _items(self, message: JSON | None) -> list[Any]:
        """Return the collected items. Secrets that are split over several items are masked."""
        redactor = self.observation.trace.recorder.redactor
        are_texts = set(map(type, self.items)) == {str}
        items: list[Any] = (
            [*self.items] if are_texts else [item if type(item) is str else loads(item) for item in self.items]
        )
        if redactor is None:
            return items
        items, places = redactor.items(items)
        self.observation.redacted += places
        if message is not None and redactor.redact(message)[1] > places + redactor.redact(items)[1]:
            return []  # the message contains a secret that masking the items does not find
        return items
