"""
Nested frameworks: each reports the parents of its own steps only, without those of the other framework in between.
"""

from __future__ import annotations

import operator
from typing import Annotated, Any, TypedDict

import pytest
from agents import function_tool
from custom.agents_aid import Calls, Says, agent_of, recorded, run
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langgraph.graph import START, StateGraph
from scripted_models import ScriptedModel

import fluxloop
from fluxloop_langgraph import wrap_graph

CHAIN = ChatPromptTemplate.from_messages([("user", "{q}")]) | ScriptedModel(replies=["yes"]) | StrOutputParser()


class State(TypedDict, total=False):
    """Return the text of the model's input."""

    said: Annotated[list[str], operator.add]


def graph_of(name: str, node: Any) -> Any:
    """Return a wrapped graph of one *node*."""
    return wrap_graph(StateGraph(State).add_node("node", node).add_edge(START, "node").compile(name=name))


async def ask_helpers(state: State) -> State:
    """Call an agent, directly and inside an observation, and then a chain."""
    await run(agent_of(Says("ok"), name="Helper"))
    with fluxloop.observe("by hand"):
        answer = await run(agent_of(Says("ok"), name="Helper"))
    return {"said": [await CHAIN.ainvoke({"q": answer})]}


INNER = graph_of("inner", ask_helpers)


@function_tool
async def ask_a_graph(q: str) -> str:
    """Run the inner graph."""
    return str(await INNER.ainvoke({"said": [q]}))


@function_tool
def ask_a_chain(q: str) -> str:
    """Run a chain, in the thread the tool is called in."""
    return str(CHAIN.invoke({"q": q}))


@pytest.mark.parametrize("streamed", [False, True], ids=["plain", "streamed"])
async def test_each_step_is_a_child_of_the_innermost_step_around_it(streamed):
    """
    LangChain reports the outer node as the parent of a chain in a tool; the Agents SDK reports the tool as the parent
    of an agent in the inner node. The recorded parent is the step in between.
    """
    turns = [Calls("ask_a_graph", {"q": "a"}), Calls("ask_a_chain", {"q": "b"})], Says("done")
    desk = agent_of(*turns, name="Desk", tools=[ask_a_graph, ask_a_chain])

    async def ask_the_desk(state: State) -> State:
        return {"said": [await run(desk, streamed=streamed)]}

    with recorded() as captured:
        await graph_of("outer", ask_the_desk).ainvoke({"said": []})
    (trace,) = captured.traces()

    def below(observation: Any, indent: str = "") -> list[str]:
        lines = [line for child in trace.children(observation) for line in below(child, indent + "  ")]
        return [f"{indent}{observation.type.name} {observation.name}", *lines]

    assert below(trace.roots[0]) == TREE.splitlines()


TREE = """\
CHAIN outer
  CHAIN node
    AGENT Desk
      GENERATION response
      TOOL ask_a_graph
        CHAIN inner
          CHAIN node
            AGENT Helper
              GENERATION response
            SPAN by hand
              AGENT Helper
                GENERATION response
            GENERATION ScriptedModel
      TOOL ask_a_chain
        GENERATION ScriptedModel
      GENERATION response"""
