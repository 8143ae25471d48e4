"""ChatKit: the items, events and input that are recorded of a response."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any

import pytest
from agents import GuardrailFunctionOutput, RunContextWrapper, StopAtTools, function_tool, output_guardrail
from chatkit import types
from chatkit.agents import AgentContext, ClientToolCall
from chatkit.server import stream_widget
from chatkit.types import (
    AssistantMessageContent,
    AssistantMessageContentPartTextDelta,
    AssistantMessageItem,
    CustomTask,
    FileAttachment,
    ProgressUpdateEvent,
    ThreadItemAddedEvent,
    ThreadItemDoneEvent,
    ThreadItemRemovedEvent,
    UserMessageItem,
    UserMessageTextContent,
    Workflow,
)
from chatkit.widgets import Card, Text
from custom.agents_aid import Calls, Says, recorded, tools_in
from custom.airline import Airline, TracedAirline, ask, desk, named, thread_of

from fluxloop_custom import chatkit, instrument_tool

ThreadItemUpdatedEvent = getattr(types, "ThreadItemUpdatedEvent", None) or types.ThreadItemUpdated
"""The name of the event in 1.6, and in 1.0."""

pytestmark = pytest.mark.filterwarnings("ignore:Direct usage of named widget classes")


@output_guardrail
async def tripped(ctx: Any, agent: Any, said: Any) -> GuardrailFunctionOutput:
    return GuardrailFunctionOutput(output_info=None, tripwire_triggered=True)


async def test_an_item_that_a_guardrail_removes_is_marked_and_not_part_of_the_output():
    """The text was streamed, then removed: the item is recorded as removed, and the output is empty."""
    with recorded() as captured:
        events = await ask(TracedAirline(desk(Says("forbidden words"), output_guardrails=[tripped])))

    (found,) = captured.traces()
    stream = named(found, "stream_agent_response")
    (item,) = stream.metadata["items"]
    assert [event["type"] for event in events][-2:] == ["thread.item.removed", "error"]
    assert (item["text"].strip(), item["removed"]) == ("forbidden words", True)
    assert (stream.output, found.output) == ("", "")
    assert (named(found, "item removed").level.value, found.status) == ("warning", "error")


@function_tool
async def show_everything(ctx: RunContextWrapper[AgentContext[Any]]) -> str:
    """Progress, a workflow with two tasks, and a widget."""
    context = ctx.context
    await context.stream(ProgressUpdateEvent(text="Looking"))
    await context.start_workflow(Workflow(type="custom", tasks=[]))
    await context.add_workflow_task(CustomTask(title="search"))
    await context.add_workflow_task(CustomTask(title="compare"))
    await context.update_workflow_task(CustomTask(title="compare all"), 1)
    await context.end_workflow()
    await context.stream_widget(Card(children=[Text(value="Rome")]))
    return "shown"


async def test_progress_workflow_and_widget_are_in_the_record():
    """Each is recorded as it is at the end."""
    agent = desk(Calls("show_everything"), Says("that is all"), tools=[show_everything])
    with recorded() as captured:
        await ask(TracedAirline(agent))

    (found,) = captured.traces()
    items = named(found, "stream_agent_response").metadata["items"]
    assert named(found, "progress_update").output == "Looking"
    assert [item["type"] for item in items] == ["workflow", "widget", "assistant_message"]
    assert [task["title"] for task in items[0]["workflow"]["tasks"]] == ["search", "compare all"]
    assert items[1]["widget"]["children"][0]["value"] == "Rome"


@instrument_tool
@function_tool
async def open_map(ctx: RunContextWrapper[AgentContext[Any]], city: str) -> str:
    """Ask the client to open a map."""
    ctx.context.client_tool_call = ClientToolCall(name="open_map", arguments={"city": city})
    return "asked"


async def test_a_client_tool_call_is_recorded_and_instrumented():
    """The tool that requests it is one TOOL; the call is an EVENT, and a pending item."""
    agent = desk(
        Calls("open_map", {"city": "Rome"}),
        Says("never said"),
        tools=[open_map],
        tool_use_behavior=StopAtTools(stop_at_tool_names=["open_map"]),
    )
    with recorded() as captured:
        events = await ask(TracedAirline(agent))

    (found,) = captured.traces()
    assert events[-1]["item"]["type"] == "client_tool_call"
    assert [(tool.name, tool.input) for tool in tools_in(found)] == [("open_map", {"city": "Rome"})]
    assert named(found, "client tool call: open_map").output == {"arguments": {"city": "Rome"}, "status": "pending"}
    assert named(found, "stream_agent_response").metadata["items"][-1]["status"] == "pending"


def message(text: str = "") -> AssistantMessageItem:
    """Return a message as models behind LiteLLM send it: always with the same id."""
    content = [AssistantMessageContent(text=text)] if text else []
    return AssistantMessageItem(id="__fake_id__", thread_id="t", created_at=datetime(2026, 1, 17), content=content)


async def test_items_with_the_same_id_are_separate_items():
    """Each has its own text."""

    class Fake(Airline):
        @chatkit.traced_respond("answer")
        async def respond(self, thread: Any, item: Any, context: Any) -> AsyncIterator[Any]:
            for text in ("first", "second"):
                yield ThreadItemAddedEvent(item=message())
                delta = AssistantMessageContentPartTextDelta(content_index=0, delta=text)
                yield ThreadItemUpdatedEvent(item_id="__fake_id__", update=delta)
                yield ThreadItemDoneEvent(item=message(text))
            yield ThreadItemAddedEvent(item=message())
            delta = AssistantMessageContentPartTextDelta(content_index=0, delta="third, cut sh")
            yield ThreadItemUpdatedEvent(item_id="__fake_id__", update=delta)

    with recorded() as captured:
        await ask(Fake(desk()))

    answer = named(captured.traces()[0], "answer")
    assert answer.output == "first\nsecond\nthird, cut sh"
    assert [item.get("unfinished", False) for item in answer.metadata["items"]] == [False, False, True]


async def test_events_that_a_response_adds_to_the_agents_stream_are_recorded_once():
    """Progress and a widget before and after the stream are recorded under the response only."""

    class Adding(Airline):
        @chatkit.traced_respond
        async def respond(self, thread: Any, item: Any, context: Any) -> AsyncIterator[Any]:
            yield ProgressUpdateEvent(text="before")
            async for event in super().respond(thread, item, context):
                yield event
            yield ProgressUpdateEvent(text="after")
            async for event in stream_widget(thread, Card(children=[Text(value="Rome")])):
                yield event

    agent = desk(Calls("show_everything"), Says("that is all"), tools=[show_everything])
    with recorded() as captured:
        await ask(Adding(agent))

    (found,) = captured.traces()
    respond, stream = named(found, "respond"), named(found, "stream_agent_response")
    progress = [(o.output, o.parent_id) for o in found.observations if o.name == "progress_update"]
    assert progress == [("before", respond.id), ("Looking", stream.id), ("after", respond.id)]
    assert [item["type"] for item in respond.metadata["items"]] == ["widget"]
    assert [item["type"] for item in stream.metadata["items"]] == ["workflow", "widget", "assistant_message"]
    assert respond.output == "that is all"


async def test_a_message_that_the_response_removes_is_not_part_of_the_output():
    """The response records the item as removed, since the agent's stream has ended."""

    class Regretting(Airline):
        @chatkit.traced_respond
        async def respond(self, thread: Any, item: Any, context: Any) -> AsyncIterator[Any]:
            async for event in super().respond(thread, item, context):
                yield event
            yield ThreadItemRemovedEvent(item_id=event.item.id)

    with recorded() as captured:
        await ask(Regretting(desk(Says("rude words"))))

    respond = named(captured.traces()[0], "respond")
    assert respond.output == ""
    assert [(item["text"], item["removed"]) for item in respond.metadata["items"]] == [("rude words", True)]


