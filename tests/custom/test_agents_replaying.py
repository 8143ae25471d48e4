"""
Runs of the OpenAI Agents SDK over models and tools that are answered from a recorded trace.
"""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Callable
from contextvars import copy_context
from typing import Any

import openai
import pytest
from agents import (
    Agent,
    GuardrailFunctionOutput,
    InputGuardrailTripwireTriggered,
    OpenAIChatCompletionsModel,
    OpenAIResponsesModel,
    RunHooks,
    Runner,
    SQLiteSession,
    function_tool,
    input_guardrail,
)
from agents.mcp import MCPServer
from mcp.types import CallToolResult, TextContent, Tool
from pydantic import BaseModel

import fluxloop
from fluxloop_custom.openai_agents import internals

from .agents_aid import Calls, Says, ScriptedModel, recorded
from .clients import provider as api

ran: list[str] = []
"""The tools that ran for real."""
guarded: list[str] = []


@pytest.fixture(autouse=True)
def _forget() -> None:
    ran.clear()
    guarded.clear()


@function_tool
def add(a: int, b: int = 2) -> int:
    """Add two numbers."""
    ran.append("add")
    if a < 0:
        raise ValueError(f"{a} is negative")
    return a + b


@function_tool
@fluxloop.tool
def shout(text: str) -> dict[str, str]:
    """Shout a text."""
    ran.append("shout")
    return {"text": text.upper()}


@input_guardrail
def polite(context: Any, agent: Any, given: Any) -> GuardrailFunctionOutput:
    """Stop rude questions."""
    guarded.append("polite")
    return GuardrailFunctionOutput(output_info=None, tripwire_triggered="rude" in str(given))


def desk(*, is_live: bool) -> Agent[Any]:
    """Return an agent with tools, a handoff and a guardrail; its models fail unless they are live."""

    def model(*turns: Any) -> ScriptedModel:
        return ScriptedModel(*(turns if is_live else [RuntimeError("the model was called")]))

    second = Agent(name="Second", model=model(Calls("shout", {"text": "hi"}), Says("All is well.")), tools=[shout])
    asked = [Calls("add", {"a": 1}), Calls("add", {"a": 5, "b": 1}), Calls("add", {"a": -1})]
    turns = model(asked, Calls("transfer_to_second"))
    return Agent(name="First", model=turns, tools=[add], handoffs=[second], input_guardrails=[polite])


def run_sync(agent: Agent[Any], question: str = "hi") -> Any:
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)  # early releases of the SDK take the current one, and an earlier test may have had it
    try:
        return _facts(Runner.run_sync(agent, question))
    finally:
        asyncio.set_event_loop(None)
        loop.close()


async def run(agent: Agent[Any], question: str = "hi") -> Any:
    return _facts(await Runner.run(agent, question))


async def run_streamed(agent: Agent[Any], question: str = "hi") -> Any:
    result = Runner.run_streamed(agent, question)
    events = [event async for event in result.stream_events()]
    raw = [event.data for event in events if event.type == "raw_response_event"]
    text = "".join(event.delta for event in raw if event.type == "response.output_text.delta")
    return [event.name for event in events if event.type == "run_item_stream_event"], text.strip(), _facts(result)


RUNS = [run_sync, run, run_streamed]


def _facts(result: Any) -> Any:
    """Return what a run made: its output, the kinds of its items, the outputs of its tools."""
    outputs = [item.output for item in result.new_items if type(item).__name__ == "ToolCallOutputItem"]
    return result.final_output, [type(item).__name__ for item in result.new_items], outputs


def made(call: Callable[..., Any], *args: Any) -> Any:
    """Return the result of *call*, a function or a coroutine function."""
    result = call(*args)
    return asyncio.run(result) if inspect.iscoroutine(result) else result


@pytest.mark.parametrize("match", ["strict", "fifo", "loose"])
@pytest.mark.parametrize("replayable", [True, False])
@pytest.mark.parametrize("call", RUNS, ids=lambda call: call.__name__)
def test_a_run_goes_as_recorded_without_its_models(call, replayable, match):
    """
    Output, items and tools are those of the recorded run; handoffs and guardrails run for real.
    """
    with recorded(replayable=replayable) as first:
        expected = made(call, desk(is_live=True))
    ran.clear(), guarded.clear()

    with recorded() as again, fluxloop.replay(first.traces(), match=match) as replay:
        assert made(call, desk(is_live=False)) == expected

    assert ran == []
    assert guarded == ["polite"]
    assert again.outline() == first.outline()
    assert replay.report().is_same


def test_a_guardrail_stops_the_run_again():
    """
    The exception of the guardrail is raised by the SDK, in the replay as in the recorded run.
    """
    with recorded() as first, pytest.raises(InputGuardrailTripwireTriggered):
        made(run, desk(is_live=True), "rude")
    with recorded(), fluxloop.replay(first.traces(), match="fifo"), pytest.raises(InputGuardrailTripwireTriggered):
        made(run, desk(is_live=False), "rude")
    assert guarded == ["polite", "polite"]


