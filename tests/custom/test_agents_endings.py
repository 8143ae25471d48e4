"""How runs of the Agents SDK end, plain and streamed: only what succeeded has the status success."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from agents import (
    GuardrailFunctionOutput,
    InputGuardrailTripwireTriggered,
    MaxTurnsExceeded,
    OutputGuardrailTripwireTriggered,
    RunConfig,
    Runner,
    function_tool,
    input_guardrail,
    output_guardrail,
)
from custom.agents_aid import Calls, Says, add, agent_of, recorded, run, until

import fluxloop
from fluxloop.models import Trace

streamed_or_not = pytest.mark.parametrize("streamed", [False, True], ids=["plain", "streamed"])


@input_guardrail
async def no_questions(ctx: Any, agent: Any, asked: Any) -> GuardrailFunctionOutput:
    return GuardrailFunctionOutput(output_info="asked", tripwire_triggered=True)


@output_guardrail
async def no_answers(ctx: Any, agent: Any, said: Any) -> GuardrailFunctionOutput:
    return GuardrailFunctionOutput(output_info="said", tripwire_triggered=True)


def slow_tool() -> tuple[Any, asyncio.Event]:
    """Return a tool that never returns, and an event that is set when it starts."""
    begun = asyncio.Event()

    @function_tool
    async def slow() -> str:
        begun.set()
        await asyncio.sleep(60)
        return "late"

    return slow, begun


def endings(trace: Trace) -> dict[str, str]:
    """Return the status of each observation, by name."""
    return {o.name: str(o.status) for o in trace.observations}


@streamed_or_not
async def test_a_tripped_input_guardrail_ends_agent_and_run_as_errors(streamed):
    """The SDK reports it on a turn at most; the guardrail itself succeeded, with the level WARNING."""
    with recorded() as captured, pytest.raises(InputGuardrailTripwireTriggered):
        await run(agent_of(Says("x"), input_guardrails=[no_questions]), streamed=streamed)

    found = captured.traces()[0]
    guardrail = next(o for o in found.observations if o.name == "no_questions")
    agent = next(o for o in found.observations if o.name == "A")
    assert (guardrail.status, guardrail.level.value, guardrail.output) == ("success", "warning", {"triggered": True})
    assert (agent.status, agent.metadata["guardrail"] if streamed else "no_questions") == ("error", "no_questions")
    assert (found.status, "uardrail" in str(found.error)) == ("error", True)


@streamed_or_not
async def test_after_a_tripped_output_guardrail_the_agent_has_no_output(streamed):
    """The agent has an error and no output, since the program received none."""
    with recorded() as captured, pytest.raises(OutputGuardrailTripwireTriggered):
        await run(agent_of(Says("x"), output_guardrails=[no_answers]), streamed=streamed)

    found = captured.traces()[0]
    agent = next(o for o in found.observations if o.name == "A")
    assert (agent.status, agent.output, agent.metadata["guardrail"]) == ("error", None, "no_answers")
    assert (found.status, found.output) == ("error", None)


@streamed_or_not
async def test_a_run_ends_with_the_exception_of_a_failing_guardrail(streamed):
    """The SDK cancels the streamed run beside it, and raises the guardrail's exception: the status is error."""

    @input_guardrail
    async def broken(ctx: Any, agent: Any, asked: Any) -> GuardrailFunctionOutput:
        await asyncio.sleep(0.01)
        raise LookupError("no rules")

    with recorded() as captured, pytest.raises(LookupError):
        await run(agent_of(Says("x y z"), delay_s=0.2, input_guardrails=[broken]), streamed=streamed)
    await until(lambda: captured.traces()[0].status)

    found = captured.traces()[0]
    assert endings(found) | {"response": None} == {
        "Agent workflow": "error",
        "A": "error",
        "broken": "error",
        "response": None,
    }
    assert found.error == "no rules"


@streamed_or_not
async def test_too_many_turns_are_an_error_of_the_agent(streamed):
    """The tools of the agent succeeded; the agent failed."""
    with recorded() as captured, pytest.raises(MaxTurnsExceeded):
        await run(agent_of(Calls("add", {"a": 1, "b": 1}), tools=[add]), max_turns=1, streamed=streamed)

    found = captured.traces()[0]
    assert endings(found) | {"Agent workflow": str(found.status)} == {
        "Agent workflow": "error",
        "A": "error",
        "response": "success",
        "add": "success",
    }


