"""A tool call that never reaches its function is a TOOL with the reason; no call is recorded twice."""

from __future__ import annotations

import asyncio
import inspect
from typing import Any

import agents
import pytest
from agents import Agent, GuardrailFunctionOutput, RunConfig, Runner, function_tool, input_guardrail
from agents.exceptions import AgentsException
from custom.agents_aid import Calls, Says, ScriptedModel, add, agent_of, recorded, run, tool_of, tools_in

streamed_or_not = pytest.mark.parametrize("streamed", [False, True], ids=["plain", "streamed"])
needs_approvals = pytest.mark.skipif(
    not hasattr(agents, "ToolApprovalItem"), reason="this SDK's tools need no approval"
)


@streamed_or_not
async def test_an_unknown_tool_is_a_tool_that_failed(streamed):
    """It has its arguments and the SDK's error; a known tool of the same answer, which was not run, is cancelled."""
    answer = [Calls("nope", {"x": 1}), Calls("add", {"a": 1})]
    with recorded() as captured, pytest.raises(AgentsException):
        await run(agent_of(answer, tools=[add]), streamed=streamed)

    unknown, known = tools_in(captured.traces()[0])
    assert (unknown.name, unknown.input, str(unknown.status)) == ("nope", {"x": 1}, "error")
    assert "nope not found" in unknown.error
    assert (known.name, known.input, str(known.status)) == ("add", {"a": 1}, "cancelled")
    assert (
        unknown.parent_id == known.parent_id == next(o.id for o in captured.traces()[0].observations if o.name == "A")
    )


@streamed_or_not
async def test_an_unknown_tool_whose_error_the_model_gets_is_a_tool_that_failed(streamed):
    """The run goes on and succeeds; the TOOL has the text that the model got."""
    if "tool_not_found_behavior" not in inspect.signature(RunConfig).parameters:
        pytest.skip("this SDK always raises")
    config = RunConfig(tool_not_found_behavior="return_error_to_model")
    with recorded() as captured:
        await run(agent_of(Calls("nope", {"x": 1}), Says("sorry")), streamed=streamed, run_config=config)

    (trace,) = captured.traces()
    tool = tool_of(trace)
    assert (str(trace.status), str(tool.status), tool.input) == ("success", "error", {"x": 1})
    assert "nope" in tool.error


async def test_every_call_that_reaches_its_tool_is_recorded_once():
    """Two calls of one tool in one answer, a handoff, and an agent as a tool: no further TOOL."""
    other = agent_of(Says("done"), name="Other")
    tools = [add, other.as_tool("ask_other", "Ask.")]
    turns = ([Calls("add", {"a": 1}), Calls("add", {"a": 2}), Calls("ask_other", {"input": "?"})],)
    with recorded() as captured:
        await run(agent_of(*turns, Calls("transfer_to_other"), tools=tools, handoffs=[other]))

    found = tools_in(captured.traces()[0])
    assert [(o.name, str(o.status)) for o in found] == [(name, "success") for name in ("add", "add", "ask_other")]
    assert len({o.metadata["tool_call_id"] for o in found}) == 3


@needs_approvals
@pytest.mark.parametrize("beside", [False, True], ids=["alone", "beside an approved call"])
async def test_a_call_that_a_person_rejects_is_a_tool_that_failed(beside):
    """The TOOL of the resumed run has the text that the model got instead of a result."""
    tool = function_tool(book, needs_approval=True)
    other = function_tool(add_one, needs_approval=True)
    calls = [Calls("book", {"city": "Rome"}), Calls("add_one", {"a": 1})][: 1 + beside]
    agent = agent_of(calls, Says("then not"), tools=[tool, other])
    with recorded() as captured:
        state = (await Runner.run(agent, "hi")).to_state()
        state.reject(state.get_interruptions()[0])
        for approved in state.get_interruptions()[1:]:
            state.approve(approved)
        await Runner.run(agent, state)

    first, resumed = captured.traces()
    waiting, rejected = ([tool for tool in tools_in(trace) if tool.name == "book"] for trace in (first, resumed))
    (waiting,), (rejected,) = waiting, rejected
    assert [str(tool.status) for tool in tools_in(resumed) if tool is not rejected] == ["success"] * beside
    assert [str(tool.status) for tool in (waiting, rejected)] == ["interrupted", "error"]
    assert rejected.metadata["tool_call_id"] == waiting.metadata["tool_call_id"]
    assert "not approved" in rejected.error


def add_one(a: int) -> int:
    """Add one."""
    return a + 1


def book(city: str) -> str:
    """Book a trip."""
    raise AssertionError("a rejected tool is not called")


@streamed_or_not
async def test_a_call_that_a_guardrail_rejects_is_a_tool_that_failed(streamed):
    """The model gets the guardrail's text; the TOOL has it as its error, with the name of the guardrail."""
    if not hasattr(agents, "tool_input_guardrail"):
        pytest.skip("this SDK's tools have no guardrails")

    @agents.tool_input_guardrail
    def no_trips(data: Any) -> Any:
        return agents.ToolGuardrailFunctionOutput.reject_content("no trips today")

    tool = function_tool(book, tool_input_guardrails=[no_trips])
    with recorded() as captured:
        await run(agent_of(Calls("book", {"city": "Rome"}), Says("sorry"), tools=[tool]), streamed=streamed)

    rejected = tool_of(captured.traces()[0])
    assert (str(rejected.status), rejected.error, rejected.input) == ("error", "no trips today", {"city": "Rome"})
    assert rejected.metadata["rejected_by"] == "no_trips"


async def test_a_call_of_a_run_that_a_guardrail_stopped_is_cancelled():
    """The model has answered when the guardrail stops the run, and the tool is not called."""
    has_answered, is_stopped = asyncio.Event(), asyncio.Event()

    class Slow(ScriptedModel):
        async def get_response(self, *args: Any, **options: Any) -> Any:
            answer = await super().get_response(*args, **options)
            has_answered.set()
            await is_stopped.wait()
            return answer

    @input_guardrail
    async def stop(ctx: Any, agent: Any, asked: Any) -> GuardrailFunctionOutput:
        await has_answered.wait()
        return GuardrailFunctionOutput(output_info=None, tripwire_triggered=True)

    agent = Agent(name="A", model=Slow(Calls("add", {"a": 1})), tools=[add], input_guardrails=[stop])
    with recorded() as captured, pytest.raises(AgentsException):
        await Runner.run(agent, "hi")
    is_stopped.set()

    assert str(tool_of(captured.traces()[0]).status) == "cancelled"


@streamed_or_not
async def test_without_sensitive_data_an_unknown_tool_is_not_recorded(streamed):
    """The answer of the model stays out of the trace, and its calls with it."""
    config = RunConfig(trace_include_sensitive_data=False)
    with recorded() as captured, pytest.raises(AgentsException):
        await run(agent_of(Calls("nope", {"x": "s3cret"})), streamed=streamed, run_config=config)

    assert "s3cret" not in str(captured.traces()[0].model_dump())


async def test_a_resumed_agent_has_no_pending_calls_of_an_earlier_run():
    """Each run has the calls of its own answers."""
    agent: Agent[Any] = agent_of(Calls("add", {"a": 1}), Says("ok"), tools=[add])
    with recorded() as captured:
        await run(agent)
        await run(agent)

    assert [len(tools_in(trace)) for trace in captured.traces()] == [1, 1]
