"""
Runs that wait for a human, and the runs that bring the answer.
"""

from __future__ import annotations

import threading
from functools import partial

import graphs
import pytest
from graphs import THREAD, only
from langchain_core.messages import AIMessage
from langchain_core.runnables import RunnableLambda
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.errors import GraphInterrupt
from langgraph.func import entrypoint, task
from langgraph.graph import START, StateGraph
from langgraph.types import Command, Send, interrupt
from scripted_models import ScriptedModel

from fluxloop.models import ObservationLevel
from fluxloop.testing import capture
from fluxloop_langchain import FluxLoopCallbackHandler
from fluxloop_langgraph import interruptions, waiting, wrap_graph


@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
@pytest.mark.parametrize("is_wrapped", [False, True], ids=["handler", "wrapped"])
async def test_an_interrupt_is_a_status_and_an_event_and_its_answer_is_one(recorded, is_async, is_wrapped):
    """
    The run ends as interrupted, what is asked is an EVENT, so is the answer; nothing is an error.
    A handler alone tells so too.
    """
    graph = wrap_graph(graphs.asking()) if is_wrapped else graphs.asking()
    config = THREAD if is_wrapped else {**THREAD, "callbacks": [FluxLoopCallbackHandler()]}
    for given in ({"seen": []}, Command(resume="yes")):
        await graph.ainvoke(given, config) if is_async else graph.invoke(given, config)

    assert recorded.outline(inputs=True) == (
        "CHAIN LangGraph({'seen': []}) [interrupted] -> {'seen': []}\n"
        "  CHAIN ask({'seen': []}) [interrupted]\n"
        "    EVENT interrupt({'question': 'go on?'})\n"
        "CHAIN LangGraph({'__class__': 'Command', 'resume': 'yes'}) -> {'seen': ['yes', 'step_1'], 'n': 1}\n"
        "  EVENT resume('yes')\n"
        "  CHAIN ask({'seen': []}) -> {'seen': ['yes']}\n"
        "  CHAIN after({'seen': ['yes']}) -> {'seen': ['step_1'], 'n': 1}"
    )
    assert {one.level for trace in recorded.traces() for one in trace.observations} == {ObservationLevel.INFO}
    (told,) = interruptions(recorded.traces())
    assert (told.node, told.answer, told.is_waiting) == ("ask", "yes", False)


def test_the_traces_of_question_and_answer_name_the_same_checkpoint(recorded):
    """
    Thread id and checkpoint id, on both traces and both EVENTs, are those LangGraph saved.
    """
    graph = wrap_graph(graphs.asking())
    graph.invoke({"seen": []}, THREAD)
    state = graph.get_state(THREAD)
    graph.invoke(Command(resume="yes"), THREAD)
    place = {"thread_id": "t-1", "checkpoint_id": state.config["configurable"]["checkpoint_id"]}
    (pending,) = state.tasks[0].interrupts
    first, second = recorded.traces()

    assert first.metadata["interrupted"] == {**place, "interrupt_ids": [pending.id]}
    assert second.metadata["resumed"] == place
    assert only(recorded, "interrupt")[0].metadata == {
        **place,
        "interrupt_id": pending.id,
        "langgraph_node": "ask",
    }
    assert only(recorded, "resume")[0].metadata == place
    assert (first.session_id, second.session_id) == ("t-1", "t-1")


def test_an_interrupt_inside_a_subgraph_belongs_to_the_node_that_asks(recorded):
    """
    It passes through every graph around it; it is one EVENT, where it came from, and one resume.
    """
    graph = wrap_graph(graphs.asking_inside())
    graph.invoke({"seen": []}, THREAD)
    graph.invoke(Command(resume="yes"), THREAD)

    assert [line.partition(" ->")[0] for line in recorded.outline().splitlines()] == [
        "CHAIN LangGraph [interrupted]",
        "  CHAIN before",
        "  CHAIN inner [interrupted]",
        "    CHAIN ask [interrupted]",
        "      EVENT interrupt",
        "CHAIN LangGraph",
        "  EVENT resume",
        "  CHAIN inner",
        "    CHAIN ask",
        "    CHAIN after",
    ]


