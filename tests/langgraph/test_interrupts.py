"""
Runs that wait for a human, and runs that bring an answer.
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
async def test_an_interrupt_is_a_status_and_an_event_and_its_answer_an_event(recorded, is_async, is_wrapped):
    """
    The run ends as interrupted; question and answer are EVENTs; nothing is an error.
    A `FluxLoopCallbackHandler` records the same.
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
    (found,) = interruptions(recorded.traces())
    assert (found.node, found.answer, found.is_waiting) == ("ask", "yes", False)


def test_the_traces_of_question_and_answer_have_the_same_checkpoint(recorded):
    """
    Both traces and both EVENTs have the thread id and checkpoint id that LangGraph saved.
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
    An interrupt that passes through several graphs is one EVENT, in the innermost node, and one resume.
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
def test_a_graph_configured_to_stop_at_a_node_is_interrupted(recorded, when):
    """
    Static interrupts raise no exception and only trigger `on_interrupt`; the run is interrupted.
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


def test_a_subgraph_configured_to_stop_records_its_node(recorded):
    """
    The event of LangGraph is only for the outer graph; the node is recorded nevertheless.
    """
    graph = wrap_graph(graphs.nested(graphs.steps(interrupt_before=["step_1"]), checkpointer=InMemorySaver()))
    graph.invoke({"seen": []}, THREAD)

    assert [(one.node, one.is_waiting) for one in interruptions(recorded.traces())] == [("inner", True)]

    graph.invoke(None, THREAD)

    assert waiting(recorded.traces()) == []


@pytest.mark.parametrize("is_wrapped", [False, True], ids=["handler", "wrapped"])
def test_a_question_is_recorded_when_a_parallel_node_fails(recorded, is_wrapped):
    """
    The run is an error; the question is recorded, and answered when the graph continues.
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


def test_parallel_questions_are_answered_by_id(recorded):
    """
    Two interrupts of one step are two EVENTs under their nodes; answers by id are matched to them.
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


def test_a_command_to_the_parent_graph_is_a_success(recorded):
    """
    `Command.PARENT` is raised as an exception; the node is a success, and the command is its output.
    """
    wrap_graph(graphs.handing_over()).invoke({"seen": []})
    (node,) = only(recorded, "hand_over")

    assert {one.status for one in recorded.traces()[0].observations} == {"success"}
    assert (node.output["__class__"], node.output["goto"]) == ("Command", "after")


def test_control_flow_is_recognized_by_class_not_by_name(recorded):
    """
    A user exception named GraphInterrupt is an error, a subclass of the real one is not.
    """
    fake = type("GraphInterrupt", (Exception,), {})("mine")
    real = type("Mine", (GraphInterrupt,), {})(())
    with pytest.raises(type(fake)):
        wrap_graph(graphs.failing(fake)).invoke({"seen": []})
    wrap_graph(graphs.failing(real)).invoke({"seen": []})

    assert [one.status for one in only(recorded, "fail")] == ["error", "interrupted"]


def test_an_interrupt_in_a_runnable_is_not_an_error(recorded):
    """
    All runs inside the node that asks are interrupted as well.
    """
    builder = StateGraph(graphs.State)
    builder.add_node("ask", lambda state: {"seen": [RunnableLambda(lambda n: interrupt(n)).invoke(1)]})
    builder.add_edge(START, "ask")
    wrap_graph(builder.compile(checkpointer=InMemorySaver())).invoke({"seen": []}, THREAD)

    assert {one.status for one in recorded.traces()[0].observations if one.name != "interrupt"} == {"interrupted"}


def test_parallel_questions_of_an_agents_tools_are_separate(recorded):
    """
    A question is an EVENT under its tool and has the name of the node, although the nodes of agents are folded.
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


async def test_parallel_questions_are_recorded_in_order(recorded):
    """
    LangGraph reports the interrupts of one step in an arbitrary order.
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
def test_the_question_of_a_task_is_recorded_once(recorded, is_wrapped):
    """
    LangGraph reports the interrupt of a `@task` twice, for the task and for its caller.
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


def test_a_drained_run_is_cancelled_and_does_not_wait(recorded):
    """
    A drained run can continue later; it is neither an error nor a question.
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
def test_an_interrupt_in_a_subgraph_is_recorded_once(recorded, wrapped):
    """
    It passes through the node and the graph around it; handler and wrapper together record one EVENT.
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


def test_no_interrupt_is_recorded_for_an_unsampled_trace():
    """
    Neither question nor answer is written if the trace is not.
    """
    graph, config = graphs.asking(), {**THREAD, "callbacks": [FluxLoopCallbackHandler()]}
    with capture(sample_rate=0) as captured:
        graph.invoke({"seen": []}, config)
        graph.invoke(Command(resume="yes"), config)

    assert list(captured.storage.read()) == []


def test_a_user_class_named_command_is_not_an_answer(recorded):
    """
    An input of a user class with that name is data, and none of its code runs.
    """

    class Command:
        @property
        def resume(self):
            raise AssertionError("looked into")

    RunnableLambda(lambda given: 1).invoke(Command(), {"callbacks": [FluxLoopCallbackHandler()]})

    assert only(recorded, "resume") == []
