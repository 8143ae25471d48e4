"""
Tool calls that never reach their tool are recorded as TOOL, with the answer that the model is given.
"""

from __future__ import annotations

import asyncio

import pytest

pytest.importorskip("langchain")

from langchain.agents import create_agent
from langchain.agents.middleware import AgentMiddleware, HumanInTheLoopMiddleware, ToolCallLimitMiddleware
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import Command
from scripted_models import ScriptedModel, calls

import fluxloop
from fluxloop_langchain import FluxLoopCallbackHandler
from fluxloop_langgraph import wrap_graph

TASK = {"messages": [("user", "1 + 2?")]}


@tool
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


class Answering(AgentMiddleware):
    """Answers calls instead of the tool, with what *answer* returns for a request."""

    tools = ()

    def __init__(self, answer):
        self.answer = answer

    def wrap_tool_call(self, request, handler):
        return self.answer(request, handler)

    async def awrap_tool_call(self, request, handler):
        found = self.answer(request, handler)
        return await found if asyncio.iscoroutine(found) else found


def answer(request, **fields):
    return ToolMessage("from a cache", tool_call_id=request.tool_call["id"], **fields)


def run(agent, how, given=TASK, config=None):
    """Run *agent*, sync or async, with a handler or wrapped."""
    config = {"configurable": {"thread_id": "t"}, **(config or {})}
    if how.startswith("wrapped"):
        agent = wrap_graph(agent)
    else:
        config["callbacks"] = [FluxLoopCallbackHandler()]
    return asyncio.run(agent.ainvoke(given, config)) if how.endswith("async") else agent.invoke(given, config)


def tools(captured):
    """Return name, input, output, status and call id of each TOOL."""
    found = [one for trace in captured.traces() for one in trace.observations if one.type.name == "TOOL"]
    return [(one.name, one.input, one.output, one.status.value, one.metadata.get("tool_call_id")) for one in found]


def agent_that_calls(*names, middleware=(), **options):
    """Return an agent whose model calls a tool of each of *names* at once, then answers."""
    many = [{"name": name, "args": {"a": number, "b": 2}, "id": f"c{number}"} for number, name in enumerate(names)]
    return create_agent(
        ScriptedModel(replies=[AIMessage("", tool_calls=many), "three"]), [add], middleware=middleware, **options
    )


HOW = pytest.mark.parametrize("how", ["handler sync", "handler async", "wrapped sync", "wrapped async"])


@HOW
@pytest.mark.parametrize(
    ("answered", "status"),
    [
        pytest.param(lambda request, handler: answer(request), "success", id="message"),
        pytest.param(lambda request, handler: answer(request, status="error"), "error", id="error"),
        pytest.param(lambda request, handler: Command(update={"messages": [answer(request)]}), "success", id="command"),
    ],
)
def test_a_call_that_a_middleware_answers_is_a_tool(captured, how, answered, status):
    """Its output is the answer, and its status that of the message."""
    run(agent_that_calls("add", middleware=[Answering(answered)]), how)

    assert tools(captured) == [("add", {"a": 0, "b": 2}, "from a cache", status, "c0")]


@HOW
def test_a_call_of_an_unknown_tool_is_an_error(captured, how):
    """The model is given the names of the tools there are."""
    run(agent_that_calls("multiply"), how)
    ((name, given, output, status, call_id),) = tools(captured)

    assert (name, given, status, call_id) == ("multiply", {"a": 0, "b": 2}, "error", "c0")
    assert "not a valid tool" in output


@HOW
def test_a_call_that_a_human_rejects_is_an_error(captured, how):
    """The run that waits has no TOOL yet; the run that brings the decision has."""
    gate = HumanInTheLoopMiddleware(interrupt_on={"add": True})
    agent = agent_that_calls("add", middleware=[gate], checkpointer=InMemorySaver())
    run(agent, how)
    assert tools(captured) == []
    run(agent, how, Command(resume={"decisions": [{"type": "reject", "message": "too dear"}]}))
    ((name, given, output, status, call_id),) = tools(captured)

    assert (name, given, status, call_id) == ("add", {"a": 0, "b": 2}, "error", "c0")
    assert "too dear" in output


@HOW
def test_a_call_that_a_human_approves_is_recorded_once(captured, how):
    """It is the run of the tool."""
    gate = HumanInTheLoopMiddleware(interrupt_on={"add": True})
    agent = agent_that_calls("add", middleware=[gate], checkpointer=InMemorySaver())
    run(agent, how)
    run(agent, how, Command(resume={"decisions": [{"type": "approve"}]}))

    assert tools(captured) == [("add", {"a": 0, "b": 2}, "2", "success", "c0")]


