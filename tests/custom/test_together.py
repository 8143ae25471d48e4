"""
Frameworks inside each other: each names the parents of its own steps, and knows nothing of the other's in between.
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
    """What was said."""

    said: Annotated[list[str], operator.add]


def graph_of(name: str, node: Any) -> Any:
    """Return a wrapped graph of one *node*."""
    return wrap_graph(StateGraph(State).add_node("node", node).add_edge(START, "node").compile(name=name))


async def ask_helpers(state: State) -> State:
    """Ask an agent, alone and inside an observation, and then a chain."""
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
async def test_each_step_hangs_under_the_innermost_one_whose_framework_it_is(streamed):
    """
    LangChain names the outer node as the parent of what runs in a tool, the Agents SDK the tool as that of what runs
    in the inner node: what is in between, and inside of that, is the parent.
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
