"""
However a run ends, all its observations end, and the next run is not affected.
"""

from __future__ import annotations

import asyncio
import gc
import inspect
import time

import graphs
import pytest
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage
from langchain_core.runnables import RunnableLambda
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import RetryPolicy

import fluxloop
from fluxloop.testing import capture
from fluxloop_langgraph import wrap_graph


def statuses(recorded):
    return {one.name: one.status for trace in recorded.traces() for one in trace.observations}


def slow_graph(seconds=30):
    async def wait(state):
        await asyncio.sleep(seconds)

    builder = StateGraph(graphs.State)
    builder.add_node("first", lambda state: {"n": 1})
    builder.add_node("wait", wait)
    builder.add_edge(START, "first")
    builder.add_edge("first", "wait")
    return wrap_graph(builder.compile())


async def test_closing_a_stream_of_messages_ends_model_node_and_graph(recorded):
    """
    LangGraph sends no end event for a chat model that is still streaming; it ends with its node, without an error.
    """

    async def talk(state):
        model = GenericFakeChatModel(messages=iter([AIMessage(content="one two three four five six")]))
        return {"messages": [await model.ainvoke(state["messages"])]}

    builder = StateGraph(MessagesState)
    builder.add_node("talk", talk)
    builder.add_edge(START, "talk")
    stream = wrap_graph(builder.compile()).astream({"messages": [("user", "hi")]}, stream_mode="messages")
    async for _ in stream:
        break
    await stream.aclose()

    found = statuses(recorded)
    assert found["LangGraph"] == "abandoned"
    assert set(found.values()) <= {"abandoned", "cancelled", "success"}
    assert len(found) == 3


def test_closing_a_sync_stream_abandons_the_run(recorded):
    """
    After a `break` the run is abandoned as soon as the stream has no more references.
    """
    for _ in wrap_graph(graphs.steps()).stream({"seen": []}):
        break

    assert statuses(recorded) == {"LangGraph": "abandoned", "step_0": "success"}