async def test_an_unfinished_widget_has_the_text_received_so_far():
    """Its text is assembled from the events; no event has all of it."""

    async def typing() -> AsyncIterator[Any]:
        for said in ("", "Ro", "Rom"):
            yield Card(children=[Text(id="city", value=said, streaming=True)])
        raise RuntimeError("map service down")

    class Typing(Airline):
        @chatkit.traced_respond
        async def respond(self, thread: Any, item: Any, context: Any) -> AsyncIterator[Any]:
            async for event in stream_widget(thread, typing()):
                yield event

    with recorded() as captured:
        await ask(Typing(desk()))

    (item,) = named(captured.traces()[0], "respond").metadata["items"]
    assert (item["unfinished"], item["widget"]["children"][0]["value"]) == (True, "Rom")


async def test_the_action_on_a_widget_is_the_input():
    """`action` is recorded as `respond` is, with the type of the action and its payload."""

    class Acting(Airline):
        @chatkit.traced_respond
        async def action(self, thread: Any, action: Any, sender: Any, context: Any) -> AsyncIterator[Any]:
            yield ProgressUpdateEvent(text="booking")

    server = Acting(desk())
    await server.store.save_thread(thread_of("thr_1"), {})
    action = {"type": "book", "payload": {"seat": "1A"}}
    request = {"type": "threads.custom_action", "params": {"thread_id": "thr_1", "action": action}}
    with recorded() as captured:
        async for _ in await server.process(json.dumps(request), {}):  # type: ignore[union-attr]
            pass

    (found,) = captured.traces()
    assert (found.name, found.session_id) == ("action", "thr_1")
    assert found.input == {"thread_id": "thr_1", "action": "book", "payload": {"seat": "1A"}}
    assert named(found, "progress_update").parent_id == found.roots[0].id


async def test_attachments_and_quotations_are_part_of_the_input():
    """Attachments by name and type, and the quoted text."""
    attached = FileAttachment(id="a", name="ticket.pdf", mime_type="application/pdf")
    words = UserMessageTextContent(text="and this?")
    message = UserMessageItem(
        id="m",
        thread_id="thr_1",
        created_at=datetime(2026, 1, 17),
        content=[words],
        attachments=[attached],
        quoted_text="Gate 4",
        inference_options={},
    )
    with recorded() as captured:
        async for _ in TracedAirline(desk(Says("yes"))).respond(thread_of("thr_1"), message, {}):
            pass

    assert captured.traces()[0].input == {
        "thread_id": "thr_1",
        "message": "and this?",
        "quoted_text": "Gate 4",
        "attachments": [{"name": "ticket.pdf", "mime_type": "application/pdf"}],
    }
