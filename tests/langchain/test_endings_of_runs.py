"""
Honest endings: streams left early, tasks cancelled, time run out, steps that steer rather than fail.
"""

from __future__ import annotations

import asyncio
import time
from importlib.util import find_spec

import pytest
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import RunnableLambda
from langchain_core.tools import ToolException, tool
from scripted_models import ScriptedModel, calls

import fluxloop
from fluxloop_langchain import FluxLoopCallbackHandler

CHAIN = (
    ChatPromptTemplate.from_messages([("user", "{question}")])
    | ScriptedModel(replies=["Tigers hunt at night."])
    | StrOutputParser()
)
QUESTION = {"question": "Who?"}

needs_langgraph = pytest.mark.skipif(find_spec("langgraph") is None, reason="needs langgraph")
needs_langchain = pytest.mark.skipif(find_spec("langchain") is None, reason="needs langchain")


def statuses(captured):
    """Name and status of everything recorded."""
    return {(o.name, o.status.value) for trace in captured.traces() for o in trace.observations}


def test_a_stream_left_by_break_is_abandoned(captured, config):
    """
    Nothing failed: the consumer had enough. The model's pieces until then are its output.
    """
    for _ in CHAIN.stream(QUESTION, config):
        break
    (trace,) = captured.traces()

    assert statuses(captured) == {("RunnableSequence", "abandoned"), ("ScriptedModel", "abandoned")}
    assert (trace.status.value, trace.error, trace.input) == ("abandoned", None, QUESTION)
    assert "Tigers" in str(trace.observations[1].output)


async def test_an_async_stream_closed_early_is_abandoned(captured, config):
    """
    LangChain tells of the chain's end before it tells of the model's: the model ends with the chain.
    """
    stream = CHAIN.astream(QUESTION, config)
    async for _ in stream:
        break
    await stream.aclose()
    await asyncio.sleep(0.01)  # the loop closes what is inside

    assert statuses(captured) == {("RunnableSequence", "abandoned"), ("ScriptedModel", "abandoned")}


async def test_a_cancelled_task_is_cancelled(captured, config):
    """
    Cancellation is neither an error nor a success, and reaches everything that was open.
    """

    async def slow(_):
        await asyncio.sleep(60)

    task = asyncio.create_task((RunnableLambda(slow) | StrOutputParser()).ainvoke("x", config))
    await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert statuses(captured) == {("RunnableSequence", "cancelled"), ("slow", "cancelled")}


async def test_time_that_runs_out_is_cancelled_inside_and_an_error_outside(captured, config):
    """
    What was stopped is cancelled; the caller, who gets a TimeoutError, fails.
    """

    async def slow(_):
        await asyncio.sleep(60)

    @fluxloop.agent
    async def assistant():
        async with asyncio.timeout(0.05):
            await RunnableLambda(slow).ainvoke("x", config)

    with pytest.raises(TimeoutError):
        await assistant()

    assert statuses(captured) == {("assistant", "error"), ("slow", "cancelled")}


def test_an_error_goes_up_through_every_run_it_ends(captured, config):
    """
    The step that failed and the chain that failed by it: same message, one traceback each, without our frames.
    """

    def divide(number):
        return 1 / number

    with pytest.raises(ZeroDivisionError):
        (RunnableLambda(divide) | StrOutputParser()).invoke(0, config)

    assert captured.outline() == (
        "CHAIN RunnableSequence [error: division by zero]\n  CHAIN divide [error: division by zero]"
    )
    assert "fluxloop" not in captured.traces()[0].observations[0].metadata["traceback"]


