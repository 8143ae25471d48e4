"""How runs of the Agents SDK end, plain and streamed: nothing is called a success that is none."""

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
    """Return a tool that takes for ever, and what is set when it has begun."""
    begun = asyncio.Event()

    @function_tool
    async def slow() -> str:
        begun.set()
        await asyncio.sleep(60)
        return "late"

    return slow, begun


def endings(trace: Trace) -> dict[str, str]:
    """Return how each observation ended, by its name."""
    return {o.name: str(o.status) for o in trace.observations}


@streamed_or_not
async def test_a_tripped_input_guardrail_ends_agent_and_run_as_errors(streamed):
    """The SDK notes it on a turn at most; the guardrail itself did its work, and warns."""
    with recorded() as captured, pytest.raises(InputGuardrailTripwireTriggered):
        await run(agent_of(Says("x"), input_guardrails=[no_questions]), streamed=streamed)

    found = captured.traces()[0]
    guardrail = next(o for o in found.observations if o.name == "no_questions")
    agent = next(o for o in found.observations if o.name == "A")
    assert (guardrail.status, guardrail.level.value, guardrail.output) == ("success", "warning", {"triggered": True})
    assert (agent.status, agent.metadata["guardrail"] if streamed else "no_questions") == ("error", "no_questions")
    assert (found.status, "uardrail" in str(found.error)) == ("error", True)


@streamed_or_not
async def test_a_tripped_output_guardrail_takes_the_answer_back(streamed):
    """The agent has an error and no output: nobody got the words."""
    with recorded() as captured, pytest.raises(OutputGuardrailTripwireTriggered):
        await run(agent_of(Says("x"), output_guardrails=[no_answers]), streamed=streamed)

    found = captured.traces()[0]
    agent = next(o for o in found.observations if o.name == "A")
    assert (agent.status, agent.output, agent.metadata["guardrail"]) == ("error", None, "no_answers")
    assert (found.status, found.output) == ("error", None)


@streamed_or_not
async def test_a_guardrail_that_fails_is_what_ends_the_run(streamed):
    """The SDK cancels a streamed run beside it, and raises the guardrail's exception: nobody cancelled anything."""

    @input_guardrail
    async def broken(ctx: Any, agent: Any, asked: Any) -> GuardrailFunctionOutput:
        await asyncio.sleep(0.01)
        raise LookupError("no rules")

    with recorded() as captured, pytest.raises(LookupError):
        await run(agent_of(Says("x y z"), delay_s=0.02, input_guardrails=[broken]), streamed=streamed)
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
    """Its tools succeeded, and it did not."""
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
async def test_a_failing_model_leaves_its_exception_all_the_way_up(streamed):
    """Model call, agent and run know class and message; non-streamed runs too."""
    with recorded() as captured, pytest.raises(ConnectionError):
        await run(agent_of(ConnectionError("no route")), streamed=streamed)

    found = captured.traces()[0]
    assert set(endings(found).values()) == {"error"}
    assert {o.metadata["error_type"] for o in found.observations} == {"ConnectionError"}
    assert found.error == "no route"


async def test_a_failing_tool_that_the_model_hears_of_fails_alone():
    """The agent goes on, and succeeds."""
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


async def test_a_cancelled_stream_is_no_success():
    """`cancel()` leaves the SDK's spans without an error; ours say what happened."""
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


async def test_an_exception_the_program_deals_with_is_not_the_runs():
    """A run started inside an ``except`` block is not ended by what the block is about."""
    with recorded() as captured:
        try:
            raise KeyError("before")
        except KeyError:
            await run(agent_of(Calls("add", {"a": 1, "b": 1}), Says("ok"), tools=[add]))

    assert set(endings(captured.traces()[0]).values()) == {"success"}


async def test_a_run_that_failed_and_was_tried_again_ends_well():
    """Inside one of the SDK's traces the last run decides."""
    from agents import trace

    with recorded() as captured, trace("retried"):
        with pytest.raises(ConnectionError):
            await run(agent_of(ConnectionError("no route")))
        await run(agent_of(Says("ok")))

    assert captured.traces()[0].status == "success"


