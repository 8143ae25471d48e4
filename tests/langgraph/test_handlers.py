"""
A wrapped graph with other handlers, FluxLoop's and the user's: each run is recorded once, no handler misses events.
"""

from __future__ import annotations

import graphs
import pytest
from graphs import THREAD, only
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.output_parsers import StrOutputParser
from langgraph.graph import START, StateGraph
from scripted_models import USAGE, ScriptedModel

import fluxloop
from fluxloop.models import ObservationType
from fluxloop_langchain import FluxLoopCallbackHandler, install, uninstall
from fluxloop_langgraph import wrap_graph


def test_wrapping_twice_or_passing_a_handler_as_well_records_once(recorded):
    """
    Each run is one observation: wrapped twice, with a handler passed or installed, and nested in a wrapped graph.
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


def test_details_are_recorded_when_a_handler_is_passed_as_well(recorded):
    """
    With a `FluxLoopCallbackHandler` passed as well, nodes have the metadata of a wrapped graph.
    """
    wrap_graph(graphs.flaky(1)).invoke({"seen": []}, {"callbacks": [FluxLoopCallbackHandler()]})

    assert [one.metadata["attempt"] for one in only(recorded, "fetch")] == [1, 2]
    assert only(recorded, "fetch")[1].metadata["changes"] == {"n": {"to": 2}}


@pytest.mark.parametrize("way", ["invoke", "stream", "ainvoke", "astream"])
async def test_tokens_are_counted_once_when_a_handler_is_passed_as_well(recorded, way):
    """
    A model run that two FluxLoop handlers are notified of is one GENERATION.
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
async def test_a_handler_passed_inside_a_node_nests_under_the_node(recorded, is_async):
    """
    A node that passes its own callbacks to a model loses LangChain's parent, but not FluxLoop's.
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


def test_a_failed_folded_step_is_recorded_when_a_handler_is_passed_as_well(recorded):
    """
    Two handlers are notified of the failure; the second does not mistake it for one that was propagated.
    """

    class Strict(StrOutputParser):
        def parse(self, text):
            raise ValueError("not this")

    def node(state):
        list((ScriptedModel(replies=["yes"]) | Strict() | StrOutputParser()).stream("Who?"))

    builder = StateGraph(graphs.State)
    builder.add_node("node", node)
    builder.add_edge(START, "node")
    with pytest.raises(ValueError, match="not this"):
        wrap_graph(builder.compile()).invoke({"n": 1}, {"callbacks": [FluxLoopCallbackHandler()]})

    assert [o.name for o in recorded.traces()[0].observations] == ["LangGraph", "node", "ScriptedModel", "Strict"]


def test_other_handlers_receive_all_their_events(recorded):
    """
    Handlers in the configuration of the graph and of the call receive the same events as without FluxLoop.
    """

    class Other(BaseCallbackHandler):
        def __init__(self):
            self.names = []

        def on_chain_start(self, serialized, inputs, **kwargs):
            self.names.append(kwargs.get("name"))

    bare, ours = [Other(), Other()], [Other(), Other()]
    graphs.steps().with_config({"callbacks": [bare[0]]}).invoke({"seen": []}, {"callbacks": [bare[1]]})
    configured = wrap_graph(graphs.steps().with_config({"callbacks": [ours[0]]}))
    configured.invoke({"seen": []}, {"callbacks": [ours[1]]})
    configured.invoke({"seen": []})

    assert ours[1].names == bare[1].names
    assert ours[0].names == [*bare[0].names, "LangGraph", "step_0", "step_1"]
    assert len(recorded.traces()) == 2


def test_a_wrapped_graph_in_a_node_inherits_the_handlers_of_the_node():
    """
    A wrapped graph that is called in a node without a configuration inherits the handlers of that node.
    """
    names = []

    class Other(BaseCallbackHandler):
        def on_chain_start(self, serialized, inputs, **kwargs):
            names.append(kwargs.get("name"))

    inner = wrap_graph(graphs.steps(count=1))
    outer = StateGraph(graphs.State)
    outer.add_node("call", lambda state: {"n": inner.invoke({"seen": []})["n"]})
    outer.add_edge(START, "call")
    outer.compile().invoke({"seen": []}, {"callbacks": [Other()]})

    assert names == ["LangGraph", "call", "LangGraph", "step_0"]


def test_a_graph_inside_an_agent_nests_there(recorded):
    """
    A graph that runs inside an open trace is part of that trace.
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
