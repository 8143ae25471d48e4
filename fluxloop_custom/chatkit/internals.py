"""
Everything that FluxLoop assumes about ChatKit's objects beyond the functions it wraps.

Each reader takes an object of ChatKit, or of the Agents SDK's streamed run, and returns JSON. A field that the
installed release lacks is reported once and costs the detail that the reader's decorator names, never an event.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from fluxloop import ObservationLevel
from fluxloop.bridge import note_missing, was_raised_from_outside

P = ParamSpec("P")
T = TypeVar("T")

EVENTS = {
    "progress_update": ObservationLevel.INFO,
    "client_effect": ObservationLevel.INFO,
    "notice": ObservationLevel.INFO,
    "error": ObservationLevel.ERROR,
}
"""Types of events that concern no item, with the level of the EVENT that each becomes."""

ADDED, DONE, REPLACED = "thread.item.added", "thread.item.done", "thread.item.replaced"
UPDATED, REMOVED = "thread.item.updated", "thread.item.removed"

_OMITTED = frozenset({"thread_id", "created_at"})


def _reads(source: str, lost: str, default: Any) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Let a function return *default*, and report what is *lost*, if *source* has another form than it expects."""

    def guard(read: Callable[P, T]) -> Callable[P, T]:
        @wraps(read)
        def guarded(*args: P.args, **kwargs: P.kwargs) -> T:
            try:
                return read(*args, **kwargs)
            except (AttributeError, LookupError, TypeError, ValueError) as exc:
                if was_raised_from_outside(exc):
                    raise
                note_missing("fluxloop_custom.chatkit", f"the expected form of {source}", lost)
                return default  # type: ignore[no-any-return]

        return guarded

    return guard


@_reads("a thread", "its responses have no session", None)
def thread_id(thread: Any) -> str | None:
    """Return the id of *thread*."""
    return str(thread.id)


@_reads("AgentContext", "its responses have no session", None)
def thread_of(context: Any) -> Any:
    """Return the thread of an `AgentContext`."""
    return context.thread


@_reads("RunResultStreaming", "without a trace around it, stream_agent_response is not recorded", None)
def trace_id_of(result: Any) -> str | None:
    """Return the id of the Agents SDK's trace of a streamed run; None if the SDK's tracing is off."""
    trace = result.trace
    return None if trace is None else str(trace.trace_id)


@_reads("a user's message or action", "the input of a response is its thread", {})
def request(given: Any) -> dict[str, Any]:
    """Return what a response is asked: the user's message, or the action on a widget."""
    if given is None:  # the thread goes on without a new message
        return {"message": None}
    content = getattr(given, "content", None)
    if content is None:
        return {"action": given.type, "payload": given.payload}
    asked: dict[str, Any] = {"message": "\n".join(part.text for part in content)}
    if given.quoted_text:
        asked["quoted_text"] = given.quoted_text
    if given.attachments:
        asked["attachments"] = [{"name": each.name, "mime_type": each.mime_type} for each in given.attachments]
    return asked


@_reads("an event", "events are not recorded", "")
def type_of(event: Any) -> str:
    """Return the type of an event."""
    return str(event.type)


@_reads("an update or a removal of an item", "the item is recorded without it", (None, None))
def change_in(event: Any) -> tuple[Any, Any]:
    """Return the id of the item that *event* updates or removes, and the update."""
    return event.item_id, getattr(event, "update", None)


@_reads("an event", "its EVENT has no output", None)
def content(event: Any) -> object:
    """Return the fields of an event of `EVENTS`, or the only one."""
    fields = dumped(event, frozenset({"type"}))
    return next(iter(fields.values())) if len(fields) == 1 else fields


def item_of(event: Any) -> dict[str, Any] | None:
    """Return the record of the item that an event adds or completes; None if it has no id and type."""
    item = getattr(event, "item", None)
    identity = {"id": getattr(item, "id", None), "type": getattr(item, "type", None)}
    if None in identity.values():
        note_missing("fluxloop_custom.chatkit", "the expected form of an item event", "its item is not recorded")
        return None
    return {**identity, **_details(item)}


@_reads("an item", "it is recorded with its id and type", {})
def _details(item: Any) -> dict[str, Any]:
    if item.type == "assistant_message":
        return {"text": "".join(part.text for part in item.content)}
    return dumped(item, _OMITTED)


@_reads("an update of an item", "an unfinished item is recorded without it", None)
def apply_update(item: dict[str, Any], update: Any) -> None:
    """Change the record of an item as *update* does; parts that only an unfinished item needs wait in it."""
    if update.type == "assistant_message.content_part.text_delta":
        item.setdefault("pieces", []).append(update.delta)
    elif update.type in ("workflow.task.added", "workflow.task.updated"):
        tasks = item.setdefault("workflow", {}).setdefault("tasks", [])
        tasks[update.task_index : update.task_index + 1] = [dumped(update.task)]
    elif update.type == "widget.root.updated":
        item.update(widget=dumped(update.widget), changes=[])
    elif update.type in ("widget.streaming_text.value_delta", "widget.component.updated"):
        item.setdefault("changes", []).append(update)
    elif update.type == "generated_image.updated":
        item["image"] = dumped(update.image)


@_reads("a change of a widget", "an unfinished widget is recorded without it", None)
def apply_to_widget(part: Any, change: Any) -> None:
    """Change the component of a dumped widget that *change* names."""
    if isinstance(part, dict) and part.get("id") == change.component_id:
        if change.type == "widget.component.updated":
            part.clear()
            part.update(dumped(change.component))
        else:
            part["value"] = part.get("value", "") + change.delta
        return
    for inner in part.values() if isinstance(part, dict) else part if isinstance(part, list) else ():
        apply_to_widget(inner, change)


def dumped(model: Any, omitted: frozenset[str] = frozenset()) -> dict[str, Any]:
    """Return the set fields of a pydantic model."""
    fields: dict[str, Any] = model.model_dump(exclude_none=True, exclude=omitted, warnings=False)
    return fields
