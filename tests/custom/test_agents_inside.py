"""Runs and model calls inside tools, guardrails and hooks are separate: their outputs and failures are their own."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from agents import (
    Agent,
    GuardrailFunctionOutput,
    RunConfig,
    RunHooks,
    Runner,
    custom_span,
    function_tool,
    input_guardrail,
    output_guardrail,
    trace,
)
from custom.agents_aid import Calls, Says, ScriptedModel, add, agent_of, recorded, run, without_models

PASSED = GuardrailFunctionOutput(output_info=None, tripwire_triggered=False)

streamed_or_not = pytest.mark.parametrize("streamed", [False, True], ids=["plain", "streamed"])


async def judge() -> None:
    """Run another agent."""
    await Runner.run(agent_of(Says("harmless"), name="Judge"), "is it harmless?")


async def failing_judge() -> str:
    """Run an agent that fails, and catch its exception."""
    try:
        await Runner.run(agent_of(ConnectionError("no route"), name="Judge"), "is it harmless?")
    except ConnectionError:
        return "not known"
    return "known"


@input_guardrail
async def judges_questions(ctx: Any, agent: Any, asked: Any) -> GuardrailFunctionOutput:
    await judge()
    return PASSED


@output_guardrail
async def judges_answers(ctx: Any, agent: Any, said: Any) -> GuardrailFunctionOutput:
    await judge()
    return PASSED


@output_guardrail
async def gives_up(ctx: Any, agent: Any, said: Any) -> GuardrailFunctionOutput:
    await failing_judge()
    return PASSED


class Judging(RunHooks):  # type: ignore[type-arg]
    async def on_agent_end(self, *args: Any, **kwargs: Any) -> None:
        if args[1].name == "A":
            await judge()


class GivingUp(RunHooks):  # type: ignore[type-arg]
    async def on_agent_end(self, *args: Any, **kwargs: Any) -> None:
        if args[1].name == "A":
            await failing_judge()


@streamed_or_not
@pytest.mark.parametrize(
    ("options", "hooks"),
    [
        ({"input_guardrails": [judges_questions]}, None),
        ({"output_guardrails": [judges_answers]}, None),
        ({}, Judging()),
    ],
    ids=["input guardrail", "output guardrail", "hook"],
)
async def test_input_and_output_of_a_judge_are_not_the_agents(options, hooks, streamed):
    """The agent has its own input and output if a guardrail or hook runs another agent."""
    with recorded() as captured:
        await run(agent_of(Says("hello"), **options), question="hi", hooks=hooks, streamed=streamed)

    (trace,) = captured.traces()
    (guarded,) = (o for o in trace.observations if o.name == "A")
    assert (guarded.input, guarded.output) == (trace.input, trace.output) == ("hi", "hello")


@streamed_or_not
@pytest.mark.parametrize(
    ("options", "hooks"),
    [({"output_guardrails": [gives_up]}, None), ({}, GivingUp())],
    ids=["guardrail", "hook"],
)
async def test_a_failure_that_a_guardrail_or_hook_catches_is_not_the_runs(options, hooks, streamed):
    """Only the judge and its model call have the status error."""
    with recorded() as captured:
        await run(agent_of(Says("hello"), **options), hooks=hooks, streamed=streamed)

    (trace,) = captured.traces()
    assert {o.name for o in trace.observations if o.status == "error"} == {"Judge", "response"}
    assert (trace.status, trace.output) == ("success", "hello")


async def test_a_failure_that_a_tool_catches_is_not_the_tools():
    """A tool that returns is a success."""
    tool = function_tool(failing_judge)
    with recorded() as captured:
        await run(agent_of(Calls("failing_judge"), Says("ok"), tools=[tool]))

    assert without_models(captured.traces()[0]) == (
        "AGENT A('hi') -> 'ok'\n"
        "  TOOL failing_judge({}) -> 'not known'\n"
        "    AGENT Judge('is it harmless?') [error: no route]"
    )


async def test_a_failure_that_the_program_catches_is_not_its_traces():
    """A trace or span that the program opened has the status of its block."""
    with recorded() as captured:
        with trace("caught"), custom_span("step"):
            await failing_judge()
        with trace("caught too"):
            await failing_judge()
        with pytest.raises(ConnectionError), trace("failed"):
            await run(agent_of(ConnectionError("no route")))

    assert [trace.status for trace in captured.traces()] == ["success", "success", "error"]
    assert captured.traces()[0].observations[1].status == "success"


@pytest.mark.parametrize("streamed", [False, True], ids=["plain", "streamed"])
async def test_concurrent_runs_may_share_their_trace_id(streamed, caplog):
    """They are one trace, which ends with the last run, without a warning about two processors."""
    config = RunConfig(trace_id="trace_" + "7" * 32)
    agents = [agent_of(Says("one"), name="A"), agent_of(Calls("add", {"a": 1}), Says("two"), name="B", tools=[add])]
    with recorded() as captured:
        await asyncio.gather(*(run(agent, run_config=config, streamed=streamed) for agent in agents))

    (trace,) = captured.traces()
    assert {o.name: str(o.status) for o in trace.observations} == dict.fromkeys(
        ("Agent workflow", "A", "B", "response", "add"), "success"
    )
    assert not caplog.records


@pytest.mark.parametrize("approved", [False, True], ids=["waits", "approved"])
async def test_a_shell_that_needs_an_approval_interrupts_the_run(approved):
    """A shell tool waits as a function tool does."""
    agents = pytest.importorskip("agents")
    if "needs_approval" not in getattr(getattr(agents, "ShellTool", None), "__dataclass_fields__", ()):
        pytest.skip("this SDK's shells need no approval")
    shell = agents.ShellTool(executor=lambda request: "", needs_approval=not approved)
    with recorded() as captured:
        await run(Agent(name="A", model=Shelling(Says("done")), tools=[shell]))

    ending = "success" if approved else "interrupted"
    statuses = {o.name: str(o.status) for o in captured.traces()[0].observations}
    assert statuses == {"Agent workflow": ending, "A": ending, "response": "success", "shell": ending}


class Shelling(ScriptedModel):
    """Asks for a shell command in its first answer."""

    def _answer(self, input: Any, span: Any, tracing: Any) -> Any:
        from openai.types.responses import ResponseFunctionShellToolCall

        response = super()._answer(input, span, tracing)
        if len(self.asked) == 1:
            call = {
                "id": "s",
                "call_id": "c",
                "type": "shell_call",
                "status": "completed",
                "action": {"commands": ["ls"]},
            }
            response.output = [ResponseFunctionShellToolCall.model_validate(call)]
        return response
