"""
The items that a ChatKit response leaves in the thread, and the events without an item.

An item is recorded as it is when its event passes, since ChatKit changes it later. Items are not matched by their
id alone: models behind LiteLLM give every item the same id. An item that is removed, by a guardrail after the user
has seen it, stays in the record, marked as removed, and its text is not part of the output.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from weakref import WeakKeyDictionary

from fluxloop import ObservationLevel
from fluxloop.bridge import Execution, OpenObservation, record_event

from . import internals

_OWN_KEYS = frozenset({"changes", "is_done", "is_recorded_inside", "pieces"})
"""Keys of an item that are not written to its record."""

_forwarded: WeakKeyDictionary[OpenObservation, dict[int, Any]] = WeakKeyDictionary()
"""By response: the events that a stream inside it has recorded and that have not reached it yet, by `id`."""


class ThreadItems:
    """See `fluxloop.bridge.StreamObserver`."""

    def __init__(self, observation: OpenObservation) -> None:
        self.observation = observation
        self.count = 0
        self.offsets_ms: list[float] = []
        self.items: list[dict[str, Any]] = []
        self._items_left = observation.trace.recorder.settings.max_stream_items
        self._from_inside = _forwarded.setdefault(observation, {})
        outer = _outer_response(observation)
        self._to_outside = _forwarded.setdefault(outer, {}) if outer is not None else None
        self._is_recorded_inside = False

    def on_item(self, event: Any, offset_ns: int) -> None:
        """Record *event*."""
        self.count += 1
        if not self.offsets_ms:
            self.offsets_ms.append(offset_ns // 1_000 / 1_000)
        self._is_recorded_inside = self._from_inside.pop(id(event), None) is not None
        if self._to_outside is not None:
            self._to_outside[id(event)] = event
        kind = internals.type_of(event)
        if kind in internals.EVENTS:
            self._record_event(kind, internals.content(event), internals.EVENTS[kind])
        elif kind in (internals.ADDED, internals.DONE, internals.REPLACED):
            self._add(internals.item_of(event), is_done=kind != internals.ADDED)
        elif kind == internals.UPDATED:
            self._update(*internals.change_in(event))
        elif kind == internals.REMOVED:
            self._remove(internals.change_in(event)[0])

    def output(self, ended: str, returned: object) -> object:
        """Return the text of the answer; the items, in the order in which they were added, become metadata."""
        stream: dict[str, Any] = {"count": self.count, "ended": ended}
        if self.offsets_ms:
            stream["first_item_ms"] = self.offsets_ms[0]
        self.observation.add_metadata(stream=stream)
        records = [_record(item) for item in self.items]
        own = [record for record, item in zip(records, self.items, strict=True) if not item["is_recorded_inside"]]
        if own:
            self.observation.add_metadata(items=own)
        if self._items_left < 0:
            self.observation.truncated += 1
        answers = [each for each in records if each["type"] == "assistant_message" and not each.get("removed")]
        return "\n".join(str(each.get("text", "")) for each in answers)

    def _add(self, item: dict[str, Any] | None, *, is_done: bool) -> None:
        if item is None:
            return
        item.update(is_done=is_done, is_recorded_inside=self._is_recorded_inside)
        # An added item is new, whatever its id; an item that is done was added before, and may be done again.
        same = (each for each in self._with_id(item["id"]) if each["type"] == item["type"])
        known = next(same, None) if is_done else None
        if known is not None:
            known.update(item)
        else:
            self._items_left -= 1
            if self._items_left >= 0:
                self.items.append(item)
        if is_done and item["type"] == "client_tool_call":
            call = {"arguments": item.get("arguments"), "status": item.get("status")}
            self._record_event(f"client tool call: {item.get('name')}", call, ObservationLevel.INFO)

    def _update(self, item_id: Any, update: Any) -> None:
        item = next(self._with_id(item_id), None)
        if item is not None:
            item["is_recorded_inside"] = self._is_recorded_inside
            internals.apply_update(item, update)

    def _remove(self, item_id: Any) -> None:
        for item in self._with_id(item_id):
            item.update(removed=True, is_recorded_inside=self._is_recorded_inside)
        self._record_event("item removed", {"id": item_id}, ObservationLevel.WARNING)

    def _with_id(self, item_id: Any) -> Iterator[dict[str, Any]]:
        """Return the items of this id, the latest first."""
        return (item for item in reversed(self.items) if item["id"] == item_id)

    def _record_event(self, name: str, output: object, level: ObservationLevel) -> None:
        if not self._is_recorded_inside:
            record_event(self.observation, name, output=output, level=level)


def _outer_response(observation: OpenObservation) -> OpenObservation | None:
    """Return the response that *observation* is part of, which receives the same events later."""
    outer = observation.parent
    while outer is not None and not (isinstance(outer, Execution) and outer.spec.stream_items is ThreadItems):
        outer = outer.parent
    return outer.observation if isinstance(outer, Execution) else None


def _record(item: dict[str, Any]) -> dict[str, Any]:
    """Return the record of an item at the end; for an unfinished one, with the parts received so far."""
    record = {name: value for name, value in item.items() if name not in _OWN_KEYS}
    if not item["is_done"]:
        record["unfinished"] = True
        if "pieces" in item:
            record["text"] = "".join(item["pieces"])
        for change in item.get("changes", ()):
            internals.apply_to_widget(record.get("widget"), change)
    return record
