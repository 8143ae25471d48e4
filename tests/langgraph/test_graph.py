"""
What a wrapped graph records: the tree of its nodes, and what each of them has beyond a chain.
"""

from __future__ import annotations

import asyncio
import inspect
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypedDict

import graphs
import pytest
from graphs import THREAD
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import HumanMessage, RemoveMessage
from langchain_core.runnables import RunnableLambda
from langgraph.cache.memory import InMemoryCache
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.func import entrypoint, task
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import CachePolicy, RetryPolicy
from pydantic import BaseModel
from scripted_models import USAGE, ScriptedModel

import fluxloop
from fluxloop.models import ObservationType
from fluxloop.testing import capture
from fluxloop_langchain import FluxLoopCallbackHandler, install, uninstall
from fluxloop_langgraph import trace_node, wrap_graph


def only(recorded, name):
    """Return the observations called *name*, in order."""
    return [one for trace in recorded.traces() for one in trace.observations if one.name == name]


def test_each_node_is_an_observation_under_its_graph(recorded):
    """
    S1-17: a graph's nodes appear in order, with what they were given and what they returned.
    """
    wrap_graph(graphs.steps()).invoke({"seen": []})

    assert recorded.outline(inputs=True) == (
        "CHAIN LangGraph({'seen': []}) -> {'seen': ['step_0', 'step_1'], 'n': 1}\n"
        "  CHAIN step_0({'seen': []}) -> {'seen': ['step_0'], 'n': 0}\n"
        "  CHAIN step_1({'seen': ['step_0'], 'n': 0}) -> {'seen': ['step_1'], 'n': 1}"
    )


async def test_an_async_run_gives_the_same_tree(recorded):
    """
    `ainvoke`, `astream` and `astream_events` record what `invoke` does. S1-17
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


def test_a_node_says_where_in_the_graph_it_ran(recorded):
    """
    Node, step, triggers, path and checkpoint namespace are on the observation.
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
    The nodes of a graph that is a node are under that node (thread 9), whose run is not repeated.
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
    100 `Send`s to one node are 100 observations under the graph, each with what was sent to it (threads 7, 8).
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
    Decorated functions, events and runnables in nodes that run at once each land in their node (threads 15-18).
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


def test_a_loop_is_steps_in_order(recorded):
    """
    A node that runs three times is three observations, each with its step.
    """
    wrap_graph(graphs.loop()).invoke({"seen": []})

    assert [one.metadata["langgraph_step"] for one in only(recorded, "count")] == [1, 2, 3]
    assert [one.output["n"] for one in only(recorded, "count")] == [1, 2, 3]


def test_the_thread_is_the_session(recorded):
    """
    `thread_id` becomes the session, so that a conversation is found by it (thread 14).
    """
    graph = wrap_graph(graphs.steps(checkpointer=InMemorySaver()))
    graph.invoke({"seen": []}, THREAD)
    graph.invoke({"seen": []}, THREAD)

    assert [trace.session_id for trace in recorded.traces()] == ["t-1", "t-1"]


def test_a_node_that_is_tried_again_says_which_attempt_it_was(recorded):
    """
    V7: each attempt is an observation, with its number and how many there may be; the run is a success.
    """
    wrap_graph(graphs.flaky(failures=2)).invoke({"seen": []})
    tries = only(recorded, "fetch")

    assert [(one.metadata["attempt"], one.metadata["max_attempts"], one.status) for one in tries] == [
        (1, 4, "error"),
        (2, 4, "error"),
        (3, 4, "success"),
    ]
    assert recorded.traces()[0].status == "success"


def test_attempts_of_a_node_in_a_subgraph_are_counted_too(recorded):
    """
    V7: the retry policy of a node deep inside is found.
    """
    wrap_graph(graphs.nested(graphs.flaky(failures=1))).invoke({"seen": []})

    assert [(one.metadata["attempt"], one.metadata["max_attempts"]) for one in only(recorded, "fetch")] == [
        (1, 4),
        (2, 4),
    ]


