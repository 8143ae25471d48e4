"""
Single nodes, recorded without wrapping their graph.
"""

from __future__ import annotations

import functools

import graphs
import pytest
from graphs import THREAD
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, StateGraph

from fluxloop_langgraph import trace_node, wrap_graph


@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
async def test_trace_node_records_single_nodes(recorded, is_async):
    """
    `trace_node` records each run of one node, in a trace of the thread's session.
    """

    async def anode(state: graphs.State) -> graphs.State:
        return {"n": 2}

    def node(state: graphs.State) -> graphs.State:
        return {"n": 2}

    builder = StateGraph(graphs.State)
    builder.add_node("one", trace_node(anode if is_async else node))
    builder.add_edge(START, "one")
    graph = builder.compile(checkpointer=InMemorySaver())
    result = await graph.ainvoke({"seen": []}, THREAD) if is_async else graph.invoke({"seen": []}, THREAD)
    (trace,) = recorded.traces()

    assert result["n"] == 2
    assert recorded.outline(inputs=True) == "CHAIN one({'seen': []}) -> {'n': 2}"
    assert (trace.session_id, trace.observations[0].metadata["langgraph_step"]) == ("t-1", 1)


async def test_trace_node_records_methods(recorded):
    """
    The input of a method is the state, not the instance.
    """

    class Nodes:
        @trace_node
        def first(self, state):
            return {"n": 1}

        @trace_node
        async def second(self, state):
            return {"n": 2}

    nodes, builder = Nodes(), StateGraph(graphs.State)
    builder.add_sequence([nodes.first, nodes.second]).add_edge(START, "first")
    await builder.compile().ainvoke({"seen": []})

    assert recorded.outline(inputs=True) == (
        "CHAIN first({'seen': []}) -> {'n': 1}\nCHAIN second({'seen': [], 'n': 1}) -> {'n': 2}"
    )


def test_trace_node_records_the_state_of_a_method_with_another_decorator(recorded):
    """
    The signature of the method decides what is the state, not that of a decorator's wrapper.
    """

    def passing_on(func):
        @functools.wraps(func)
        def wrapper(*args, **kwargs):
            return func(*args, **kwargs)

        return wrapper

    class Nodes:
        @trace_node
        @passing_on
        def first(self, state):
            return {"n": 1}

    StateGraph(graphs.State).add_node("first", Nodes().first).add_edge(START, "first").compile().invoke({"seen": []})

    assert recorded.outline(inputs=True) == "CHAIN first({'seen': []}) -> {'n': 1}"


def test_trace_node_rejects_a_generator():
    """
    LangGraph runs generator functions in its own way, so the decoration fails with a clear message.
    """
    with pytest.raises(TypeError, match="got the generator pieces"):

        @trace_node
        def pieces(state):
            yield {"n": 1}


def test_trace_node_in_a_wrapped_graph_is_one_observation(recorded):
    """
    `trace_node` adds nothing to a run that is recorded already, and keeps a failure what it is.
    """

    @trace_node
    def node(state: graphs.State) -> graphs.State:
        raise KeyError("n")

    builder = StateGraph(graphs.State)
    builder.add_node("node", node)
    builder.add_edge(START, "node")
    with pytest.raises(KeyError):
        builder.compile().invoke({"seen": []})
    with pytest.raises(KeyError):
        wrap_graph(builder.compile()).invoke({"seen": []})

    assert recorded.outline() == ("CHAIN node [error: 'n']\nCHAIN LangGraph [error: 'n']\n  CHAIN node [error: 'n']")


def test_trace_node_keeps_subgraphs_visible():
    """
    LangGraph finds the subgraphs of a function that is decorated twice.
    """
    inner = graphs.steps(count=1)

    @trace_node(name="outer")
    @trace_node
    def node(state: graphs.State) -> graphs.State:
        return inner.invoke(state)

    builder = StateGraph(graphs.State)
    builder.add_node("node", node)
    builder.add_edge(START, "node")

    assert [name for name, _ in builder.compile().get_subgraphs()] == ["node"]
    with pytest.raises(TypeError, match="takes a node's function, got CompiledStateGraph; see wrap_graph"):
        trace_node(inner)
