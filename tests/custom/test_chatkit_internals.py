"""A ChatKit that renames a field costs detail: the same events, the same statuses, and a line in the report."""

from __future__ import annotations

import ast
import json
from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from chatkit.server import stream_widget
from chatkit.types import FileAttachment, ThreadItemRemovedEvent, UserMessageItem, UserMessageTextContent
from chatkit.widgets import Card, Text
from custom.agents_aid import Calls, Says, recorded
from custom.airline import Airline, TracedAirline, ask, desk, thread_of
from custom.test_chatkit_items import open_map, show_everything, tripped

import fluxloop
from fluxloop.bridge import missing
from fluxloop.models import Trace
from fluxloop_custom import chatkit
from fluxloop_custom.chatkit import internals

pytestmark = pytest.mark.filterwarnings("ignore:Direct usage of named widget classes")

READERS = [name for name, value in vars(internals).items() if getattr(value, "__module__", "") == internals.__name__]
READERS = [name for name in READERS if callable(vars(internals)[name]) and name != "_reads"]


def fields_read() -> list[str]:
    """Return every attribute that the readers take from an object of ChatKit."""
    tree = ast.parse(Path(internals.__file__).read_text("utf-8"))
    attributes = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)]
    named = [
        call.args[1] for call in calls if isinstance(call.func, ast.Name) and call.func.id in ("getattr", "hasattr")
    ]
    return sorted(attributes | {str(name.value) for name in named if isinstance(name, ast.Constant)})


class Without:
    """An object of ChatKit, and the ones in it, without one of their fields."""

    def __init__(self, real: Any, lacking: str) -> None:
        self.__dict__.update(_real=real, _lacking=lacking)

    def __getattr__(self, name: str) -> Any:
        if name == self._lacking:
            raise AttributeError(name)
        return without(getattr(self._real, name), self._lacking)


def without(value: Any, lacking: str) -> Any:
    """Return *value* as a release has it in which a field is *lacking*."""
    if isinstance(value, list):
        return [without(each, lacking) for each in value]
    return Without(value, lacking) if type(value).__module__.partition(".")[0] in ("chatkit", "agents") else value


class Everything(Airline):
    """Adds to the agent's answer a widget that is cut short, and removes a message."""

    @chatkit.traced_respond
    async def respond(self, thread: Any, item: Any, context: Any) -> AsyncIterator[Any]:
        async for event in super().respond(thread, item, context):
            yield event
        yield ThreadItemRemovedEvent(item_id="none")
        try:
            async for event in stream_widget(thread, self.typed()):
                yield event
        except RuntimeError:
            return

    @chatkit.traced_respond
    async def action(self, thread: Any, action: Any, sender: Any, context: Any) -> AsyncIterator[Any]:
        yield ThreadItemRemovedEvent(item_id="none")

    async def typed(self) -> AsyncIterator[Any]:
        for text in ("", "Ro", "Rom"):
            yield Card(children=[Text(id="city", value=text, streaming=True)])
        raise RuntimeError("map service down")


async def converse() -> tuple[list[str], list[Trace]]:
    """Return the types of the events and the traces of responses of each kind."""
    server = Everything(desk(Calls("show_everything"), Says("that is all"), tools=[show_everything]))
    asks_client = desk(Calls("open_map", {"city": "Rome"}), tools=[open_map], tool_use_behavior="stop_on_first_tool")
    with recorded() as captured:
        events = await ask(server)
        events += await ask(TracedAirline(asks_client))
        events += await ask(TracedAirline(desk(Says("forbidden words"), output_guardrails=[tripped])))
        events += await ask(Airline(desk(Says("without a trace around it"))))
        await server.store.save_thread(thread_of("thr_1"), {})
        action = {"type": "book", "payload": {"seat": "1A"}}
        request = {"type": "threads.custom_action", "params": {"thread_id": "thr_1", "action": action}}
        async for line in await server.process(json.dumps(request), {}):  # type: ignore[union-attr]
            events.append(json.loads(line.removeprefix(b"data: ")))
        async for event in TracedAirline(desk(Says("yes"))).respond(thread_of("thr_1"), asked(), {}):
            events.append({"type": event.type})
    return [event["type"] for event in events], captured.traces()


def asked() -> UserMessageItem:
    """Return a message with an attachment and a quotation."""
    return UserMessageItem(
        id="m",
        thread_id="thr_1",
        created_at=datetime(2026, 1, 17),
        content=[UserMessageTextContent(text="and this?")],
        attachments=[FileAttachment(id="a", name="ticket.pdf", mime_type="application/pdf")],
        quoted_text="Gate 4",
        inference_options={},
    )


def statuses(traces: list[Trace]) -> list[list[str]]:
    """Return names and statuses of what runs, without events."""
    return [[f"{o.type} {o.name} {o.status}" for o in trace.observations if o.type != "event"] for trace in traces]


def content(traces: list[Trace]) -> str:
    """Return what is recorded of the responses, without ids and times."""
    return json.dumps([[o.input, o.output, sorted(o.metadata)] for trace in traces for o in trace.observations])


SOME = [
    pytest.param(field, marks=[] if field == "trace_id" or number % 4 == 0 else pytest.mark.slow)
    for number, field in enumerate(fields_read())
]


@pytest.mark.parametrize("field", SOME)
async def test_a_field_that_chatkit_renames_costs_detail_only(field, monkeypatch):
    """No event, status or trace is lost; if something is not recorded, the report lists it."""
    dropped = fluxloop.report().dropped
    events, traces = await converse()
    assert missing() == ()
    for name in READERS:
        reader = vars(internals)[name]
        monkeypatch.setattr(
            internals, name, lambda *args, _reader=reader: _reader(*(without(each, field) for each in args))
        )
    fewer_events, fewer = await converse()

    assert fewer_events == events
    assert fluxloop.report().dropped == dropped
    known = statuses(traces)
    found = statuses(fewer)
    if field in ("trace", "trace_id"):  # what streams without a trace around it is not recorded
        known = [[each for each in lines if each != "span stream_agent_response success"] for lines in known]
        found = [[each for each in lines if each != "span stream_agent_response success"] for lines in found]
    assert found == known
    if len(content(fewer)) < len(content(traces)) - 20:
        assert missing() != ()