@pytest.mark.parametrize("depth", [0, 1])
def test_a_node_that_handles_an_error_is_a_node_of_the_same_graph(recorded, depth):
    """
    LangGraph places it under the node that failed, as if that were a subgraph; what it says is told as of any node.
    """
    if "error_handler" not in inspect.signature(StateGraph.add_node).parameters:
        pytest.skip("this LangGraph knows no error handlers")
    builder = StateGraph(graphs.State)
    policy = RetryPolicy(initial_interval=0.0, jitter=False, max_attempts=2)
    builder.set_node_defaults(retry_policy=policy, error_handler=lambda state: {"seen": ["handled"]})
    builder.add_node("inner", graphs.failing(ConnectionError("busy")))
    builder.add_edge(START, "inner")
    wrap_graph(graphs.nested(builder.compile()) if depth else builder.compile()).invoke({"seen": []})
    (handler,) = only(recorded, "__default_error_handler__")

    assert handler.metadata["changes"] == {"seen": {"add": ["handled"]}}
    assert (handler.metadata["attempt"], handler.metadata["max_attempts"]) == (1, 2)


def test_attempts_of_a_task_are_counted(recorded):
    """
    V7: a `@task` that may be tried again says which try it was, each call of it for itself.
    """
    tries = []

    @task(retry_policy=RetryPolicy(initial_interval=0.0, jitter=False))
    def fetch(n):
        tries.append(n)
        if len(tries) == 1:
            raise ConnectionError("busy")
        return RunnableLambda(abs).invoke(n)

    @entrypoint()
    def workflow(n):
        return [fetch(n).result(), fetch(n).result()]

    assert wrap_graph(workflow).invoke(1) == [1, 1]
    assert [(one.metadata["attempt"], one.metadata["max_attempts"]) for one in only(recorded, "fetch")] == [
        (1, 3),
        (2, 3),
        (1, 3),
    ]
    assert [one.metadata.get("attempt") for one in only(recorded, "abs")] == [None, None]


def cached_graph():
    builder = StateGraph(graphs.State)
    builder.add_node("slow", lambda state: {"n": 1}, cache_policy=CachePolicy())
    builder.add_edge(START, "slow")
    return builder


@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
async def test_a_node_that_came_from_the_cache_is_seen(recorded, is_async):
    """
    V8: of a cached node LangGraph tells nothing; it is recorded, marked, with what it wrote.
    """
    graph = wrap_graph(cached_graph().compile(cache=InMemoryCache()))
    for _ in range(2):
        await graph.ainvoke({"seen": []}) if is_async else graph.invoke({"seen": []})
    first, second = only(recorded, "slow")

    assert "cached" not in first.metadata
    assert (second.metadata["cached"], second.output, second.status) == (True, {"n": 1}, "success")
    assert second.parent_id == recorded.traces()[1].roots[0].id


def test_a_cached_node_of_a_subgraph_is_under_that(recorded):
    """
    V8: a graph inside shares the cache, and its cached nodes are its own.
    """
    graph = wrap_graph(graphs.nested(cached_graph().compile(), cache=InMemoryCache()))
    for _ in range(2):
        graph.invoke({"seen": []})
    second = recorded.traces()[1]
    (inner,) = [one for one in second.observations if one.name == "inner"]

    assert [one.name for one in second.children(inner)] == ["slow"]


def test_a_task_that_came_from_the_cache_goes_by_its_name(recorded):
    """
    V8: a cached `@task` is called as it is when it runs.
    """

    @task(cache_policy=CachePolicy())
    def slow(n):
        return 10 * n

    @entrypoint(cache=InMemoryCache())
    def workflow(n):
        return slow(n).result()

    graph = wrap_graph(workflow)
    assert [graph.invoke(1), graph.invoke(1)] == [10, 10]
    first, second = only(recorded, "slow")

    assert (first.output, second.output, second.metadata["cached"]) == (10, 10, True)