@pytest.mark.parametrize("when", ["interrupt_before", "interrupt_after"])
def test_a_graph_that_was_told_to_stop_at_a_node_is_interrupted(recorded, when):
    """
    Static interrupts raise nothing and call nobody but `on_interrupt`; still the run is one that waits.
    """
    graph = wrap_graph(graphs.steps(checkpointer=InMemorySaver(), **{when: ["step_0"]}))
    graph.invoke({"seen": []}, THREAD)
    stopped_at = graph.get_state(THREAD).config["configurable"]["checkpoint_id"]
    graph.invoke(None, THREAD)
    first, second = recorded.traces()
    (event,) = only(recorded, "interrupt")

    assert (first.status, second.status) == ("interrupted", "success")
    assert event.metadata["when"] == when
    assert event.metadata["checkpoint_id"] == second.metadata["resumed"]["checkpoint_id"] == stopped_at
    assert event.metadata.get("langgraph_node") == ("step_0" if when == "interrupt_before" else None)


def test_a_graph_inside_that_was_told_to_stop_names_the_node_it_is(recorded):
    """
    LangGraph tells only that the graph around it waits; the node that stopped is known all the same.
    """
    graph = wrap_graph(graphs.nested(graphs.steps(interrupt_before=["step_1"]), checkpointer=InMemorySaver()))
    graph.invoke({"seen": []}, THREAD)

    assert [(one.node, one.is_waiting) for one in interruptions(recorded.traces())] == [("inner", True)]

    graph.invoke(None, THREAD)

    assert waiting(recorded.traces()) == []


@pytest.mark.parametrize("is_wrapped", [False, True], ids=["handler", "wrapped"])
def test_what_was_asked_beside_a_node_that_fails_is_told(recorded, is_wrapped):
    """
    The run is an error; the question stands, and is answered when the graph goes on.
    """
    failures, asking = [ValueError("busy")], threading.Event()

    def ask(state):
        asking.set()
        return {"seen": [interrupt("go on?")]}

    def fail(state):
        asking.wait()
        if failures:
            raise failures.pop()

    builder = StateGraph(graphs.State)
    builder.add_node("ask", ask)
    builder.add_node("fail", fail)
    builder.add_edge(START, "ask")
    builder.add_edge(START, "fail")
    graph = builder.compile(checkpointer=InMemorySaver())
    graph = wrap_graph(graph) if is_wrapped else graph
    config = {**THREAD, "callbacks": [FluxLoopCallbackHandler()]}
    with pytest.raises(ValueError, match="busy"):
        graph.invoke({"seen": []}, config)

    assert recorded.traces()[0].status == "error"
    assert [one.asked for one in waiting(recorded.traces())] == ["go on?"]

    graph.invoke(Command(resume="yes"), config)

    assert [(one.asked, one.answer) for one in interruptions(recorded.traces())] == [("go on?", "yes")]


def test_nodes_that_ask_at_once_are_answered_by_id(recorded):
    """
    Two interrupts of one step are two EVENTs under their nodes; answers given by id find theirs.
    """
    builder = StateGraph(graphs.State)
    builder.add_node("plan", lambda state: {})
    builder.add_node("ask", lambda state: {"seen": [interrupt(state["n"])]})
    builder.add_edge(START, "plan")
    builder.add_conditional_edges("plan", lambda state: [Send("ask", {"n": n}) for n in (1, 2)], ["ask"])
    graph = wrap_graph(builder.compile(checkpointer=InMemorySaver()))
    asked = {one.value: one.id for one in graph.invoke({"seen": []}, THREAD)["__interrupt__"]}
    graph.invoke(Command(resume={asked[1]: "one"}), THREAD)
    half = waiting(recorded.traces())
    graph.invoke(Command(resume={asked[2]: "two"}), THREAD)

    assert [one.asked for one in half] == [2]
    assert waiting(recorded.traces()) == []
    answered = {(one.asked, one.answer) for one in interruptions(recorded.traces()) if one.answer is not None}
    assert answered == {(1, "one"), (2, "two")}


