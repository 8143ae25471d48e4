"""
What a wrapped graph records: the tree of its nodes, and their metadata.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
from concurrent.futures import ThreadPoolExecutor

import graphs
import pytest
from graphs import THREAD, only
from langchain_core.runnables import RunnableConfig, RunnableLambda
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, StateGraph

import fluxloop
from fluxloop.models import ObservationType
from fluxloop.testing import capture
from fluxloop_langchain import FluxLoopCallbackHandler
from fluxloop_langgraph import trace_node, wrap_graph


def test_each_node_is_an_observation_under_its_graph(recorded):
    """
    The nodes of a graph are recorded in order, with input and output.
    """
    wrap_graph(graphs.steps()).invoke({"seen": []})

    assert recorded.outline(inputs=True) == (
        "CHAIN LangGraph({'seen': []}) -> {'seen': ['step_0', 'step_1'], 'n': 1}\n"
        "  CHAIN step_0({'seen': []}) -> {'seen': ['step_0'], 'n': 0}\n"
        "  CHAIN step_1({'seen': ['step_0'], 'n': 0}) -> {'seen': ['step_1'], 'n': 1}"
    )


async def test_an_async_run_gives_the_same_tree(recorded):
    """
    `ainvoke`, `astream` and `astream_events` record what `invoke` does.
    """
    graph = wrap_graph(graphs.steps())
    await graph.ainvoke({"seen": []})
    assert [item async for item in graph.astream({"seen": []})]
    assert [event async for event in graph.astream_events({"seen": []}, version="v2")]

    assert recorded.outline() == "\n".join(
        3
        * [
            "CHAIN LangGraph -> {'seen': ['step_0', 'step_1'], 'n': 1}",
            "  CHAIN step_0 -> {'seen': ['step_0'], 'n': 0}",
            "  CHAIN step_1 -> {'seen': ['step_1'], 'n': 1}",
        ]
    )


def test_a_node_records_its_position_in_the_graph(recorded):
    """
    Node, step, triggers, path and checkpoint namespace are in the metadata.
    """
    wrap_graph(graphs.steps()).invoke({"seen": []})
    (node,) = only(recorded, "step_1")

    namespace = node.metadata.pop("langgraph_checkpoint_ns")
    assert namespace.startswith("step_1:")
    assert {key: item for key, item in node.metadata.items() if key.startswith("langgraph_")} == {
        "langgraph_node": "step_1",
        "langgraph_step": 2,
        "langgraph_triggers": ["branch:to:step_1"],
        "langgraph_path": ["__pregel_pull", "step_1"],
    }


def test_subgraphs_nest(recorded):
    """
    The nodes of a subgraph are children of its node; the run of the subgraph itself is not recorded twice.
    """
    wrap_graph(graphs.nested()).invoke({"seen": []})

    assert [line.partition(" ->")[0] for line in recorded.outline().splitlines()] == [
        "CHAIN LangGraph",
        "  CHAIN before",
        "  CHAIN inner",
        "    CHAIN step_0",
    ]


@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
async def test_a_hundred_parallel_nodes_have_the_right_parent_and_their_own_input(recorded, is_async):
    """
    100 `Send`s to one node are 100 observations under the graph, each with what was sent to it.
    """
    graph = wrap_graph(graphs.fan_out(100))
    if is_async:
        await graph.ainvoke({"seen": []})
    else:
        graph.invoke({"seen": []})
    (trace,) = recorded.traces()
    work = only(recorded, "work")

    assert {one.parent_id for one in work} == {trace.roots[0].id}
    assert sorted(one.input["n"] for one in work) == list(range(100))
    assert all(one.output == {"seen": [str(one.input["n"])]} for one in work)


def test_user_code_in_parallel_nodes_nests_under_its_own_node(recorded):
    """
    Decorated functions, events and runnables in parallel nodes are children of their own node.
    """

    @fluxloop.tool
    def look(n):
        return n

    def node(state):
        look(state["n"])
        fluxloop.event("noted", input=state["n"])
        RunnableLambda(look).invoke(state["n"])
        return {"seen": []}

    builder = StateGraph(graphs.State)
    builder.add_node("plan", lambda state: {})
    builder.add_node("node", node)
    builder.add_edge(START, "plan")
    builder.add_conditional_edges("plan", lambda state: [graphs.Send("node", {"n": n}) for n in range(20)], ["node"])
    wrap_graph(builder.compile()).invoke({"seen": []})
    (trace,) = recorded.traces()

    for one in only(recorded, "node"):
        first, second, third = trace.children(one)
        assert (first.type, first.input, second.input) == (ObservationType.TOOL, {"n": one.input["n"]}, one.input["n"])
        assert trace.children(third)[0].input == {"n": one.input["n"]}


def test_a_node_in_a_loop_is_one_observation_per_step(recorded):
    """
    A node that runs three times is three observations, each with its step number.
    """
    wrap_graph(graphs.loop()).invoke({"seen": []})

    assert [one.metadata["langgraph_step"] for one in only(recorded, "count")] == [1, 2, 3]
    assert [one.output["n"] for one in only(recorded, "count")] == [1, 2, 3]


def test_the_thread_is_the_session(recorded):
    """
    `thread_id` becomes the session id of the trace.
    """
    graph = wrap_graph(graphs.steps(checkpointer=InMemorySaver()))
    graph.invoke({"seen": []}, THREAD)
    graph.invoke({"seen": []}, THREAD)

    assert [trace.session_id for trace in recorded.traces()] == ["t-1", "t-1"]


@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
async def test_an_unnamed_edge_is_folded(recorded, is_async):
    """
    A lambda as conditional edge is folded, in sync and async runs alike; a named function is shown.
    """

    def chain(state):
        return "__end__"

    builder = StateGraph(graphs.State)
    builder.add_node("first", lambda state: {"n": 1})
    builder.add_node("chain", lambda state: {"n": 2})
    builder.add_edge(START, "first")
    builder.add_conditional_edges("first", lambda state: "chain", ["chain"])
    builder.add_conditional_edges("chain", chain, ["__end__"])
    graph = wrap_graph(builder.compile())
    await graph.ainvoke({"seen": []}) if is_async else graph.invoke({"seen": []})

    assert recorded.outline() == (
        "CHAIN LangGraph -> {'seen': [], 'n': 2}\n"
        "  CHAIN first -> {'n': 1}\n"
        "  CHAIN chain -> {'n': 2}\n"
        "    CHAIN chain -> '__end__'"
    )


def test_the_diagram_of_the_graph_is_in_the_trace_metadata(recorded):
    """
    Each trace has the mermaid diagram of its graph.
    """
    graph = wrap_graph(graphs.nested())
    graph.invoke({"seen": []})
    (trace,) = recorded.traces()

    assert trace.metadata["topology"] == graph.get_graph().draw_mermaid()
    assert "before" in trace.metadata["topology"]


def test_a_node_records_the_checkpoint_it_ran_from(recorded):
    """
    With a checkpointer, each node has the id of the checkpoint that it can be run again from.
    """
    graph = wrap_graph(graphs.steps(checkpointer=InMemorySaver()))
    graph.invoke({"seen": []}, THREAD)
    known = [state.config["configurable"]["checkpoint_id"] for state in graph.get_state_history(THREAD)]

    assert [one.metadata["checkpoint_id"] for one in recorded.traces()[0].observations[1:]] == [known[2], known[1]]


async def test_concurrent_runs_of_one_graph_are_separate_traces(recorded):
    """
    Concurrent runs in threads and tasks are never mixed up.
    """
    graph = wrap_graph(graphs.steps())
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: graph.invoke({"seen": [str(n)]}), range(20)))
    await asyncio.gather(*(graph.ainvoke({"seen": [str(n)]}) for n in range(20, 40)))

    assert sorted(int(trace.input["seen"][0]) for trace in recorded.traces()) == list(range(40))
    for trace in recorded.traces():
        assert [one.name for one in trace.observations] == ["LangGraph", "step_0", "step_1"]
        assert trace.observations[2].input["seen"] == [*trace.input["seen"], "step_0"]


def test_the_functional_api_is_recorded(recorded):
    """
    Each call of a `@task` is an observation under its `@entrypoint`.
    """
    result = wrap_graph(graphs.functional()).invoke(3, THREAD)

    assert result == 12
    assert recorded.outline(inputs=True) == (
        "CHAIN LangGraph(3) -> 12\n"
        "  CHAIN workflow(3) -> 12\n"
        "    CHAIN double({'n': 3}) -> 6\n"
        "    CHAIN double({'n': 6}) -> 12"
    )


def test_a_trace_policy_is_respected(recorded):
    """
    Payloads that the trace policy of a node omits or changes are recorded that way.
    """
    types = pytest.importorskip("langgraph.types")
    if not hasattr(types, "TracePolicy"):
        pytest.skip("this LangGraph has no TracePolicy")
    builder = StateGraph(graphs.State)
    policy = types.TracePolicy(process_inputs=types.omit_payload, process_outputs=lambda output: {"n": "hidden"})
    builder.add_node("node", lambda state: {"n": 5}, trace_policy=policy)
    builder.add_edge(START, "node")
    result = wrap_graph(builder.compile()).invoke({"seen": ["a secret"]})
    (node,) = only(recorded, "node")

    assert result == {"seen": ["a secret"], "n": 5}
    assert (node.input, node.output, node.metadata["changes"]) == ({}, {"n": "hidden"}, {"n": {"to": "hidden"}})


def test_nothing_is_recorded_while_recording_is_off(recorded):
    """
    With recording disabled, a wrapped graph runs as the bare one and writes nothing.
    """
    with capture(enabled=False) as off:
        assert wrap_graph(graphs.steps(count=1)).invoke({"seen": []}) == {"seen": ["step_0"], "n": 0}

        assert off.traces() == []


async def test_no_run_stays_open_in_the_ledger(recorded):
    """
    After runs that ended in different ways, no run is open in the ledger.
    """
    graph = wrap_graph(graphs.steps(count=3))
    graph.invoke({"seen": []})
    for _ in graph.stream({"seen": []}):
        break
    with pytest.raises(ValueError, match="no such page"):
        wrap_graph(graphs.failing()).invoke({"seen": []})
    await graph.ainvoke({"seen": []})

    assert len(FluxLoopCallbackHandler().ledger) == 0


def passing_on(func):
    """A decorator as users write them."""

    @functools.wraps(func)
    def wrapper(*args, **kwargs):
        return func(*args, **kwargs)

    return wrapper


ORDERS = {
    "ours": [fluxloop.trace],
    "ours twice": [fluxloop.trace, fluxloop.tool],
    "ours over another": [fluxloop.trace, passing_on],
    "ours over two others": [fluxloop.trace, passing_on, passing_on],
    "ours over another over ours": [fluxloop.trace, passing_on, fluxloop.tool],
    "trace_node over another": [trace_node, passing_on],
    "trace_node over ours over another": [trace_node, fluxloop.trace, passing_on],
}


@pytest.mark.parametrize("decorators", ORDERS.values(), ids=ORDERS)
def test_a_decorated_node_shows_its_subgraph_and_its_signature(recorded, decorators):
    """
    LangGraph looks through exactly one ``__wrapped__``; over any other decorator, ours leads to the innermost function.
    """
    inner = graphs.steps(count=1)

    def node(state: graphs.State, config: RunnableConfig) -> graphs.State:
        return inner.invoke(state, config)

    decorated = functools.reduce(lambda func, decorate: decorate(func), reversed(decorators), node)
    graph = wrap_graph(StateGraph(graphs.State).add_node("node", decorated).add_edge(START, "node").compile())
    graph.invoke({"seen": []})

    assert [name for name, _ in graph.get_subgraphs()] == ["node"]
    assert inspect.signature(decorated) == inspect.signature(node)
    assert "step_0" in [one.name for one in recorded.traces()[0].observations]


def test_a_decorator_over_ours_keeps_signature_and_recording(recorded):
    """
    Another decorator over ours hides the subgraph, as any two decorators do; the run is recorded as before.
    """
    inner = graphs.steps(count=1)

    def node(state: graphs.State) -> graphs.State:
        return inner.invoke(state)

    def subgraphs(func):
        graph = wrap_graph(StateGraph(graphs.State).add_node("node", func).add_edge(START, "node").compile())
        graph.invoke({"seen": []})
        return [name for name, _ in graph.get_subgraphs()]

    decorated = passing_on(fluxloop.trace(node))

    assert subgraphs(decorated) == subgraphs(passing_on(passing_on(node))) == []
    assert inspect.signature(decorated) == inspect.signature(node)
    assert [one.name for one in recorded.traces()[0].observations] == [
        "LangGraph",
        "node",
        "node",
        "LangGraph",
        "step_0",
    ]
