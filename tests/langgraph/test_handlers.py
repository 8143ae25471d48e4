"""
A wrapped graph beside handlers, ours and other people's: each run is recorded once, and nobody hears less.
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


def test_wrapping_twice_or_with_a_handler_besides_records_once(recorded):
    """
    Wrapped twice, with a handler passed, with one installed, as a node of another wrapped graph.
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
    A model run that two handlers of ours hear of, the graph's and the user's own, is one GENERATION.
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
    A node that calls a model with callbacks of its own loses LangChain's parent, and not ours.
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


def test_a_folded_step_that_fails_is_recorded_with_a_handler_besides_too(recorded):
    """
    Both handlers are told of the failure; what the first hears does not make the second take it for handed on.
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


def test_other_peoples_handlers_hear_all_they_did(recorded):
    """
    Handlers of the graph's and of the call's configuration are told of the run, as without us.
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
    In a trace that is open, the graph's run is part of it.
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