def test_handing_over_to_the_graph_around_is_no_error(recorded):
    """
    `Command.PARENT` steers by an exception; the node that raised it succeeded, and its command is its output.
    """
    wrap_graph(graphs.handing_over()).invoke({"seen": []})
    (node,) = only(recorded, "hand_over")

    assert {one.status for one in recorded.traces()[0].observations} == {"success"}
    assert (node.output["__class__"], node.output["goto"]) == ("Command", "after")


def test_control_flow_is_told_by_class_and_not_by_name(recorded):
    """
    An exception of the user's that is called GraphInterrupt is an error, a subclass of the real one is not.
    """
    fake = type("GraphInterrupt", (Exception,), {})("mine")
    real = type("Mine", (GraphInterrupt,), {})(())
    with pytest.raises(type(fake)):
        wrap_graph(graphs.failing(fake)).invoke({"seen": []})
    wrap_graph(graphs.failing(real)).invoke({"seen": []})

    assert [one.status for one in only(recorded, "fail")] == ["error", "interrupted"]


def test_an_interrupt_in_a_tool_or_runnable_is_no_error(recorded):
    """
    Whatever runs inside the node that asks is interrupted as well.
    """
    builder = StateGraph(graphs.State)
    builder.add_node("ask", lambda state: {"seen": [RunnableLambda(lambda n: interrupt(n)).invoke(1)]})
    builder.add_edge(START, "ask")
    wrap_graph(builder.compile(checkpointer=InMemorySaver())).invoke({"seen": []}, THREAD)

    assert {one.status for one in recorded.traces()[0].observations if one.name != "interrupt"} == {"interrupted"}


def test_tools_of_an_agent_that_ask_at_once_are_each_told_apart(recorded):
    """
    What a tool asks is an EVENT under that tool, and names the node, although an agent's nodes are folded.
    """
    agents = pytest.importorskip("langchain.agents")

    @tool
    def ask(question: str) -> str:
        """Ask a human."""
        return interrupt(question)

    calls = [{"name": "ask", "args": {"question": f"{n}?"}, "id": f"call-{n}"} for n in (1, 2)]
    model = ScriptedModel(replies=[AIMessage("", tool_calls=calls), AIMessage("done")])
    agent = wrap_graph(agents.create_agent(model, [ask], checkpointer=InMemorySaver()))
    asked = agent.invoke({"messages": [("user", "go")]}, THREAD)["__interrupt__"]
    (trace,) = recorded.traces()

    assert [(one.name, trace.children(one)[0].input) for one in only(recorded, "ask")] == [
        ("ask", one.input["question"]) for one in only(recorded, "ask")
    ]
    assert {(one.node, one.asked) for one in waiting(recorded.traces())} == {("tools", "1?"), ("tools", "2?")}

    agent.invoke(Command(resume={one.id: one.value.upper() for one in asked}), THREAD)

    assert waiting(recorded.traces()) == []


async def test_what_is_asked_at_once_is_told_in_the_order_it_was_asked(recorded):
    """
    LangGraph tells the interrupts of one step in an order of its own.
    """
    builder = StateGraph(graphs.State)
    for name in "abcdef":
        builder.add_node(name, partial(_ask, name))
        builder.add_edge(START, name)
    await wrap_graph(builder.compile(checkpointer=InMemorySaver())).ainvoke({"seen": []}, THREAD)

    assert [one.asked for one in waiting(recorded.traces())] == [*"abcdef"]


async def _ask(name, state):
    return {"seen": [interrupt(name)]}