@pytest.mark.parametrize("how", ["timeout", "cancel"])
async def test_a_timeout_or_a_cancelled_task_cancels_the_run(recorded, how):
    """
    The running node and the graph are cancelled; nodes that had finished are successes.
    """
    task = asyncio.ensure_future(slow_graph().ainvoke({"seen": []}))
    if how == "timeout":
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(task, 0.1)
    else:
        await asyncio.sleep(0.1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    assert statuses(recorded) == {"LangGraph": "cancelled", "first": "success", "wait": "cancelled"}


async def test_a_step_timeout_is_an_error(recorded):
    """
    The graph's own `step_timeout` is an error of the run; the node it stopped is cancelled.
    """
    graph = slow_graph()
    graph.step_timeout = 0.1
    with pytest.raises(TimeoutError):
        await graph.ainvoke({"seen": []})

    assert statuses(recorded) == {"LangGraph": "error", "first": "success", "wait": "cancelled"}


async def test_a_node_timeout_is_an_error_of_the_run(recorded):
    """
    `NodeTimeoutError` and `NodeCancelledError` are failures, not control flow.
    """
    errors = pytest.importorskip("langgraph.errors")
    if not hasattr(errors, "NodeTimeoutError"):
        pytest.skip("this LangGraph has no timeouts of nodes")

    async def wait(state):
        await asyncio.sleep(30)

    def give_up(state):
        raise asyncio.CancelledError

    for node, options, error in ((wait, {"timeout": 0.05}, "NodeTimeoutError"), (give_up, {}, "NodeCancelledError")):
        builder = StateGraph(graphs.State)
        builder.add_node("node", node, **options)
        builder.add_edge(START, "node")
        with pytest.raises(getattr(errors, error)):
            await wrap_graph(builder.compile()).ainvoke({"seen": []})

        assert recorded.traces()[-1].status == "error"
        assert recorded.traces()[-1].observations[0].metadata["error_type"] == error


@pytest.mark.parametrize("depth", [0, 1])
async def test_a_node_that_exceeds_its_timeout_is_an_error(recorded, depth):
    """
    Each attempt that exceeds its timeout is an error, although LangGraph cancels it; a sibling is only cancelled.
    """
    if "timeout" not in inspect.signature(StateGraph.add_node).parameters:
        pytest.skip("this LangGraph has no timeouts of nodes")

    async def wait(state):
        await RunnableLambda(asyncio.sleep, name="inside").ainvoke(30)

    builder = StateGraph(graphs.State)
    retries = RetryPolicy(initial_interval=0.0, jitter=False, max_attempts=2)
    builder.add_node("late", wait, timeout=0.02, retry_policy=retries)
    builder.add_node("sibling", wait, timeout=30)
    builder.add_edge(START, "late")
    builder.add_edge(START, "sibling")
    with pytest.raises(Exception, match="exceeded its run timeout") as raised:
        await wrap_graph(graphs.nested(builder.compile()) if depth else builder.compile()).ainvoke({"seen": []})
    by_name = {one.name: one for one in recorded.traces()[0].observations}

    assert [one.status for one in recorded.traces()[0].observations if one.name == "late"] == ["error", "error"]
    assert (by_name["late"].error, by_name["late"].metadata["error_type"]) == (str(raised.value), "NodeTimeoutError")
    assert (by_name["sibling"].status, by_name["inside"].status) == ("cancelled", "cancelled")


async def test_an_existing_observer_of_timed_attempts_receives_all_events():
    """
    LangGraph's server uses the same configuration key, and still receives every event.
    """
    constants = pytest.importorskip("langgraph._internal._constants")
    if not hasattr(constants, "CONFIG_KEY_TIMED_ATTEMPT_OBSERVER"):
        pytest.skip("this LangGraph has no timeouts of nodes")
    received = []
    builder = StateGraph(graphs.State)
    builder.add_node("node", _at_once, timeout=30)
    builder.add_edge(START, "node")
    config = {"configurable": {constants.CONFIG_KEY_TIMED_ATTEMPT_OBSERVER: received.append}}
    untouched = {"configurable": {**config["configurable"]}}
    await wrap_graph(graphs.nested(wrap_graph(builder.compile()))).ainvoke({"seen": []}, config)

    assert [one.event for one in received] == ["start", "finish"]
    assert config == untouched


async def _at_once(state):
    return {}


def test_an_error_is_recorded_on_the_node_and_on_its_parents(recorded):
    """
    Node, subgraph and graph are errors with the message of the exception.
    """
    with pytest.raises(ValueError, match="no such page"):
        wrap_graph(graphs.nested(graphs.failing())).invoke({"seen": []})

    assert [line for line in recorded.outline().splitlines() if "error" in line] == [
        "CHAIN LangGraph [error: no such page]",
        "  CHAIN inner [error: no such page]",
        "    CHAIN fail [error: no such page]",
    ]


async def test_an_open_stream_does_not_affect_the_next_run(recorded):
    """
    A run that begins while an earlier stream is still open is a complete trace of its own.
    """
    graph = wrap_graph(graphs.steps())
    stream = graph.astream({"seen": []})
    await anext(stream)
    assert fluxloop.get_current_context() is None
    await graph.ainvoke({"seen": ["next"]})
    await stream.aclose()
    first, second = recorded.traces()

    assert (first.status, second.status) == ("abandoned", "success")
    assert [one.name for one in second.observations] == ["LangGraph", "step_0", "step_1"]


@pytest.mark.slow
def test_memory_stays_flat_over_many_runs():
    """
    Two thousand runs of wrapped graphs leave no objects in memory.
    """
    graph = wrap_graph(graphs.asking_inside(checkpointer=None))
    steps = wrap_graph(graphs.steps())

    def runs(count):
        with capture():
            for _ in range(count):
                steps.invoke({"seen": []})
                graph.invoke({"seen": []})
        gc.collect()
        return len(gc.get_objects())

    runs(50)
    before = runs(50)
    after = runs(1000)

    assert after - before < 500


def test_a_stream_without_references_ends_at_once(recorded):
    """
    FluxLoop holds no strong reference to the generator: it ends without a garbage collection.
    """
    gc.disable()
    try:
        stream = wrap_graph(graphs.steps()).stream({"seen": []})
        next(stream)
        del stream
        time.sleep(0)

        assert recorded.traces()[0].status == "abandoned"
    finally:
        gc.enable()
