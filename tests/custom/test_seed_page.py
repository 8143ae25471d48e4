"""The patterns of the custom frameworks guide, as they are written there."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from agents import RunConfig, Runner, function_tool
from custom.agents_aid import Calls, Says, agent_of, recorded, tool_of

import fluxloop
from fluxloop import get_current_context
from fluxloop.enums import Status
from fluxloop.models import ObservationData, ObservationType
from fluxloop.testing import capture


def do_work(param: str) -> str:
    """The part that the guide leaves to the reader."""
    return param.upper()


async def my_tool(param: str) -> dict:  # type: ignore[type-arg]
    """Tool function with manual FluxLoop instrumentation."""
    fl_ctx = get_current_context()
    obs = None
    if fl_ctx and fl_ctx.is_enabled():
        obs = ObservationData(
            type=ObservationType.TOOL,
            name="tool.my_tool",
            input={"args": {"param": param}},
        )
        fl_ctx.push_observation(obs)
    try:
        result = {"result": do_work(param)}
        if obs:
            obs.output = result
        return result
    except Exception as e:
        if obs:
            obs.error = str(e)
        raise
    finally:
        if fl_ctx and obs:
            fl_ctx.pop_observation()


class Model:
    """The guide's agent, which streams words."""

    async def generate(self, prompt: str, context: Any = None) -> AsyncIterator[str]:
        return self._words(prompt)

    async def _words(self, prompt: str) -> AsyncIterator[str]:
        for word in ("You", "said", prompt):
            await asyncio.sleep(0)
            yield word


my_agent, agent, ctx = Model(), Model(), None


@fluxloop.prompt(name="prompt.agent", model="gpt-4")
async def _run_llm_prompt(agent, prompt, context):  # type: ignore[no-untyped-def]
    """Instrumented LLM call."""
    return await agent.generate(prompt, context=context)


async def approach_1(request: str) -> AsyncIterator[str]:
    """Approach 1: a decorated helper."""
    result = await _run_llm_prompt(my_agent, request, ctx)
    async for chunk in result:
        yield chunk


async def approach_2(request: str) -> AsyncIterator[str]:
    """Approach 2: a block."""
    with fluxloop.instrument("prompt.agent"):
        result = await agent.generate(request)
        async for chunk in result:
            yield chunk


async def read(stream: AsyncIterator[str]) -> list[str]:
    return [chunk async for chunk in stream]


async def test_pattern_a_inside_instrument():
    """``with fluxloop.instrument("my_agent_run")``: tools inside are captured."""
    assert get_current_context() is None
    with capture() as captured, fluxloop.instrument("my_agent_run"):
        assert get_current_context() is not None
        await my_tool("x")

    assert captured.outline(inputs=True).splitlines()[1:] == [
        "  TOOL tool.my_tool({'args': {'param': 'x'}}) -> {'result': 'X'}"
    ]


async def test_pattern_a_closes_its_observation_after_an_exception(monkeypatch):
    """The next tool is a sibling."""
    monkeypatch.setitem(globals(), "do_work", lambda param: 1 / 0 if param == "bad" else param)
    with capture() as captured, fluxloop.instrument("run"):
        with pytest.raises(ZeroDivisionError):
            await my_tool("bad")
        await my_tool("good")

    bad, good = captured.traces()[0].observations[1:]
    assert (bad.status, bad.error, good.status) == (Status.ERROR, "division by zero", Status.SUCCESS)
    assert bad.parent_id == good.parent_id


async def test_without_a_trace_there_is_no_context():
    """Pushing without the check raises AttributeError."""
    with pytest.raises(AttributeError, match="NoneType"):
        get_current_context().push_observation(ObservationData(type="tool", name="x"))  # type: ignore[union-attr]


async def test_approach_1_in_an_async_generator():
    """Chunks are unchanged, and the helper's GENERATION ends with the stream it returned."""
    with capture() as captured, fluxloop.instrument("run"):
        assert await read(approach_1("hello")) == ["You", "said", "hello"]

    record = captured.traces()[0].observations[1]
    assert (record.type, record.name, record.model) == (ObservationType.GENERATION, "prompt.agent", "gpt-4")
    assert (record.output, record.input["prompt"]) == ("Yousaidhello", "hello")


async def test_approach_2_opens_a_trace_of_its_own():
    """Outside a trace it is a trace named prompt.agent; inside one it is a child."""
    with capture() as captured:
        assert await read(approach_2("hello")) == ["You", "said", "hello"]
        with fluxloop.instrument("outer"):
            await read(approach_2("again"))

    assert captured.outline() == "SPAN prompt.agent\nSPAN outer\n  SPAN prompt.agent"


async def test_approach_2_can_be_closed_early():
    """Closing the stream raises nothing, and no context stays current."""
    with capture() as captured:
        stream = approach_2("hello")
        async for _ in stream:
            break
        await stream.aclose()  # type: ignore[attr-defined]

        assert get_current_context() is None
    assert captured.traces()[0].status == "abandoned"


async def test_approach_2_in_concurrent_requests_makes_separate_traces():
    """Two concurrent handlers are two traces."""
    with capture() as captured:
        await asyncio.gather(read(approach_2("one")), read(approach_2("two")))

    assert [trace.name for trace in captured.traces()] == ["prompt.agent", "prompt.agent"]


async def test_pattern_a_below_the_sdks_decorator():
    """The framework's decorator on top of manual instrumentation."""
    with recorded() as captured:
        agent = agent_of(Calls("my_tool", {"param": "x"}), Says("ok"), tools=[function_tool(my_tool)])
        await Runner.run(agent, "hi")

    record = tool_of(captured.traces()[0])
    assert (record.name, record.output) == ("tool.my_tool", {"result": "X"})


async def test_tools_are_recorded_without_the_sdks_tracing():
    """Realtime agents report no spans, and tracing may be off; an instrumented tool is recorded."""
    with recorded() as captured, fluxloop.instrument("my_agent_run"):
        agent = agent_of(Calls("my_tool", {"param": "x"}), Says("ok"), tools=[function_tool(my_tool)])
        await Runner.run(agent, "hi", run_config=RunConfig(tracing_disabled=True))

    assert captured.outline() == "SPAN my_agent_run\n  TOOL tool.my_tool -> {'result': 'X'}"


async def test_debug_mode_logs_each_observation(caplog):
    """One line per observation, captured or ignored."""
    with caplog.at_level("DEBUG", logger="fluxloop"), capture(debug=True):
        with fluxloop.instrument("run"):
            await my_tool("x")
        fluxloop.tool(do_work)("y")

    assert "tool.my_tool" in caplog.text
    assert "ignored" in caplog.text
