"""
Event streams of version 3, read to their end, are successes; streams that are left before are not.
"""

from __future__ import annotations

import asyncio
import gc
from importlib.util import find_spec

import pytest
from scripted_models import ScriptedModel, calls

from fluxloop_langchain import FluxLoopCallbackHandler

pytestmark = [
    pytest.mark.skipif(
        not hasattr(ScriptedModel, "stream_events"), reason="langchain-core 1.0 has no version 3 of its event streams"
    ),
    pytest.mark.filterwarnings("ignore:.*v3.*"),
]
needs_langchain = pytest.mark.skipif(find_spec("langchain") is None, reason="needs langchain")


def model():
    return ScriptedModel(replies=["Tigers hunt at night."])


def events(stream):
    return [event["event"] for event in stream]


async def aevents(stream, until=None):
    found = []
    async for event in await stream if asyncio.iscoroutine(stream) else stream:
        found.append(event["event"])
        if event["event"] == until:
            break
    return found


def generation(captured):
    (found,) = [o for trace in captured.traces() for o in trace.observations if o.type.name == "GENERATION"]
    return found


def assert_is_complete(observation):
    assert observation.status.value == "success"
    assert "Tigers hunt at night." in str(observation.output)
    assert observation.usage.total_tokens == 25
    assert observation.metadata["stream"]["ended"] == "exhausted"


def test_a_stream_that_is_exhausted_is_a_success(captured, config):
    """Every event is read, by a for loop."""
    assert events(model().stream_events("Who?", config, version="v3"))[-1] == "message-finish"
    gc.collect()

    assert_is_complete(generation(captured))


@pytest.mark.parametrize("until", [None, "message-finish"], ids=["exhausted", "last event"])
def test_an_async_stream_that_is_read_to_its_end_is_a_success(captured, config, until):
    """The event loop ends, and cancels the task that reads the model, before the task has reported the end."""
    assert asyncio.run(aevents(model().astream_events("Who?", config, version="v3"), until))[-1] == "message-finish"
    gc.collect()

    assert_is_complete(generation(captured))


def test_a_stream_that_is_left_after_its_last_event_is_a_success(captured, config):
    """The answer and the token counts are complete; the consumer has no need to ask for more."""
    for event in model().stream_events("Who?", config, version="v3"):
        if event["event"] == "message-finish":
            break
    gc.collect()

    assert_is_complete(generation(captured))


@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
def test_a_stream_that_is_left_before_is_not_a_success(captured, config, is_async):
    """The text until then is recorded."""
    if is_async:
        asyncio.run(aevents(model().astream_events("Who?", config, version="v3"), until="content-block-delta"))
    else:
        for event in model().stream_events("Who?", config, version="v3"):
            if event["event"] == "content-block-delta":
                break
    gc.collect()
    observation = generation(captured)

    assert observation.status.value in ("abandoned", "cancelled")
    assert "night" not in str(observation.output)


@needs_langchain
@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
@pytest.mark.parametrize("is_wrapped", [False, True], ids=["handler", "wrapped"])
def test_an_agent_whose_stream_is_exhausted_is_a_success(captured, is_wrapped, is_async):
    """With its models and tools, whose events are in the stream as well."""
    from langchain.agents import create_agent
    from langchain_core.tools import tool

    from fluxloop_langgraph import wrap_graph

    @tool
    def size(text: str) -> int:
        """Return the length of a text."""
        return len(text)

    agent = create_agent(ScriptedModel(replies=[calls("size", {"text": "abc"}), "three"]), [size])
    config = {} if is_wrapped else {"callbacks": [FluxLoopCallbackHandler()]}
    agent = wrap_graph(agent) if is_wrapped else agent
    given = {"messages": [("user", "How long?")]}

    async def read():
        stream = agent.astream_events(given, config, version="v3")
        return [item async for item in (await stream if asyncio.iscoroutine(stream) else stream)]

    asyncio.run(read()) if is_async else list(agent.stream_events(given, config, version="v3"))
    gc.collect()
    (trace,) = captured.traces()

    assert {(one.name, one.status.value) for one in trace.observations if one.type.name != "CHAIN"} == {
        ("LangGraph", "success"),
        ("ScriptedModel", "success"),
        ("size", "success"),
    }