@pytest.mark.parametrize("is_wrapped", [False, True], ids=["handler", "wrapped"])
def test_what_a_task_asks_is_told_once(recorded, is_wrapped):
    """
    LangGraph names the interrupt of a `@task` twice, for the task and for the function that waits for its result.
    """

    @task
    def review(text):
        return interrupt(f"send {text}?")

    @entrypoint(checkpointer=InMemorySaver())
    def workflow(text):
        return review(text).result()

    graph = wrap_graph(workflow) if is_wrapped else workflow
    config = {**THREAD, "callbacks": [FluxLoopCallbackHandler()]}
    (asked,) = {one.id for one in graph.invoke("it", config)["__interrupt__"]}
    graph.invoke(Command(resume="yes"), config)

    assert [one.metadata["interrupt_id"] for one in only(recorded, "interrupt")] == [asked]
    assert recorded.traces()[0].metadata["interrupted"]["interrupt_ids"] == [asked]
    assert [(one.node, one.answer) for one in interruptions(recorded.traces())] == [("review", "yes")]


def test_a_drained_run_is_cancelled_and_waits_for_nobody(recorded):
    """
    A run that was asked to stop can go on later; that is neither an error nor a question.
    """
    runtime = pytest.importorskip("langgraph.runtime")
    if not hasattr(runtime, "RunControl"):
        pytest.skip("this LangGraph cannot be drained")
    control = runtime.RunControl()
    builder = StateGraph(graphs.State)
    builder.add_node("first", lambda state: control.request_drain("shutdown"))
    builder.add_node("second", lambda state: {"n": 1})
    builder.add_edge(START, "first")
    builder.add_edge("first", "second")
    graph = wrap_graph(builder.compile(checkpointer=InMemorySaver()))
    with pytest.raises(Exception, match="shutdown"):
        graph.invoke({"seen": []}, THREAD, control=control)

    assert recorded.traces()[0].status == "cancelled"
    assert waiting(recorded.traces()) == []


@pytest.mark.parametrize("wrapped", [False, True], ids=["bare", "wrapped"])
def test_an_interrupt_in_a_subgraph_is_told_once(recorded, wrapped):
    """
    It rises through the subgraph's node and graph, each of which waits; with handler and wrapper it is one EVENT too.
    """
    graph = wrap_graph(_asking_inside()) if wrapped else _asking_inside()
    config = {**THREAD, "callbacks": [FluxLoopCallbackHandler()]}
    graph.invoke({"seen": []}, config)
    (trace,) = recorded.traces()
    graph.invoke(Command(resume="yes"), config)

    (event,) = only(recorded, "interrupt")
    assert event.metadata["langgraph_node"] == "ask"
    assert {one.status.value for one in trace.observations if one.name != "interrupt"} == {"interrupted"}
    (answer,) = only(recorded, "resume")
    assert answer.input == "yes"


def _asking_inside():
    inner = (
        StateGraph(graphs.State).add_node("ask", lambda state: {"seen": [interrupt("sure?")]}).add_edge(START, "ask")
    )
    outer = StateGraph(graphs.State).add_node("inside", inner.compile()).add_edge(START, "inside")
    return outer.compile(checkpointer=InMemorySaver())


def test_of_a_trace_left_out_by_sampling_no_interrupt_is_recorded():
    """
    Neither what is asked nor what is answered is written for a trace that is not.
    """
    graph, config = graphs.asking(), {**THREAD, "callbacks": [FluxLoopCallbackHandler()]}
    with capture(sample_rate=0) as captured:
        graph.invoke({"seen": []}, config)
        graph.invoke(Command(resume="yes"), config)

    assert list(captured.storage.read()) == []


def test_an_input_that_is_only_called_command_brings_no_answer(recorded):
    """
    A class of the user's with that name is data, and none of its code runs.
    """

    class Command:
        @property
        def resume(self):
            raise AssertionError("looked into")

    RunnableLambda(lambda given: 1).invoke(Command(), {"callbacks": [FluxLoopCallbackHandler()]})

    assert only(recorded, "resume") == []