@streamed_or_not
async def test_the_exception_of_a_model_is_on_the_agent_and_the_run_too(streamed):
    """Model call, agent and run have its class and message, also if the run is not streamed."""
    with recorded() as captured, pytest.raises(ConnectionError):
        await run(agent_of(ConnectionError("no route")), streamed=streamed)

    found = captured.traces()[0]
    assert set(endings(found).values()) == {"error"}
    assert {o.metadata["error_type"] for o in found.observations} == {"ConnectionError"}
    assert found.error == "no route"


async def test_if_the_model_gets_a_tools_error_only_the_tool_fails():
    """The agent continues, and succeeds."""
    with recorded() as captured:
        await run(agent_of(Calls("add", {"a": -1, "b": 1}), Says("ok"), tools=[add]))

    assert endings(captured.traces()[0]) == {
        "Agent workflow": "success",
        "A": "success",
        "response": "success",
        "add": "error",
    }


async def test_a_cancelled_run_is_cancelled_down_to_its_tool():
    """The SDK closes the tool's span after everything else, or never."""
    slow, begun = slow_tool()
    with recorded() as captured:
        task = asyncio.create_task(run(agent_of(Calls("slow"), tools=[slow])))
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await until(lambda: captured.traces()[0].status)

    assert endings(captured.traces()[0]) == {
        "Agent workflow": "cancelled",
        "A": "cancelled",
        "response": "success",
        "slow": "cancelled",
    }


async def test_a_cancelled_stream_is_cancelled():
    """`cancel()` leaves the SDK's spans without an error; the observations have the status cancelled."""
    with recorded() as captured:
        result = Runner.run_streamed(agent_of(Says("one two three four five"), delay_s=0.02), "hi")
        async for event in result.stream_events():
            if event.type == "raw_response_event" and "delta" in event.data.type:
                result.cancel()
        await until(lambda: captured.traces()[0].status)

    assert set(endings(captured.traces()[0]).values()) == {"cancelled"}


async def test_a_stream_that_is_closed_early_is_abandoned_or_runs_to_its_end():
    """Some releases close the run's trace with the stream, others let the run finish; neither is an error."""
    with recorded() as captured:
        events = Runner.run_streamed(agent_of(Says("one two")), "hi").stream_events()
        await anext(events)
        await events.aclose()  # type: ignore[attr-defined]
        await until(lambda: captured.traces() and captured.traces()[0].status)

    assert captured.traces()[0].status in ("abandoned", "success", "cancelled")


async def test_an_exception_that_the_program_is_handling_is_not_the_runs():
    """A run inside an ``except`` block does not fail with the exception of that block."""
    with recorded() as captured:
        try:
            raise KeyError("before")
        except KeyError:
            await run(agent_of(Calls("add", {"a": 1, "b": 1}), Says("ok"), tools=[add]))

    assert set(endings(captured.traces()[0]).values()) == {"success"}


async def test_a_trace_whose_second_run_succeeds_is_a_success():
    """The last run inside a trace of the SDK decides its status."""
    from agents import trace

    with recorded() as captured, trace("retried"):
        with pytest.raises(ConnectionError):
            await run(agent_of(ConnectionError("no route")))
        await run(agent_of(Says("ok")))

    assert captured.traces()[0].status == "success"


def needing_approval(answer: str | None = "done") -> Any:
    """Return a tool that needs an approval; skip if the installed SDK has no such tools."""
    try:
        return function_tool(lambda: answer, name_override="transfer", needs_approval=True)  # type: ignore[call-overload]
    except TypeError:
        pytest.skip("this SDK's tools need no approval")


async def approved(result: Any, **options: Any) -> Any:
    """Approve the first call that *result* waits for, and resume the run."""
    state = result.to_state()
    state.approve(result.interruptions[0])
    return await Runner.run(result.last_agent, state, **options)


async def test_a_run_that_waits_for_an_approval_is_interrupted_and_can_be_resumed():
    """The resumed run is a trace of its own, with the same trace id of the SDK."""
    agent = agent_of(Calls("transfer"), Says("ok"), tools=[needing_approval()])
    with recorded() as captured:
        result = await Runner.run(agent, "hi", run_config=RunConfig(group_id="thread-1"))
        await approved(result, run_config=RunConfig(group_id="thread-1"))

    first, second = captured.traces()
    assert endings(first) == {
        "Agent workflow": "interrupted",
        "A": "interrupted",
        "response": "success",
        "transfer": "interrupted",
    }
    assert set(endings(second).values()) == {"success"}
    assert first.metadata["agents_trace_id"] == second.metadata["agents_trace_id"]
    assert first.session_id == second.session_id == "thread-1"


