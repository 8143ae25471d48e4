"""
Other graphs that can be wrapped: agents made by ``create_agent``, and remote graphs.
"""

from __future__ import annotations

from types import SimpleNamespace

import graphs
import pytest
from langchain_core.language_models.fake_chat_models import FakeMessagesListChatModel
from langchain_core.messages import AIMessage
from langchain_core.tools import tool
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.pregel.remote import RemoteGraph

from fluxloop_langchain import FluxLoopCallbackHandler
from fluxloop_langgraph import wrap_graph


class Model(FakeMessagesListChatModel):
    """A scripted model that takes tools."""

    def bind_tools(self, tools, **kwargs):
        return self


@tool
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
async def test_an_agent_is_its_model_calls_and_its_tools(recorded, is_async):
    """
    An agent made by ``create_agent`` is recorded as AGENT, GENERATION and TOOL, not as thirty runnables.
    """
    agents = pytest.importorskip("langchain.agents")

    call = {"name": "add", "args": {"a": 1, "b": 2}, "id": "call-1"}
    model = Model(responses=[AIMessage("", tool_calls=[call]), AIMessage("three")])
    agent = wrap_graph(agents.create_agent(model, [add]))
    given = {"messages": [("user", "1 + 2?")]}
    result = await agent.ainvoke(given) if is_async else agent.invoke(given)

    assert result["messages"][-1].content == "three"
    assert [line.partition(" ->")[0] for line in recorded.outline().splitlines()] == [
        "AGENT LangGraph",
        "  GENERATION Model",
        "  TOOL add",
        "  GENERATION Model",
    ]


@pytest.mark.parametrize("with_handler", [False, True], ids=["alone", "with handler"])
@pytest.mark.parametrize("name", [None, "adder", "other"])
def test_a_node_that_is_an_agent_is_that_agent(recorded, name, with_handler):
    """
    Node and agent are one observation, unless the agent has a name of its own.
    """
    agents = pytest.importorskip("langchain.agents")
    agent = agents.create_agent(Model(responses=[AIMessage("three")]), [add], name=name)
    builder = StateGraph(MessagesState)
    builder.add_node("adder", agent)
    builder.add_edge(START, "adder")
    graph = wrap_graph(graphs.nested(builder.compile()))
    graph.invoke({"messages": []}, {"callbacks": [FluxLoopCallbackHandler()] if with_handler else []})

    inside = ["      AGENT other", "        GENERATION Model"] if name == "other" else ["      GENERATION Model"]
    assert [line.partition(" ->")[0] for line in recorded.outline().splitlines()] == [
        "CHAIN LangGraph",
        "  CHAIN before",
        "  CHAIN inner",
        "    CHAIN adder" if name == "other" else "    AGENT adder",
        *inside,
    ]


class Server:
    """Replaces the client of a LangGraph server; streams the given values."""

    def __init__(self, *values, error=None):
        self.values, self.error, self.configs = values, error, []
        self.runs = SimpleNamespace(stream=self.stream)

    def stream(self, *, config, **options):
        self.configs.append(config)
        for value in self.values:
            yield SimpleNamespace(event="values", data=value)
        if self.error is not None:
            raise self.error


def remote(*values, error=None):
    return RemoteGraph("assistant", sync_client=Server(*values, error=error), client=Server())


def test_a_call_of_a_remote_graph_is_one_observation(recorded):
    """
    The call of a remote graph is recorded with its result, and returns what the bare graph returns.
    """
    config = {"configurable": {"thread_id": "t-1"}}
    bare, wrapped = remote({"n": 1}, {"n": 2}), wrap_graph(remote({"n": 1}, {"n": 2}))

    assert wrapped.invoke({"n": 0}, config) == bare.invoke({"n": 0}, config) == {"n": 2}
    assert wrapped.sync_client.configs == bare.sync_client.configs
    assert isinstance(wrapped, RemoteGraph)
    (trace,) = recorded.traces()
    assert (trace.session_id, trace.name, trace.status) == ("t-1", "assistant", "success")
    assert [one.type.name for one in trace.observations] == ["CHAIN"]


def test_a_remote_graph_records_its_input_and_its_thread(recorded):
    """
    The input is recorded as it is; the thread may come from the configuration of the graph.
    """
    wrap_graph(remote({"n": 2})).with_config(configurable={"thread_id": "t-2"}).invoke({"n": 0})
    (trace,) = recorded.traces()

    assert trace.session_id == "t-2"
    assert recorded.outline(inputs=True) == "CHAIN assistant({'n': 0}) -> [{'n': 2}]"
    assert trace.observations[0].metadata["assistant_id"] == "assistant"


def test_a_remote_graph_that_fails_is_an_error(recorded):
    """
    The exception is raised unchanged, and its message is recorded.
    """
    with pytest.raises(ConnectionError, match="gone"):
        wrap_graph(remote(error=ConnectionError("gone"))).invoke({"n": 0})

    assert recorded.outline() == "CHAIN assistant [error: gone]"