def needing_approval(answer: str | None = "done") -> Any:
    """Return a tool that waits for a human, where the installed SDK knows such tools."""
    try:
        return function_tool(lambda: answer, name_override="transfer", needs_approval=True)  # type: ignore[call-overload]
    except TypeError:
        pytest.skip("this SDK's tools need no approval")


async def approved(result: Any, **options: Any) -> Any:
    """Approve the first thing that *result* waits for, and go on with the run."""
    state = result.to_state()
    state.approve(result.interruptions[0])
    return await Runner.run(result.last_agent, state, **options)


async def test_a_run_that_waits_for_an_approval_is_interrupted_and_can_go_on():
    """Neither a success nor an error; what comes after the approval is a trace of its own, linked by the SDK's id."""
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


async def test_a_run_that_goes_on_inside_a_trace_adds_no_level_either():
    """Its workflow is folded as that of the run that waited, of which it is the second half."""
    with recorded() as captured, fluxloop.instrument("outer"):
        await approved(await Runner.run(agent_of(Calls("transfer"), Says("ok"), tools=[needing_approval()]), "hi"))

    assert [o.name for o in captured.traces()[0].observations if o.type.name in ("SPAN", "CHAIN", "AGENT")] == [
        "outer",
        "A",
        "A",
    ]


@streamed_or_not
async def test_a_tool_beside_one_that_waits_does_not_end_the_wait(streamed):
    """Of two calls in one answer one is done and one waits: so do agent and run, which have no answer yet."""
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


async def test_a_wait_inside_an_agent_used_as_a_tool_is_everyones():
    """The inner agent's tool waits, hence the tool that is the agent, and the run around it."""
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


@pytest.mark.parametrize("includes_data", [True, False], ids=["told", "withheld"])
async def test_an_approved_tool_that_returns_nothing_was_run(includes_data):
    """It waits before the approval and not afterwards, whether or not the trace may hold what it returns."""
    agent = agent_of(Calls("transfer"), Says("ok"), tools=[needing_approval(None)])
    config = RunConfig(trace_include_sensitive_data=includes_data)
    with recorded() as captured:
        await approved(await Runner.run(agent, "hi", run_config=config), run_config=config)

    assert [endings(trace)["transfer"] for trace in captured.traces()] == ["interrupted", "success"]


@streamed_or_not
async def test_a_tool_that_returns_nothing_is_no_interruption(streamed):
    """None is an answer like any other."""

    @function_tool
    def quiet() -> None: ...

    with recorded() as captured:
        await run(agent_of(Calls("quiet"), Says("ok"), tools=[quiet]), streamed=streamed)

    assert set(endings(captured.traces()[0]).values()) == {"success"}


async def test_a_tools_answer_is_not_that_of_an_agent_that_hands_over():
    """The one the run is handed to has the last word, and the first one none."""
    writer = agent_of(Says("written"), name="Writer")
    turn = [Calls("transfer_to_writer"), Calls("add", {"a": 1, "b": 1})]
    with recorded() as captured:
        await run(agent_of(turn, tools=[add], handoffs=[writer]))

    answers = {o.name: o.output for o in captured.traces()[0].observations if o.type.name == "AGENT"}
    assert answers == {"A": None, "Writer": "written"}


async def test_a_tools_answer_is_the_agents_where_the_sdk_stops_at_it():
    """With ``stop_on_first_tool`` no model has the last word."""
    with recorded() as captured:
        agent = agent_of(Calls("add", {"a": 1, "b": 1}), tools=[add], tool_use_behavior="stop_on_first_tool")
        await run(agent)

    assert captured.traces()[0].output == 2


async def test_shutting_down_ends_what_is_open():
    """When the program ends in the middle of a run, what it had begun is written as abandoned."""
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