async def test_a_run_that_is_resumed_inside_a_trace_adds_no_level():
    """Its workflow is folded, as the workflow of the run that waited is."""
    with recorded() as captured, fluxloop.instrument("outer"):
        await approved(await Runner.run(agent_of(Calls("transfer"), Says("ok"), tools=[needing_approval()]), "hi"))

    assert [o.name for o in captured.traces()[0].observations if o.type.name in ("SPAN", "CHAIN", "AGENT")] == [
        "outer",
        "A",
        "A",
    ]


@streamed_or_not
async def test_a_tool_beside_one_that_waits_does_not_end_the_wait(streamed):
    """One of two calls in an answer is done, the other waits: agent and run are interrupted, without output."""
    turn = [Calls("transfer"), Calls("add", {"a": 1, "b": 1})]
    with recorded() as captured:
        await run(agent_of(turn, Says("ok"), tools=[needing_approval(), add]), streamed=streamed)

    found = captured.traces()[0]
    assert endings(found) == {
        "Agent workflow": "interrupted",
        "A": "interrupted",
        "response": "success",
        "transfer": "interrupted",
        "add": "success",
    }
    assert found.output is None


async def test_an_approval_inside_an_agent_used_as_a_tool_interrupts_the_outer_run():
    """The tool of the inner agent waits, and so do the agent's tool and the run around it."""
    inner = agent_of(Calls("transfer"), Says("inner"), name="Inner", tools=[needing_approval()])
    agent = agent_of(Calls("ask", {"input": "q"}), Says("ok"), tools=[inner.as_tool("ask", "Asks.")])
    with recorded() as captured:
        result = await Runner.run(agent, "hi")
        if not result.interruptions:
            pytest.skip("this SDK does not hand an inner agent's requests on")
        await approved(result)

    first, second = captured.traces()
    assert endings(first) == {"response": "success"} | dict.fromkeys(
        ["Agent workflow", "A", "ask", "Inner", "transfer"], "interrupted"
    )
    assert set(endings(second).values()) == {"success"}


@pytest.mark.parametrize("includes_data", [True, False], ids=["with data", "without sensitive data"])
async def test_an_approved_tool_that_returns_nothing_is_a_success(includes_data):
    """It is interrupted before the approval only, with and without sensitive data in the trace."""
    agent = agent_of(Calls("transfer"), Says("ok"), tools=[needing_approval(None)])
    config = RunConfig(trace_include_sensitive_data=includes_data)
    with recorded() as captured:
        await approved(await Runner.run(agent, "hi", run_config=config), run_config=config)

    assert [endings(trace)["transfer"] for trace in captured.traces()] == ["interrupted", "success"]


@streamed_or_not
async def test_a_tool_that_returns_none_is_not_interrupted(streamed):
    """None is a result."""

    @function_tool
    def quiet() -> None: ...

    with recorded() as captured:
        await run(agent_of(Calls("quiet"), Says("ok"), tools=[quiet]), streamed=streamed)

    assert set(endings(captured.traces()[0]).values()) == {"success"}


async def test_an_agent_that_hands_over_has_no_output():
    """The output of the run is that of the second agent; the result of a tool is not the first agent's."""
    writer = agent_of(Says("written"), name="Writer")
    turn = [Calls("transfer_to_writer"), Calls("add", {"a": 1, "b": 1})]
    with recorded() as captured:
        await run(agent_of(turn, tools=[add], handoffs=[writer]))

    answers = {o.name: o.output for o in captured.traces()[0].observations if o.type.name == "AGENT"}
    assert answers == {"A": None, "Writer": "written"}


async def test_with_stop_on_first_tool_the_agents_output_is_the_tools():
    """No model is called after the tool."""
    with recorded() as captured:
        agent = agent_of(Calls("add", {"a": 1, "b": 1}), tools=[add], tool_use_behavior="stop_on_first_tool")
        await run(agent)

    assert captured.traces()[0].output == 2


async def test_shutting_down_ends_what_is_open():
    """Observations that are open when the program ends are written as abandoned."""
    from agents.tracing import get_trace_provider

    slow, begun = slow_tool()
    with recorded() as captured:
        task = asyncio.create_task(run(agent_of(Calls("slow"), tools=[slow])))
        await begun.wait()
        get_trace_provider().shutdown()
        found = captured.traces()[0]
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    assert endings(found)["A"] == "abandoned"
    assert fluxloop.get_current_context() is None
