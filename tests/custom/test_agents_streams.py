"""
Streamed runs of the Agents SDK, whose events are recorded with ``replayable=True`` and replayed as they were.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

import openai
import pytest
from agents import Agent, Model, Runner

import fluxloop
from fluxloop.testing import SystemClock

from .agents_aid import Says, ScriptedModel, recorded
from .clients import provider as api
from .test_agents_replaying import MODELS, desk


class Breaks(ScriptedModel):
    """Streams three events, and fails."""

    async def _events(self, response: Any) -> Any:
        events = super()._events(response)
        for _ in range(3):
            yield await anext(events)
            await asyncio.sleep(0)
        raise ConnectionError("the line broke")


def facts(event: Any) -> Any:
    """Return what a program sees of an event: the raw one, or the item or agent that it is about."""
    if event.type == "raw_response_event":
        return event.data
    item = getattr(event, "item", None)
    return event.type, getattr(event, "name", None), getattr(item, "raw_item", None)


async def streamed(agent: Agent[Any], question: str = "hi", upto: int | None = None) -> list[Any]:
    """Return the events of a run of *agent*; the first *upto*, if it is stopped after them."""
    result = Runner.run_streamed(agent, question)
    seen = []
    async for event in result.stream_events():
        seen.append(facts(event))
        if len(seen) == upto:
            result.cancel()
            break
    if upto is not None and (task := getattr(result, "run_loop_task", getattr(result, "_run_impl_task", None))):
        await asyncio.wait([task])
    return seen


def unusable() -> ScriptedModel:
    return ScriptedModel(RuntimeError("the model was called"))


def replies(trace: Any) -> list[Any]:
    """Return what an exact recording has of each model call, and the tools that the model was given."""
    calls = [one for one in trace.observations if one.type.name == "GENERATION"]
    return [(one.metadata.get("replay"), one.metadata.get("tools")) for one in calls]


def test_events_come_as_they_were_recorded():
    """
    Raw events and items equal those of the recorded run; a recording of the replay has the same again.
    """
    with recorded(replayable=True) as first:
        expected = asyncio.run(streamed(desk(is_live=True)))

    with recorded(replayable=True) as again, fluxloop.replay(first.traces()):
        assert asyncio.run(streamed(desk(is_live=False))) == expected

    assert again.outline() == first.outline()
    assert replies(again.trace) == replies(first.trace)
    assert all("items" in (kept or {}) for kept, _ in replies(first.trace))


@pytest.mark.parametrize("api_name", ["chat streamed", "responses streamed"])
def test_events_of_the_models_of_the_sdk_come_as_they_were_recorded(api_name):
    kind, reply = MODELS[api_name]

    async def ask(url: str) -> Any:
        async with openai.AsyncOpenAI(api_key="k", base_url=url, max_retries=0) as client:
            return await streamed(Agent(name="A", model=kind("gpt-5", client)))

    with api.running() as provider:
        provider.answers(reply())
        with recorded(replayable=True) as first:
            expected = asyncio.run(ask(provider.url))
        sent = len(provider.requests)
        with recorded(replayable=True) as again, fluxloop.replay(first.traces()):
            assert asyncio.run(ask(provider.url)) == expected
        assert len(provider.requests) == sent

    assert again.outline() == first.outline()
    assert replies(again.trace) == replies(first.trace)


def test_events_come_at_the_recorded_times():
    """
    With a pace, the time from the first to the last event is that of the recording, times the pace.
    """
    agent = Agent(name="A", model=ScriptedModel(Says("one two three"), delay_s=0.05))
    with recorded(replayable=True, clock=SystemClock()) as first:
        asyncio.run(streamed(agent))

    def took(pace: float | None) -> float:
        with recorded(replayable=True, clock=SystemClock()) as again, fluxloop.replay(first.traces(), pace=pace):
            asyncio.run(streamed(Agent(name="A", model=unusable())))
        offsets = next(one for one in again.trace.observations if "stream" in one.metadata).metadata["stream"]
        return offsets["offsets_ms"][-1] - offsets["first_item_ms"]

    assert took(None) < 100
    assert took(2.0) > 200


def test_a_stream_that_broke_breaks_again_after_the_same_events():
    def program(model: Model) -> list[Any]:
        seen: list[Any] = []

        async def read() -> None:
            stream = Runner.run_streamed(Agent(name="A", model=model), "hi").stream_events()
            with suppress(StopAsyncIteration):
                while True:
                    seen.append(facts(await anext(stream)))

        with pytest.raises(ConnectionError, match="the line broke"):
            asyncio.run(read())
        return seen

    with recorded(replayable=True) as first:
        expected = program(Breaks(Says("All is well.")))
    with recorded(replayable=True) as again, fluxloop.replay(first.traces()):
        assert program(unusable()) == expected

    assert len(expected) >= 3
    assert replies(again.trace) == replies(first.trace)
    assert [one.status for one in again.trace.observations] == [one.status for one in first.trace.observations]


def test_a_stream_that_was_stopped_early_has_no_more_than_was_recorded():
    """
    A program that stops at the same event runs as before; one that reads on gets an error, not a shorter answer.
    """
    text = Says("one two three four five six")
    with recorded(replayable=True) as first:
        expected = asyncio.run(streamed(Agent(name="A", model=ScriptedModel(text, delay_s=0.01)), upto=4))

    with recorded(), fluxloop.replay(first.traces(), pace=1.0):
        assert asyncio.run(streamed(Agent(name="A", model=unusable()), upto=4)) == expected
    is_short = pytest.raises(fluxloop.ReplayMismatch, match="was cancelled after")
    with recorded(), is_short, fluxloop.replay(first.traces()):
        asyncio.run(streamed(Agent(name="A", model=unusable())))


def test_streams_that_are_read_in_turn_have_their_own_events():
    """
    The calls have the same input and other answers; the recorded order of their start decides.
    """

    async def program(*models: Model) -> list[list[Any]]:
        streams = [Runner.run_streamed(Agent(name="A", model=model), "hi").stream_events() for model in models]
        seen: list[list[Any]] = [[] for _ in streams]
        while any(streams):
            for index, stream in enumerate(streams):
                if stream is not None:
                    try:
                        seen[index].append(facts(await anext(stream)))
                    except StopAsyncIteration:
                        streams[index] = None
        return seen

    with recorded(replayable=True) as first, fluxloop.instrument("program"):
        expected = asyncio.run(program(ScriptedModel(Says("one two three")), ScriptedModel(Says("four"))))
    with recorded(), fluxloop.replay(first.traces()), fluxloop.instrument("program"):
        assert asyncio.run(program(unusable(), unusable())) == expected
    assert expected[0] != expected[1]


def test_sensitive_data_is_not_kept():
    """
    Where a run keeps its data out of the trace, the events are not recorded.
    """
    from agents import RunConfig

    async def program() -> None:
        agent = Agent(name="A", model=ScriptedModel(Says("a secret")))
        options = RunConfig(trace_include_sensitive_data=False)
        async for _ in Runner.run_streamed(agent, "hi", run_config=options).stream_events():
            pass

    with recorded(replayable=True) as captured:
        asyncio.run(program())

    assert "a secret" not in repr(captured.traces())


@pytest.mark.parametrize("is_replay_first", [True, False])
def test_models_are_as_before_after_replays_and_recordings(is_replay_first):
    """
    Whichever ends first: the methods are replaced while one of them is open, and then restored.
    """
    original = vars(ScriptedModel)["stream_response"]
    with recorded(replayable=True) as first:
        asyncio.run(streamed(Agent(name="A", model=ScriptedModel(Says("hi")))))
        assert vars(ScriptedModel)["stream_response"] is not original
    assert vars(ScriptedModel)["stream_response"] is original

    replay, recording = fluxloop.replay(first.traces(), match="loose"), recorded(replayable=True)
    for block in (replay, recording) if is_replay_first else (recording, replay):
        block.__enter__()
    replay.warns = False
    for block in (replay, recording) if is_replay_first else (recording, replay):
        block.__exit__(None, None, None)

    assert vars(ScriptedModel)["stream_response"] is original
    assert "__init_subclass__" not in vars(Model)
