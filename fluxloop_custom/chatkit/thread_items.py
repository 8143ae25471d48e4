"""
What a ChatKit response said: the items it left in the thread, and what it told on the way.

Items are noted as they are when their event passes, since ChatKit goes on changing them. None is looked up by its
id alone: models behind LiteLLM give every item the same. An item that is taken back - by a guardrail, after the
user has seen it come in - stays in the notes, marked as removed, and its words do not count as the answer.
"""

from __future__ import annotations

from typing import Any
from weakref import WeakKeyDictionary

from fluxloop import ObservationLevel
from fluxloop.bridge import Execution, OpenObservation, record_event

_LEFT_OUT = frozenset({"thread_id", "created_at"})

_OUR_OWN = frozenset({"changes", "is_done", "is_told_inside", "pieces"})
"""What is kept about an item, beside what is written of it."""

_TOLD = {
    "progress_update": ObservationLevel.INFO,
    "client_effect": ObservationLevel.INFO,
    "notice": ObservationLevel.INFO,
    "error": ObservationLevel.ERROR,
}
"""Events that concern no item, and become EVENTs, with their level."""


_on_their_way: WeakKeyDictionary[OpenObservation, dict[int, Any]] = WeakKeyDictionary()
"""Of a response, the events that were told in a stream inside it and have still to pass it, by the event's `id`."""


class ThreadNotes:
    """See `fluxloop.bridge.StreamObserver`."""

    def __init__(self, observation: OpenObservation) -> None:
        self.observation = observation
        self.count = 0
        self.offsets_ms: list[float] = []
        self.items: list[dict[str, Any]] = []
        self._items_left = observation.trace.recorder.settings.max_stream_items
        self._coming = _on_their_way.setdefault(observation, {})
        around = _response_around(observation)
        self._handed_on = _on_their_way.setdefault(around, {}) if around is not None else None
        self._is_told_inside = False

    def on_item(self, item: Any, offset_ns: int) -> None:
        """Note the event *item*."""
        self.count += 1
        if not self.offsets_ms:
            self.offsets_ms.append(offset_ns // 1_000 / 1_000)
        self._is_told_inside = self._coming.pop(id(item), None) is not None
        if self._handed_on is not None:
            self._handed_on[id(item)] = item
        kind = getattr(item, "type", "")
        if kind in _TOLD:
            self._tell(kind, _told(item), _TOLD[kind])
        elif kind in ("thread.item.added", "thread.item.done", "thread.item.replaced"):
            self._came(item.item, is_done=kind != "thread.item.added")
        elif kind == "thread.item.updated":
            self._changed(item.item_id, item.update)
        elif kind == "thread.item.removed":
            self._removed(item.item_id)

    def output(self, ended: str, returned: object) -> object:
        """Return the answer's words; the items, in the order in which they came, become metadata."""
        about: dict[str, Any] = {"count": self.count, "ended": ended}
        if self.offsets_ms:
            about["first_item_ms"] = self.offsets_ms[0]
        self.observation.add_metadata(stream=about)
        items = [_finished(item) for item in self.items]
        own = [item for item, noted in zip(items, self.items, strict=True) if not noted["is_told_inside"]]
        if own:
            self.observation.add_metadata(items=own)
        if self._items_left < 0:
            self.observation.truncated += 1
        said = [item["text"] for item in items if item["type"] == "assistant_message" and not item.get("removed")]
        return "\n".join(said)

    def _came(self, item: Any, *, is_done: bool) -> None:
        # What is added is new, whatever its id; what is done came before, and may be done again.
        same = (each for each in self._of(item.id) if each["type"] == item.type)
        known = next(same, None) if is_done else None
        noted = {**_noted(item), "is_done": is_done, "is_told_inside": self._is_told_inside}
        if known is not None:
            known.update(noted)
        else:
            self._items_left -= 1
            if self._items_left >= 0:
                self.items.append(noted)
        if is_done and item.type == "client_tool_call":
            told = {"arguments": item.arguments, "status": item.status}
            self._tell(f"client tool call: {item.name}", told, ObservationLevel.INFO)

    def _changed(self, item_id: str, update: Any) -> None:
        item = next(self._of(item_id), None)
        if item is None:
            return
        item["is_told_inside"] = self._is_told_inside
        if update.type == "assistant_message.content_part.text_delta":
            item.setdefault("pieces", []).append(update.delta)
        elif update.type in ("workflow.task.added", "workflow.task.updated"):
            tasks = item.setdefault("workflow", {}).setdefault("tasks", [])
            tasks[update.task_index : update.task_index + 1] = [_dumped(update.task)]
        elif update.type == "widget.root.updated":
            item.update(widget=_dumped(update.widget), changes=[])
        elif update.type in ("widget.streaming_text.value_delta", "widget.component.updated"):
            item.setdefault("changes", []).append(update)
        elif update.type == "generated_image.updated":
            item["image"] = _dumped(update.image)

    def _removed(self, item_id: str) -> None:
        for item in self._of(item_id):
            item.update(removed=True, is_told_inside=self._is_told_inside)
        self._tell("item removed", {"id": item_id}, ObservationLevel.WARNING)

    def _of(self, item_id: str) -> Any:
        """Return the items of this id, the latest first."""
        return (item for item in reversed(self.items) if item["id"] == item_id)

    def _tell(self, name: str, output: object, level: ObservationLevel) -> None:
        if not self._is_told_inside:
            record_event(self.observation, name, output=output, level=level)


def _response_around(observation: OpenObservation) -> OpenObservation | None:
    """Return the response *observation* is part of, whose notes are about the same events once they get there."""
    around = observation.parent
    while around is not None and not (isinstance(around, Execution) and around.spec.stream_items is ThreadNotes):
        around = around.parent
    return around.observation if isinstance(around, Execution) else None


def _dumped(model: Any, left_out: frozenset[str] = frozenset()) -> dict[str, Any]:
    dumped: dict[str, Any] = model.model_dump(exclude_none=True, exclude=left_out, warnings=False)
    return dumped


def _told(event: Any) -> object:
    told = _dumped(event, frozenset({"type"}))
    return next(iter(told.values())) if len(told) == 1 else told


def _noted(item: Any) -> dict[str, Any]:
    """Return what is kept of an item, as it is now."""
    if item.type == "assistant_message":
        return {"id": item.id, "type": item.type, "text": "".join(part.text for part in item.content)}
    return _dumped(item, _LEFT_OUT)


def _finished(item: dict[str, Any]) -> dict[str, Any]:
    """Return an item as it stands at the end; one that never was done says what it came to."""
    noted = {name: value for name, value in item.items() if name not in _OUR_OWN}
    if not item["is_done"]:
        noted["unfinished"] = True
        if "pieces" in item:
            noted["text"] = "".join(item["pieces"])
        for change in item.get("changes", ()):
            _change(noted.get("widget"), change)
    return noted


def _change(part: Any, change: Any) -> None:
    """Let the component that *change* is about, in *part* of a dumped widget, become what it says."""
    if isinstance(part, dict) and part.get("id") == change.component_id:
        if change.type == "widget.component.updated":
            part.clear()
            part.update(_dumped(change.component))
        else:
            part["value"] = part.get("value", "") + change.delta
        return
    for inner in part.values() if isinstance(part, dict) else part if isinstance(part, list) else ():
        _change(inner, change)
