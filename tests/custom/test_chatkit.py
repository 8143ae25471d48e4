"""ChatKit: events pass unchanged, and a response is a trace whose session is the thread."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator
from typing import Any

import pytest
from chatkit import agents as chatkit_agents
from chatkit.agents import AgentContext
from chatkit.types import ProgressUpdateEvent
from custom.agents_aid import Says, recorded, run, tool_of, tools_in
from custom.airline import Airline, MemoryStore, TracedAirline, ask, desk, named, state_manager, thread_of

import fluxloop
from fluxloop.errors import DecorationError
from fluxloop.testing import capture
from fluxloop_custom import chatkit


def without_ids(events: list[Any]) -> list[Any]:
    """Return events without ids and times, which differ between requests."""
    left_out = ("id", "thread_id", "created_at", "item_id", "call_id")
    if isinstance(events, list):
        return [without_ids(each) for each in events]
    if isinstance(events, dict):
        return {name: without_ids(each) for name, each in events.items() if name not in left_out}  # type: ignore[return-value]
    return events


# A server


async def test_cancel_trip_runs_plain():
    """One TOOL, with the name, input and output that the tool's body sets."""
    context = AgentContext(thread=thread_of("thr_1"), store=MemoryStore(), request_context={})
    with recorded() as captured:
        await run(desk(), context=context)

    record = tool_of(captured.traces()[0])
    assert (record.name, record.input) == ("tool.cancel_trip", {"args": {}})
    assert record.output == {"result": "The trip of thr_1 is cancelled."}


async def test_cancel_trip_runs_streamed_under_a_chatkit_server():
    """One trace per response; its session is the thread's id."""
    server = TracedAirline(desk())
    with recorded() as captured:
        await ask(server)

    (found,) = captured.traces()
    (thread_id,) = server.store.threads  # type: ignore[attr-defined]
    assert found.session_id == thread_id
    assert captured.outline() == (
        "AGENT respond -> 'Your trip is cancelled'\n"
        "  SPAN stream_agent_response -> 'Your trip is cancelled'\n"
        "  AGENT Desk -> 'Your trip is cancelled'\n"
        "    GENERATION response -> [{'type': 'function_call', 'name': 'cancel_trip', 'argument…\n"
        f"    TOOL tool.cancel_trip -> {{'result': 'The trip of {thread_id} is cancelled.'}}\n"
        "    GENERATION response -> 'Your trip is cancelled'"
    )
    assert named(found, "respond").input == {"thread_id": thread_id, "message": "Cancel my trip, please"}


async def test_a_failing_tool_is_recorded_and_the_conversation_goes_on(monkeypatch):
    """`obs.error` is the exception's text, and the user receives the agent's answer."""

    def broken(thread_id: str) -> str:
        raise RuntimeError("booking system down")

    monkeypatch.setattr(state_manager, "cancel_trip", broken)
    with recorded() as captured:
        events = await ask(TracedAirline(desk()))

    record = tool_of(captured.traces()[0])
    assert (record.status, record.error, record.metadata["error_type"]) == (
        "error",
        "booking system down",
        "RuntimeError",
    )
    assert events[-1]["type"] == "thread.item.done"


async def test_outside_a_trace_nothing_is_recorded():
    """Without install() and without an open trace there are no records."""
    with capture() as captured:
        events = await ask(Airline(desk()))

    assert events[-1]["item"]["content"][0]["text"] == "Your trip is cancelled"
    assert list(captured.storage.read()) == []


# Unchanged behaviour


@pytest.mark.parametrize("installed", [False, True], ids=["outside", "recorded"])
async def test_the_events_are_the_same_with_and_without_fluxloop(installed):
    """Same events, same types, same order."""
    plain = await ask(Airline(desk(), stream=chatkit_agents.stream_agent_response))
    if installed:
        with recorded():
            ours = await ask(TracedAirline(desk()))
    else:
        ours = await ask(Airline(desk()))

    assert without_ids(ours) == without_ids(plain)


def test_fluxloops_functions_have_the_signatures_of_chatkits():
    """`inspect` finds the same signature and kind of function."""
    assert inspect.signature(chatkit.stream_agent_response) == inspect.signature(chatkit_agents.stream_agent_response)
    assert inspect.signature(TracedAirline.respond) == inspect.signature(Airline.respond)
    assert inspect.isasyncgenfunction(TracedAirline.respond)


async def test_without_a_trace_around_it_the_stream_belongs_to_the_run():
    """The trace of the run has the thread as its session, and the items of the response."""
    server = Airline(desk())
    with recorded() as captured:
        await ask(server)

    (found,) = captured.traces()
    assert found.session_id in server.store.threads  # type: ignore[attr-defined]
    assert named(found, "stream_agent_response").parent_id == found.roots[0].id


async def test_the_time_to_the_first_event_is_recorded():
    """The metadata have it, with the number of events."""
    with recorded() as captured:
        await ask(TracedAirline(desk()))

    stream = named(captured.traces()[0], "stream_agent_response").metadata["stream"]
    assert stream["count"] == 8 - (stream["count"] == 7)
    assert stream["first_item_ms"] > 0


async def test_contexts_do_not_leak_between_steps_or_requests():
    """ChatKit runs each step of its streams in a task of its own; two concurrent requests have separate traces."""
    with recorded() as captured:
        answers = [TracedAirline(desk(Says(f"answer {n}"))) for n in range(8)]
        await asyncio.gather(*(ask(server) for server in answers))

    assert sorted(str(trace.output) for trace in captured.traces()) == [f"answer {n}" for n in range(8)]
    assert len({trace.session_id for trace in captured.traces()}) == 8
    assert fluxloop.get_current_context() is None


async def test_a_client_that_goes_away_abandons_the_response():
    """Closing the server's stream early ends every observation, and raises nothing."""
    with recorded() as captured:
        events = TracedAirline(desk()).respond(thread_of("thr_1"), None, {})
        await anext(events)
        await events.aclose()  # type: ignore[attr-defined]
        await asyncio.sleep(0.05)

    (found,) = captured.traces()
    assert named(found, "respond").status == "abandoned"
    assert named(found, "stream_agent_response").status == "abandoned"
    assert named(found, "respond").metadata["stream"]["ended"] == "closed"


# Nesting and misuse


async def test_what_the_program_records_while_responding_nests_in_the_response():
    """Functions called in `respond`, before and between events, are its children."""

    @fluxloop.tool
    def noted(when: str) -> str:
        return when

    class Noting(Airline):
        @chatkit.traced_respond
        async def respond(self, thread: Any, item: Any, context: Any) -> AsyncIterator[Any]:
            noted("before")
            yield ProgressUpdateEvent(text="working")
            noted("after")

    with recorded() as captured:
        await ask(Noting(desk()))

    (found,) = captured.traces()
    assert [tool.output for tool in tools_in(found)] == ["before", "after"]
    assert {tool.parent_id for tool in tools_in(found)} == {found.roots[0].id}


def test_decorating_a_method_that_streams_no_events_raises():
    """`sync_action` is awaited, and a decorator for streams would break it."""

    async def sync_action(self: Any, thread: Any, action: Any, sender: Any, context: Any) -> None: ...

    with pytest.raises(DecorationError, match=r"use @fluxloop\.agent"):
        chatkit.traced_respond(sync_action)
