"""
The statuses of left streams, cancelled tasks, timeouts and control flow.
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
    """Return name and status of all observations."""
    return {(o.name, o.status.value) for trace in captured.traces() for o in trace.observations}


def test_a_stream_left_by_break_is_abandoned(captured, config):
    """
    The text until then is the output of the model.
    """
    for _ in CHAIN.stream(QUESTION, config):
        break
    (trace,) = captured.traces()

    assert statuses(captured) == {("RunnableSequence", "abandoned"), ("ScriptedModel", "abandoned")}
    assert (trace.status.value, trace.error, trace.input) == ("abandoned", None, QUESTION)
    assert "Tigers" in str(trace.observations[1].output)


async def test_an_async_stream_closed_early_is_abandoned(captured, config):
    """
    LangChain reports the end of the chain before that of the model: the model ends with the chain.
    """
    stream = CHAIN.astream(QUESTION, config)
    async for _ in stream:
        break
    await stream.aclose()
    await asyncio.sleep(0.01)  # the loop closes the inner generators

    assert statuses(captured) == {("RunnableSequence", "abandoned"), ("ScriptedModel", "abandoned")}


async def test_a_cancelled_task_is_cancelled(captured, config):
    """
    Cancellation is neither an error nor a success, and applies to all open runs.
    """

    async def slow(_):
        await asyncio.sleep(60)

    task = asyncio.create_task((RunnableLambda(slow) | StrOutputParser()).ainvoke("x", config))
    await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert statuses(captured) == {("RunnableSequence", "cancelled"), ("slow", "cancelled")}


async def test_after_a_timeout_the_run_is_cancelled_and_the_caller_is_an_error(captured, config):
    """
    The caller receives a TimeoutError.
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


def test_an_error_is_recorded_on_every_run_it_ends(captured, config):
    """
    The failed step and the chain have the same message, and a traceback without frames of FluxLoop.
    """

    def divide(number):
        return 1 / number

    with pytest.raises(ZeroDivisionError):
        (RunnableLambda(divide) | StrOutputParser()).invoke(0, config)

    assert captured.outline() == (
        "CHAIN RunnableSequence [error: division by zero]\n  CHAIN divide [error: division by zero]"
    )
    assert "fluxloop" not in captured.traces()[0].observations[0].metadata["traceback"]


def test_a_keyboard_interrupt_is_not_an_error(captured, config):
    """
    A KeyboardInterrupt cancels the step in which it is raised.
    """

    def stopped(_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        RunnableLambda(stopped).invoke("x", config)

    assert statuses(captured) == {("stopped", "cancelled")}


def test_a_tool_error_that_is_passed_to_the_model_is_an_error_of_the_tool(captured, config):
    """
    LangChain passes the exception of a tool to the model as a message; the TOOL is an error.
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
    A tool that is not called because its arguments are invalid is recorded with the reason.
    """

    @tool
    def search(query: str) -> str:
        """Search."""
        return query

    with pytest.raises(ValueError, match="query"):
        search.invoke({"wrong": 1}, config)

    assert "TOOL search [error:" in captured.outline()


def test_a_run_whose_end_is_not_reported_ends_with_its_parent(captured, config):
    """
    A child whose end is not reported is abandoned when its parent ends, and leaves no entry.
    """
    handler = FluxLoopCallbackHandler()
    handler.on_chain_start(None, {"x": 1}, run_id="root", name="root")
    handler.on_chain_start(None, {"x": 1}, run_id="child", parent_run_id="root", name="child")
    handler.on_chat_model_start({"name": "model"}, [[]], run_id="model", parent_run_id="child")
    handler.on_chain_end("done", run_id="root")

    assert captured.outline() == "CHAIN root -> 'done'\n  CHAIN child [abandoned]\n    GENERATION model [abandoned]"
    assert len(handler.ledger) == 0


@needs_langgraph
def test_an_interrupt_in_a_tool_is_not_an_error(captured, config):
    """
    A graph that waits for a human is interrupted, and so are the runs inside that wait.
    LangGraph's exceptions are recognised by class; a user's exception of the same name is an error.
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
async def test_an_agent_whose_stream_is_left_has_no_open_runs(captured, config):
    """
    If the message stream of an agent is left, LangChain reports no end of the model: it ends with its node.
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


def test_a_left_stream_does_not_affect_the_next_run(captured, config):
    """
    The next run is a separate trace.
    """
    for _ in CHAIN.stream(QUESTION, config):
        break
    CHAIN.invoke(QUESTION, config)

    assert [trace.status.value for trace in captured.traces()] == ["abandoned", "success"]


def test_a_failing_storage_does_not_affect_the_chain(config):
    """
    The chain returns its result, and the lost records are counted.
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


def test_hostile_values_do_not_affect_the_chain(config):
    """
    Values whose attributes and comparisons raise are recorded as far as possible.
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


def test_the_content_of_a_tool_call_without_text_is_empty(captured, config):
    """
    The content is an empty text, not None.
    """
    ScriptedModel(replies=[calls("add", {"a": 1})]).invoke("x", config)

    assert captured.traces()[0].output["content"] == ""


def test_a_slow_consumer_does_not_extend_the_model_run(captured, config):
    """
    The generation ends with the last token of the model, although the consumer of the chain is still busy.
    """
    for piece in CHAIN.stream(QUESTION, config):
        if piece.endswith("night."):
            time.sleep(0.05)

    assert {status for _, status in statuses(captured)} == {"success"}