def test_what_stops_the_program_is_no_error(captured, config):
    """
    A KeyboardInterrupt in the middle of a step cancels it.
    """

    def stopped(_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        RunnableLambda(stopped).invoke("x", config)

    assert statuses(captured) == {("stopped", "cancelled")}


def test_a_tool_error_told_to_the_model_is_an_error_of_the_tool(captured, config):
    """
    LangChain turns a tool's exception into a message for the model; the tool has failed all the same.
    """

    @tool
    def search(query: str) -> str:
        """Search."""
        raise ToolException("no network")

    search.handle_tool_error = True
    message = search.invoke({"name": "search", "args": {"query": "x"}, "id": "c", "type": "tool_call"}, config)

    assert message.status == "error"
    assert captured.outline() == "TOOL search [error: no network] -> 'no network'"


def test_wrong_arguments_are_an_error_of_the_tool(captured, config):
    """
    A tool that was never reached because its arguments do not fit is recorded with the reason.
    """

    @tool
    def search(query: str) -> str:
        """Search."""
        return query

    with pytest.raises(ValueError, match="query"):
        search.invoke({"wrong": 1}, config)

    assert "TOOL search [error:" in captured.outline()


def test_a_run_whose_end_never_comes_ends_with_what_is_above(captured, config):
    """
    A child nobody ends is abandoned when its parent ends, and the ledger forgets it.
    """
    handler = FluxLoopCallbackHandler()
    handler.on_chain_start(None, {"x": 1}, run_id="root", name="root")
    handler.on_chain_start(None, {"x": 1}, run_id="child", parent_run_id="root", name="child")
    handler.on_chat_model_start({"name": "model"}, [[]], run_id="model", parent_run_id="child")
    handler.on_chain_end("done", run_id="root")

    assert captured.outline() == "CHAIN root -> 'done'\n  CHAIN child [abandoned]\n    GENERATION model [abandoned]"
    assert len(handler.ledger) == 0


@needs_langgraph
def test_an_interrupt_in_a_tool_is_no_error(captured, config):
    """
    LangGraph's exceptions steer the graph: waiting on a human is interrupted, in the tool and around it.
    They are recognised by class, and a user's exception of the same name is an error.
    """
    from langgraph.errors import GraphInterrupt

    @tool
    def ask(question: str) -> str:
        """Ask a human."""
        raise GraphInterrupt(())

    with pytest.raises(GraphInterrupt):
        RunnableLambda(lambda question: ask.invoke(question)).with_config(run_name="node").invoke("Sure?", config)
    impostor = type("GraphInterrupt", (Exception,), {})

    def fails(_):
        raise impostor("mine")

    with pytest.raises(impostor):
        RunnableLambda(fails).invoke("x", config)

    assert statuses(captured) == {("node", "interrupted"), ("ask", "interrupted"), ("fails", "error")}


@needs_langchain
async def test_an_agent_left_in_the_middle_of_its_answer_closes_everything(captured, config):
    """
    Breaking out of an agent's message stream tells nothing of the model: it ends with the node it ran in.
    """
    from langchain.agents import create_agent

    agent = create_agent(ScriptedModel(replies=["Tigers hunt at night."]), [])
    stream = agent.astream({"messages": [("user", "Who?")]}, config, stream_mode="messages")
    async for _ in stream:
        break
    await stream.aclose()
    (trace,) = captured.traces()

    assert trace.status.value == "abandoned"
    assert {o.status.value for o in trace.observations} <= {"abandoned", "cancelled"}
    assert [o for o in trace.observations if o.type.name == "GENERATION"]


def test_nothing_leaks_into_the_next_run(captured, config):
    """
    After a stream that was left early the next run is a trace of its own.
    """
    for _ in CHAIN.stream(QUESTION, config):
        break
    CHAIN.invoke(QUESTION, config)

    assert [trace.status.value for trace in captured.traces()] == ["abandoned", "success"]


def test_a_failing_storage_stops_nothing(config):
    """
    Where records cannot be kept, the chain runs as if nobody recorded it, and the loss is counted.
    """

    class Broken:
        def write(self, records):
            raise OSError("disk full")

        def close(self):
            pass

    mine = fluxloop.FluxLoopClient(storage=Broken())
    answer = CHAIN.invoke(QUESTION, {"callbacks": [FluxLoopCallbackHandler(client=mine)]})

    assert answer == "Tigers hunt at night."
    assert mine.report().failed == 3


def test_values_that_refuse_to_be_read_stop_nothing(config):
    """
    Inputs with broken attributes, outputs that cannot be compared: recorded as well as can be.
    """

    class Hostile:
        def __eq__(self, other):
            raise RuntimeError("do not compare me")

        __hash__ = None

        def __getattr__(self, name):
            raise RuntimeError("do not look at me")

    mine = fluxloop.FluxLoopClient(storage="memory")
    given = Hostile()
    config = {"callbacks": [FluxLoopCallbackHandler(client=mine)], "metadata": {"it": given}, "tags": ["x"]}

    assert (RunnableLambda(lambda value: value) | RunnableLambda(lambda value: value)).invoke(given, config) is given
    assert mine.report().written == 4
    assert mine.report().problems == ()


def test_tokens_and_calls_are_told_apart_from_nothing(captured, config):
    """
    A model that asks for a tool and says nothing has an empty content, not none.
    """
    ScriptedModel(replies=[calls("add", {"a": 1})]).invoke("x", config)

    assert captured.traces()[0].output["content"] == ""


def test_a_slow_reader_does_not_make_the_model_slow(captured, config):
    """
    The generation ends when the model has said its last word, whatever the consumer of the chain does then.
    """
    for piece in CHAIN.stream(QUESTION, config):
        if piece.endswith("night."):
            time.sleep(0.05)

    assert {status for _, status in statuses(captured)} == {"success"}
