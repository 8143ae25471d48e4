"""
Agents made by ``create_agent`` are recorded as AGENT with GENERATIONs and TOOLs.
"""

from __future__ import annotations

import asyncio

import pytest

pytest.importorskip("langchain")

from langchain.agents import create_agent
from langchain.agents.middleware import AgentMiddleware
from langchain_core.messages import AIMessage
from langchain_core.runnables import RunnableLambda
from langchain_core.tools import tool
from scripted_models import ScriptedModel, calls

from fluxloop_langchain import FluxLoopCallbackHandler


@tool
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


def calculator(**options):
    """Return an agent that adds before it answers."""
    model = ScriptedModel(replies=[calls("add", {"a": 1, "b": 2}), "It is 3."])
    return create_agent(model, [add], name="calculator", **options)


TASK = {"messages": [("user", "1 + 2?")]}
MARKS_ITS_RUNS = "ls_integration" in (calculator().config or {}).get("metadata", {})
"""Whether this langchain marks the runs of an agent in metadata; older ones show it only by their edges."""

MARKED = """\
AGENT calculator
  GENERATION ScriptedModel
  TOOL add
  GENERATION ScriptedModel"""

UNMARKED = """\
AGENT calculator
  CHAIN model
    GENERATION ScriptedModel
  CHAIN tools
    TOOL add
  CHAIN model
    GENERATION ScriptedModel"""


def tree(captured):
    """Return the outline without outputs."""
    return "\n".join(line.partition(" ->")[0] for line in captured.outline().splitlines())


@pytest.mark.parametrize("way", ["invoke", "ainvoke", "stream", "astream"])
def test_an_agent_is_recorded_as_its_models_and_tools(captured, config, way):
    """
    Nodes of the loop and edges are folded.
    """

    async def read():
        return [item async for item in calculator().astream(TASK, config)]

    if way == "invoke":
        calculator().invoke(TASK, config)
    elif way == "stream":
        list(calculator().stream(TASK, config))
    else:
        asyncio.run(calculator().ainvoke(TASK, config) if way == "ainvoke" else read())

    assert tree(captured) == (MARKED if MARKS_ITS_RUNS else UNMARKED)
    assert captured.traces()[0].usage.total_tokens == 50


def test_the_name_of_a_run_does_not_decide_whether_it_is_an_agent(captured, config):
    """
    A chain whose name has the word is a chain, and an agent with another name is an agent.
    """
    calculator().invoke(TASK, {**config, "run_name": "monday"})
    RunnableLambda(abs).with_config(run_name="my agent").invoke(1, config)

    assert tree(captured).splitlines()[0] == "AGENT monday"
    assert tree(captured).splitlines()[-1] == "CHAIN my agent"


def test_an_agent_without_a_name_is_an_agent(captured, config):
    """
    The default name of the graph is LangGraph; its run is an AGENT.
    """
    create_agent(ScriptedModel(replies=[calls("add", {"a": 1, "b": 2}), "3"]), [add]).invoke(TASK, config)

    assert tree(captured).splitlines()[0] == "AGENT LangGraph"


def test_a_chain_that_a_tool_calls_is_not_an_agent(captured, config):
    """
    All runs in an agent have the marks of the agent; a chain inside stays a chain.
    """

    @tool
    def measure(text: str) -> int:
        """Measure."""
        return RunnableLambda(len).with_config(run_name="length").invoke(text)

    model = ScriptedModel(replies=[calls("measure", {"text": "abc"}), "3"])
    create_agent(model, [measure], name="a").invoke(TASK, config)

    assert "CHAIN length" in [line.strip() for line in tree(captured).splitlines()]
    assert tree(captured).count("AGENT") == 1


def test_show_all_records_the_nodes_with_langgraph_s_metadata(captured):
    """
    Node, step and namespace are in the metadata of the run of a node, and of no run inside it.
    """
    calculator().invoke(TASK, {"callbacks": [FluxLoopCallbackHandler(show_all=True)]})
    (trace,) = captured.traces()
    steps = {o.name: o.metadata.get("langgraph_step") for o in trace.observations if o.type.name != "TOOL"}

    assert steps["model"] == 3
    assert "langgraph_step" not in trace.observations[2].metadata


def test_hooks_of_middleware_are_recorded(captured, config):
    """
    The hooks of a middleware are user code, and are not folded.
    """

    class Careful(AgentMiddleware):
        def before_model(self, state, runtime):
            return None

    calculator(middleware=[Careful()]).invoke(TASK, config)

    assert tree(captured).count("  CHAIN Careful.before_model") == 2


@pytest.mark.parametrize("is_async", [False, True])
def test_parallel_tool_calls_are_recorded_separately(captured, config, is_async):
    """
    Twenty calls of one tool in one turn, in threads, each with its own arguments, result and id.
    """
    many = AIMessage("", tool_calls=[{"name": "add", "args": {"a": n, "b": n}, "id": f"c{n}"} for n in range(20)])
    agent = create_agent(ScriptedModel(replies=[many, "done"]), [add], name="many")
    asyncio.run(agent.ainvoke(TASK, config)) if is_async else agent.invoke(TASK, config)
    tools = [o for o in captured.traces()[0].observations if o.type.name == "TOOL"]

    assert sorted((o.input["a"], o.output, o.metadata["tool_call_id"]) for o in tools) == sorted(
        (n, str(2 * n), f"c{n}") for n in range(20)
    )


def test_a_failing_tool_is_an_error_of_tool_and_agent(captured, config):
    """
    Both have the message of the exception.
    """

    @tool
    def broken(text: str) -> str:
        """Break."""
        raise LookupError("no such page")

    agent = create_agent(ScriptedModel(replies=[calls("broken", {"text": "x"}), "done"]), [broken], name="a")
    with pytest.raises(LookupError):
        agent.invoke(TASK, config)
    found = {
        o.type.name: (o.status.value, o.error) for o in captured.traces()[0].observations if o.type.name != "CHAIN"
    }

    assert found["TOOL"] == found["AGENT"] == ("error", "no such page")
    assert found["GENERATION"] == ("success", None)