def test_tools_run_live_under_the_recorded_conversation():
    """
    With ``live="tools"``, the tools run, and the models are answered.
    """
    with recorded() as first:
        expected = made(run, desk(is_live=True))
    ran.clear()

    with recorded(), fluxloop.replay(first.traces(), live="tools") as replay:
        assert made(run, desk(is_live=False)) == expected

    assert sorted(ran) == ["add", "add", "add", "shout"]
    assert (replay.report().hits, replay.report().live) == (4, 4)


@pytest.mark.parametrize("order", ["outside", "below"])
def test_a_tool_that_is_made_while_a_replay_is_open_is_answered_as_any_other(order):
    """
    As by a script that a replay runs as a whole. The name of the decorator is that of the recorded call.
    """

    def program(*turns: Any) -> Any:
        def cancel(trip: int) -> dict[str, int]:
            """Cancel a trip."""
            ran.append("cancel")
            return {"refund": trip}

        named = fluxloop.tool(name="trips.cancel")
        tool = named(function_tool(cancel)) if order == "outside" else function_tool(named(cancel))
        return made(run, Agent(name="Desk", model=ScriptedModel(*turns), tools=[tool]))

    with recorded() as first:
        expected = program(Calls("cancel", {"trip": 7}), Says("Done."))
    ran.clear()

    with recorded() as again, fluxloop.replay(first.traces()) as replay:
        assert program(RuntimeError("the model was called")) == expected

    assert ran == []
    assert again.outline() == first.outline()
    assert "TOOL trips.cancel" in first.outline()
    assert replay.report().is_same


class Shop(MCPServer):
    """A server of tools in this process; without the tools, if it is not *is_live*."""

    def __init__(self, is_live: bool) -> None:
        super().__init__()
        self._is_live = is_live

    @property
    def name(self) -> str:
        return "shop"

    async def connect(self) -> None: ...

    async def cleanup(self) -> None: ...

    async def list_tools(self, run_context: Any = None, agent: Any = None) -> list[Tool]:
        return [Tool(name="price", inputSchema={"type": "object", "properties": {"item": {"type": "string"}}})]

    async def call_tool(self, tool_name: str, arguments: dict[str, Any] | None, *rest: Any) -> CallToolResult:
        ran.append(tool_name)
        if not self._is_live:
            raise RuntimeError("the server was called")
        return CallToolResult(content=[TextContent(type="text", text=f"{arguments} costs 3")])

    async def list_prompts(self) -> Any: ...

    async def get_prompt(self, name: str, arguments: Any = None) -> Any: ...


class Answer(BaseModel):
    """What the agent returns."""

    price: int


@pytest.mark.parametrize("replayable", [True, False])
def test_tools_of_a_server_and_typed_answers_come_from_the_recording(replayable):
    """
    The server lists its tools, and none is called; the answer has its class again.
    """

    def ask(*, is_live: bool) -> Any:
        turns = [Calls("price", {"item": "tea"}), Says('{"price": 3}')] if is_live else [RuntimeError("called")]
        agent = Agent(name="Desk", model=ScriptedModel(*turns), mcp_servers=[Shop(is_live)], output_type=Answer)
        return made(run, agent)

    with recorded(replayable=replayable) as first:
        expected = ask(is_live=True)
    assert (expected[0], ran) == (Answer(price=3), ["price"])

    with recorded() as again, fluxloop.replay(first.traces()) as replay:
        assert ask(is_live=False) == expected

    assert ran == ["price"]
    assert again.outline() == first.outline()
    assert replay.report().is_same


def test_a_session_holds_the_conversation_of_a_replay_as_of_the_recorded_run():
    """
    The second run is given what the first one said, from the session of the program.
    """

    def converse(*turns: Any) -> Any:
        agent, session = Agent(name="Desk", model=ScriptedModel(*turns)), SQLiteSession("a")

        async def both() -> list[Any]:
            given = [await Runner.run(agent, question, session=session) for question in ("Tea?", "And milk?")]
            return [*(one.final_output for one in given), await session.get_items()]

        found = asyncio.run(both())
        session.close()
        return found

    with recorded(replayable=True) as first:
        expected = converse(Says("Yes."), Says("No."))
    with recorded() as again, fluxloop.replay(first.traces()) as replay:
        assert converse(RuntimeError("the model was called")) == expected

    assert len(expected[2]) == 4
    assert again.outline() == first.outline()
    assert replay.report().is_same


def test_another_question_is_a_miss():
    """
    The message has the recorded question and the asked one.
    """
    with recorded() as first:
        made(run, desk(is_live=True))

    with recorded(), pytest.raises(fluxloop.ReplayMismatch, match="nearest recorded") as miss:
        with fluxloop.replay(first.traces()):
            made(run, desk(is_live=False), "hello")
    assert '-   "content": "hi"' in str(miss.value)
    assert '+   "content": "hello"' in str(miss.value)


MODELS: dict[str, tuple[Any, Any]] = {
    "chat": (OpenAIChatCompletionsModel, lambda: api.Reply(api.completion())),
    "responses": (OpenAIResponsesModel, lambda: api.Reply(api.response())),
    "chat streamed": (OpenAIChatCompletionsModel, lambda: api.Reply(events=api.chunks("Par", "is"))),
    "responses streamed": (OpenAIResponsesModel, lambda: api.Reply(events=api.response_events("Par", "is"))),
}