@HOW
def test_a_call_beyond_a_limit_is_an_error(captured, how):
    """A middleware that looks at the answer of the model answers the calls itself."""
    try:
        limit = ToolCallLimitMiddleware(run_limit=1, exit_behavior="continue")
    except ValueError:
        pytest.skip("this langchain ends the agent at the limit, before the call is answered")
    run(agent_that_calls("add", "add", middleware=[limit]), how)
    found = sorted(tools(captured), key=lambda one: one[-1])

    assert [(one[3], one[4]) for one in found] == [("success", "c0"), ("error", "c1")]


@HOW
def test_of_several_calls_each_is_recorded_once(captured, how):
    """One runs, one is answered by a middleware, one is unknown."""

    def answered(request, handler):
        return answer(request) if request.tool_call["id"] == "c1" else handler(request)

    run(agent_that_calls("add", "add", "multiply", middleware=[Answering(answered)]), how)
    found = sorted(tools(captured), key=lambda one: one[-1])

    assert [(one[0], one[3]) for one in found] == [("add", "success"), ("add", "success"), ("multiply", "error")]
    assert [one[2] for one in found[:2]] == ["2", "from a cache"]


@HOW
@pytest.mark.parametrize(
    "answered",
    [
        pytest.param(lambda request, handler: handler(request), id="handler"),
        pytest.param(
            lambda request, handler: ToolMessage(
                str(request.tool.invoke(request.tool_call["args"])), tool_call_id=request.tool_call["id"]
            ),
            id="invoke",
        ),
    ],
)
def test_a_call_that_a_middleware_passes_on_is_recorded_once(captured, how, answered):
    """By the framework's handler, or by a call of the tool without the id."""
    run(agent_that_calls("add", middleware=[Answering(answered)]), how)

    assert [(one[0], one[2] in ("2", 2), one[3]) for one in tools(captured)] == [("add", True, "success")]


@HOW
def test_wrong_arguments_are_one_error(captured, how):
    """LangChain reports the run of the tool, which ends before the function is called."""
    agent = create_agent(ScriptedModel(replies=[calls("add", {"a": "one", "b": 2}), "three"]), [add])
    run(agent, how)

    assert [(one[0], one[3]) for one in tools(captured)] == [("add", "error")]


@HOW
def test_a_node_of_the_user_s_that_answers_calls_is_recorded(captured, how):
    """A graph without `create_agent`: a tool of FluxLoop's that the node calls, and a call that it answers itself."""

    @fluxloop.tool
    def double(n):
        return 2 * n

    def work(state):
        first, second = state["messages"][-1].tool_calls
        done = ToolMessage(str(double(**first["args"])), tool_call_id=first["id"])
        return {"messages": [done, ToolMessage("unknown", tool_call_id=second["id"], status="error")]}

    made = [{"name": "double", "args": {"n": 2}, "id": "c0"}, {"name": "halve", "args": {"n": 2}, "id": "c1"}]
    builder = StateGraph(MessagesState).add_node("work", work).add_edge(START, "work")
    run(builder.compile(), how, {"messages": [HumanMessage("?"), AIMessage("", tool_calls=made)]})

    assert [(one[0], one[2], one[3]) for one in tools(captured)] == [
        ("double", 4, "success"),
        ("halve", "unknown", "error"),
    ]


@HOW
def test_an_unknown_tool_of_a_tool_node_is_an_error(captured, how):
    """LangGraph's node for tools, in a graph of the user's."""
    prebuilt = pytest.importorskip("langgraph.prebuilt", exc_type=ImportError)
    builder = StateGraph(MessagesState).add_node("tools", prebuilt.ToolNode([add])).add_edge(START, "tools")
    made = [{"name": name, "args": {"a": 1, "b": 2}, "id": name} for name in ("add", "multiply")]
    run(builder.compile(), how, {"messages": [AIMessage("", tool_calls=made)]})

    assert sorted((one[0], one[3]) for one in tools(captured)) == [("add", "success"), ("multiply", "error")]


@HOW
def test_calls_that_were_answered_before_are_not_recorded_again(captured, how):
    """The history of a conversation has calls and answers of earlier runs."""
    history = [HumanMessage("?"), calls("add", {"a": 1, "b": 2}, "old"), ToolMessage("3", tool_call_id="old")]
    agent = create_agent(ScriptedModel(replies=["three"]), [add])
    run(agent, how, {"messages": history})

    assert tools(captured) == []


def test_the_tool_is_where_the_call_was_answered(captured, config):
    """In the tree, between the model that called and the model that was given the answer."""
    agent = agent_that_calls("add", middleware=[Answering(lambda request, handler: answer(request))])
    agent.invoke(TASK, config)
    found = [o.type.name for o in captured.traces()[0].observations if o.type.name != "CHAIN"]

    assert found == ["AGENT", "GENERATION", "TOOL", "GENERATION"]