@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
async def test_an_edge_without_a_name_is_no_step(recorded, is_async):
    """
    A lambda that says where to go on is folded, in sync and async runs alike; a function that has a name is shown.
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


def test_a_node_says_what_it_changed(recorded):
    """
    A few words for each key: before and after, or what its reducer was given.
    """
    wrap_graph(graphs.steps()).invoke({"seen": []})

    assert [one.metadata["changes"] for one in recorded.traces()[0].observations[1:]] == [
        {"seen": {"add": ["step_0"]}, "n": {"to": 0}},
        {"seen": {"add": ["step_1"]}, "n": {"from": 0, "to": 1}},
    ]


def test_what_a_node_hands_on_unchanged_is_no_change(recorded):
    """
    A node that returns the whole state, changed in place, says only what it changed; large values by their size.
    """

    class Whole(TypedDict, total=False):
        text: str
        pages: list[str]
        n: int

    def node(state):
        state["n"] += 1
        state["text"] = "x" * 5000
        return state

    builder = StateGraph(Whole)
    builder.add_node("node", node)
    builder.add_edge(START, "node")
    wrap_graph(builder.compile()).invoke({"n": 1, "text": "short", "pages": ["a"] * 100})

    assert only(recorded, "node")[0].metadata["changes"] == {
        "n": {"from": 1, "to": 2},
        "text": {"from": "short", "to": "str of 5,000 characters"},
    }


def test_a_message_that_is_removed_is_named(recorded):
    """
    Of a `RemoveMessage` the id is all there is to tell.
    """
    builder = StateGraph(MessagesState)
    builder.add_node("forget", lambda state: {"messages": [RemoveMessage(id="m-1")]})
    builder.add_edge(START, "forget")
    wrap_graph(builder.compile()).invoke({"messages": [HumanMessage("hi", id="m-1")]})

    assert only(recorded, "forget")[0].output == {"messages": [{"role": "remove", "content": "", "id": "m-1"}]}


@pytest.mark.parametrize("base", [BaseModel, object], ids=["model", "dataclass"])
def test_the_changes_of_a_state_that_is_an_object_are_told_like_those_of_a_dict(recorded, base):
    """
    A state may be a model or a dataclass, and a node may return one; before and after are told all the same.
    """

    @dataclass if base is object else lambda kind: kind
    class Page(base):
        n: int = 0
        text: str = ""

    builder = StateGraph(Page)
    builder.add_node("part", lambda page: {"n": page.n + 1})
    builder.add_node("whole", lambda page: Page(n=page.n, text="written"))
    builder.add_edge(START, "part")
    builder.add_edge("part", "whole")
    wrap_graph(builder.compile()).invoke({"n": 1, "text": "empty"})

    assert only(recorded, "part")[0].metadata["changes"] == {"n": {"from": 1, "to": 2}}
    assert only(recorded, "whole")[0].metadata["changes"] == {"text": {"from": "empty", "to": "written"}}


@pytest.mark.parametrize(
    ("left_out", "told"), [("capture_output", [None, None]), ("capture_input", [{"to": 0}, {"to": 1}])]
)
def test_what_is_not_to_be_captured_is_in_no_change(left_out, told):
    """
    What nodes return is in none of the records where outputs are left out, and what they were given where inputs are.
    """
    with capture(**{left_out: False}) as captured:
        wrap_graph(graphs.steps()).invoke({"seen": []})
    (trace,) = captured.traces()

    assert [one.metadata.get("changes", {}).get("n") for one in trace.observations[1:]] == told


def test_a_key_that_the_state_does_not_have_is_no_change(recorded):
    """
    LangGraph leaves out what a node returns beside the keys of the state, a slip of the pen for example.
    """
    builder = StateGraph(graphs.State)
    builder.add_node("node", lambda state: {"n": 1, "sene": ["typo"]})
    builder.add_edge(START, "node")
    wrap_graph(builder.compile()).invoke({"seen": []})

    assert only(recorded, "node")[0].metadata["changes"] == {"n": {"to": 1}}


def test_the_changes_of_a_wide_state_are_bounded(recorded):
    """
    Beyond 40 keys only their number is told.
    """
    wide = TypedDict("wide", {f"key_{number}": int for number in range(60)})
    builder = StateGraph(wide)
    builder.add_node("node", lambda state: {f"key_{number}": number for number in range(60)})
    builder.add_edge(START, "node")
    graph = wrap_graph(builder.compile())
    graph.invoke({"key_0": 7})
    changes = only(recorded, "node")[0].metadata["changes"]

    assert len(changes) == 41
    assert changes["…"] == "20 more"

    with capture(capture_input=False) as captured:
        graph.invoke({"key_0": 7})

    assert only(captured, "node")[0].metadata["changes"] == {**changes, "key_0": {"to": 0}}


def test_the_drawing_of_the_graph_is_on_the_trace(recorded):
    """
    The topology, in mermaid, once on each trace.
    """
    graph = wrap_graph(graphs.nested())
    graph.invoke({"seen": []})
    (trace,) = recorded.traces()

    assert trace.metadata["topology"] == graph.get_graph().draw_mermaid()
    assert "before" in trace.metadata["topology"]


def test_a_node_names_the_checkpoint_it_ran_from(recorded):
    """
    With a checkpointer, each node has the id of the checkpoint from which it can be run again.
    """
    graph = wrap_graph(graphs.steps(checkpointer=InMemorySaver()))
    graph.invoke({"seen": []}, THREAD)
    known = [state.config["configurable"]["checkpoint_id"] for state in graph.get_state_history(THREAD)]

    assert [one.metadata["checkpoint_id"] for one in recorded.traces()[0].observations[1:]] == [known[2], known[1]]


def test_wrapping_twice_or_with_a_handler_besides_records_once(recorded):
    """
    Threads 11-13: wrapped twice, with a handler passed, with one installed, as a node of another wrapped graph.
    """
    graph = wrap_graph(wrap_graph(graphs.steps(count=1)))
    install()
    try:
        graph.invoke({"seen": []}, {"callbacks": [FluxLoopCallbackHandler()]})
        wrap_graph(graphs.nested(graph)).invoke({"seen": []}, {"callbacks": [FluxLoopCallbackHandler()]})
    finally:
        uninstall()

    assert [line.partition(" ->")[0] for line in recorded.outline().splitlines()] == [
        "CHAIN LangGraph",
        "  CHAIN step_0",
        "CHAIN LangGraph",
        "  CHAIN before",
        "  CHAIN inner",
        "    CHAIN step_0",
    ]


def test_a_handler_besides_takes_nothing_away(recorded):
    """
    With a handler of ours passed as well, nodes still say what only a wrapped graph tells.
    """
    wrap_graph(graphs.flaky(1)).invoke({"seen": []}, {"callbacks": [FluxLoopCallbackHandler()]})

    assert [one.metadata["attempt"] for one in only(recorded, "fetch")] == [1, 2]
    assert only(recorded, "fetch")[1].metadata["changes"] == {"n": {"to": 2}}


@pytest.mark.parametrize("way", ["invoke", "stream", "ainvoke", "astream"])
async def test_tokens_are_counted_once_with_a_handler_besides(recorded, way):
    """
    Thread 42: a model run that two handlers of ours hear of, the graph's and the user's own, is one GENERATION.
    """
    graph = wrap_graph(graphs.chat(model=ScriptedModel(replies=["good morning"])))
    config = {"callbacks": [FluxLoopCallbackHandler()]}
    given = {"messages": [("user", "hi")]}
    if way == "invoke":
        graph.invoke(given, config)
    elif way == "stream":
        list(graph.stream(given, config, stream_mode="messages"))
    elif way == "ainvoke":
        await graph.ainvoke(given, config)
    else:
        assert [item async for item in graph.astream(given, config, stream_mode="messages")]
    (trace,) = recorded.traces()

    assert [(one.type, one.name) for one in trace.observations[1:]] == [
        (ObservationType.CHAIN, "talk"),
        (ObservationType.GENERATION, "ScriptedModel"),
    ]
    assert trace.usage.total_tokens == USAGE["total_tokens"]


@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
async def test_a_handler_passed_anew_inside_a_node_finds_the_node(recorded, is_async):
    """
    Thread 10: a node that calls a model with callbacks of its own loses LangChain's parent, and not ours.
    """
    model = ScriptedModel(replies=["good morning"])

    def talk(state):
        return {"seen": [model.invoke("hi", config={"callbacks": [FluxLoopCallbackHandler()]}).content]}

    async def atalk(state):
        return {"seen": [(await model.ainvoke("hi", config={"callbacks": [FluxLoopCallbackHandler()]})).content]}

    builder = StateGraph(graphs.State)
    builder.add_node("talk", atalk if is_async else talk)
    builder.add_edge(START, "talk")
    graph = wrap_graph(builder.compile())
    await graph.ainvoke({"seen": []}) if is_async else graph.invoke({"seen": []})

    assert recorded.outline() == (
        "CHAIN LangGraph -> {'seen': ['good morning']}\n"
        "  CHAIN talk -> {'seen': ['good morning']}\n"
        "    GENERATION ScriptedModel -> {'role': 'assistant', 'content': 'good morning'}"
    )


def test_other_peoples_handlers_hear_all_they_did(recorded):
    """
    Handlers of the graph's and of the call's configuration are told of the run, as without us (V12).
    """

    class Other(BaseCallbackHandler):
        def __init__(self):
            self.heard = []

        def on_chain_start(self, serialized, inputs, **kwargs):
            self.heard.append(kwargs.get("name"))

    bare, ours = [Other(), Other()], [Other(), Other()]
    graphs.steps().with_config({"callbacks": [bare[0]]}).invoke({"seen": []}, {"callbacks": [bare[1]]})
    configured = wrap_graph(graphs.steps().with_config({"callbacks": [ours[0]]}))
    configured.invoke({"seen": []}, {"callbacks": [ours[1]]})
    configured.invoke({"seen": []})

    assert ours[1].heard == bare[1].heard
    assert ours[0].heard == [*bare[0].heard, "LangGraph", "step_0", "step_1"]
    assert len(recorded.traces()) == 2


def test_a_wrapped_graph_inside_a_node_finds_the_handlers_around_it():
    """
    Called in a node without a configuration, a graph inherits the handlers of that node, also when it is wrapped.
    """
    heard = []

    class Other(BaseCallbackHandler):
        def on_chain_start(self, serialized, inputs, **kwargs):
            heard.append(kwargs.get("name"))

    inner = wrap_graph(graphs.steps(count=1))
    outer = StateGraph(graphs.State)
    outer.add_node("call", lambda state: {"n": inner.invoke({"seen": []})["n"]})
    outer.add_edge(START, "call")
    outer.compile().invoke({"seen": []}, {"callbacks": [Other()]})

    assert heard == ["LangGraph", "call", "LangGraph", "step_0"]


def test_a_graph_inside_an_agent_nests_there(recorded):
    """
    In a trace that is open, the graph's run is part of it (thread 15).
    """

    @fluxloop.agent
    def assistant(question):
        return wrap_graph(graphs.steps(count=1)).invoke({"seen": []}, THREAD)["n"]

    assistant("hello")

    assert recorded.outline() == (
        "AGENT assistant -> 0\n"
        "  CHAIN LangGraph -> {'seen': ['step_0'], 'n': 0}\n"
        "    CHAIN step_0 -> {'seen': ['step_0'], 'n': 0}"
    )
    assert recorded.traces()[0].session_id == "t-1"


async def test_concurrent_runs_of_one_graph_are_traces_of_their_own(recorded):
    """
    Runs in threads and tasks at once are never mixed up (thread 16).
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
    An `@entrypoint` and its tasks: each call of a task is an observation under the workflow.
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
    V30: what a node's policy leaves out is not recorded, and what it shapes is recorded as shaped.
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
    Switched off, a wrapped graph runs as the bare one and leaves nothing behind.
    """
    with capture(enabled=False) as off:
        assert wrap_graph(graphs.steps(count=1)).invoke({"seen": []}) == {"seen": ["step_0"], "n": 0}

        assert off.traces() == []


@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
async def test_single_nodes_can_be_traced(recorded, is_async):
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


async def test_a_method_can_be_a_traced_node(recorded):
    """
    Its input is the state, and not the object it is a method of.
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


def test_a_generator_cannot_be_a_traced_node():
    """
    LangGraph looks what kind of function it is, and runs it in its own way; this is told where it is decorated.
    """
    with pytest.raises(TypeError, match="got the generator pieces"):

        @trace_node
        def pieces(state):
            yield {"n": 1}


def test_a_traced_node_in_a_wrapped_graph_is_one_observation(recorded):
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


def test_a_traced_node_still_shows_the_subgraph_it_uses():
    """
    LangGraph looks for subgraphs through one wrapper, which is ours, however many there are.
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


async def test_nothing_stays_behind_in_the_ledger(recorded):
    """
    After runs that ended in every way, no run is open in the handler's ledger.
    """
    graph = wrap_graph(graphs.steps(count=3))
    graph.invoke({"seen": []})
    for _ in graph.stream({"seen": []}):
        break
    with pytest.raises(ValueError, match="no such page"):
        wrap_graph(graphs.failing()).invoke({"seen": []})
    await graph.ainvoke({"seen": []})

    assert len(FluxLoopCallbackHandler().ledger) == 0