@pytest.mark.parametrize("replayable", [True, False])
@pytest.mark.parametrize("api_name", MODELS)
def test_models_of_either_api_are_answered(api_name, replayable):
    """
    A run with a model of the SDK sends no request in a replay, and returns the recorded answer.
    """
    kind, reply = MODELS[api_name]
    call = run_streamed if "streamed" in api_name else run

    async def ask(url: str) -> Any:
        async with openai.AsyncOpenAI(api_key="k", base_url=url, max_retries=0) as client:
            return await call(Agent(name="A", instructions="Be brief.", model=kind("gpt-5", client)), "Capital?")

    with api.running() as provider:
        provider.answers(reply())
        with recorded(replayable=replayable) as first:
            expected = asyncio.run(ask(provider.url))
        sent = len(provider.requests)
        with recorded() as again, fluxloop.replay(first.traces()):
            replayed = asyncio.run(ask(provider.url))
        assert len(provider.requests) == sent

    assert replayed == expected
    assert again.outline() == first.outline()


def test_a_run_beside_the_replay_is_not_answered():
    """
    Two runs at once in one process: one in a replay, the other with its own live model.
    """
    with recorded() as first:
        made(run, desk(is_live=True))
    ran.clear()

    async def both() -> tuple[Any, Any]:
        async def replayed() -> Any:
            with fluxloop.replay(first.traces()):
                return await run(desk(is_live=False))

        async def live() -> Any:
            return await run(desk(is_live=True))

        return await asyncio.gather(replayed(), live())

    with recorded():
        one, other = asyncio.run(both())
    assert one == other
    assert sorted(ran) == ["add", "add", "add", "shout"]


def test_methods_that_a_replay_replaces_are_not_reported_as_missing(monkeypatch):
    """
    The installed release is examined for the first time while a run is replayed.
    """
    agent = Agent(name="A", model=ScriptedModel(Says("hi")))
    with recorded() as captured:
        run_sync(agent, "hello")
    lacking: list[str] = []
    monkeypatch.setattr(internals, "missing", lambda part, cost: lacking.append(part))
    internals.probe.cache_clear()
    internals.probe()
    before = [*lacking]

    with fluxloop.replay(captured.traces()):
        assert hasattr(OpenAIResponsesModel.get_response, "__wrapped__")
        internals.probe.cache_clear()
        internals.probe()
        run_sync(agent, "hello")

    assert lacking == before * 2


class Late(RunHooks):
    """Lets the run with the context *late* begin after the others."""

    def __init__(self, late: int | None) -> None:
        self._late = late

    async def on_agent_start(self, context: Any, agent: Any) -> None:
        if context.context == self._late:
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("questions", ["aaa", "abc", "aba"])
@pytest.mark.parametrize("is_in_a_trace", [False, True])
@pytest.mark.parametrize(("late", "then"), [(None, 0), (0, None), (0, 0), (1, 0), (0, 2)])
def test_runs_beside_each_other_have_their_own_answers(questions, is_in_a_trace, late, then):
    """
    An agent has no input when it starts, so its place is known by its position and by what it asks.
    """

    async def together(slow: int | None) -> list[str]:
        model = ScriptedModel(*(Says(f"answer {number}") for number in range(9)))

        async def one(number: int) -> str:
            agent = Agent(name="A", model=model)
            found = await Runner.run(agent, questions[number], context=number, hooks=Late(slow))
            return str(found.final_output)

        return await asyncio.gather(*map(one, range(len(questions))))

    run = fluxloop.agent(together, capture_input=False) if is_in_a_trace else together
    with recorded(replayable=True) as captured:
        expected = asyncio.run(run(late))

    with recorded(), fluxloop.replay(captured.traces()) as replay:
        assert asyncio.run(run(then)) == expected

    assert replay.report().is_same


def test_runs_in_threads_have_the_answers_to_their_questions():
    """
    Threads start in any order; here in the opposite one.
    """

    def together(questions: str) -> dict[str, str]:
        model = ScriptedModel(*(Says(f"answer {number}") for number in range(9)))
        found: dict[str, str] = {}
        is_started = [threading.Event() for _ in questions]

        class Wait(RunHooks):
            async def on_agent_start(self, context: Any, agent: Any) -> None:
                is_started[context.context].set()
                await asyncio.to_thread(is_started[-1].wait, 10)

        def one(number: int) -> None:
            if number:
                assert is_started[number - 1].wait(10)
            agent, question = Agent(name="A", model=model), questions[number]
            result = asyncio.run(Runner.run(agent, question, context=number, hooks=Wait()))
            found[question] = result.final_output

        threads = [threading.Thread(target=copy_context().run, args=(one, n)) for n in range(len(questions))]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
        return found

    run = fluxloop.agent(together, capture_input=False)
    with recorded(replayable=True) as captured:
        expected = run("abc")

    with recorded(), fluxloop.replay(captured.traces()):
        assert run("cba") == expected
