"""
Observations of user code nest under the step that runs it, and runs nest under observations of user code.
"""

from __future__ import annotations

import asyncio
import threading
from importlib.util import find_spec

import pytest
from langchain_core.language_models import GenericFakeChatModel
from langchain_core.messages import AIMessage
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import RunnableLambda, RunnableParallel
from langchain_core.tools import StructuredTool, tool
from scripted_models import ScriptedModel, calls

import fluxloop
from fluxloop import ObservationData
from fluxloop.storage.inflight import read_journals
from fluxloop.tracing import propagation
from fluxloop_langchain import FluxLoopCallbackHandler
from fluxloop_langchain.orphan_runs import locate

needs_langchain = pytest.mark.skipif(find_spec("langchain") is None, reason="needs langchain")


@fluxloop.trace
def helper(value):
    return value


@fluxloop.trace
async def ahelper(value):
    await asyncio.sleep(0)
    return value


def by_hand(value):
    context = fluxloop.get_current_context()
    observation = ObservationData(type="span", name="by_hand", input=value)
    context.push_observation(observation)
    context.pop_observation()
    return value


def in_a_block(value):
    with fluxloop.observe("block", input=value) as observation:
        observation.output = value
    return value


@pytest.mark.parametrize(
    ("function", "line"), [(helper, "helper -> 7"), (by_hand, "by_hand"), (in_a_block, "block -> 7")]
)
@pytest.mark.parametrize("is_async", [False, True])
def test_a_decorated_function_in_a_step_is_under_the_step(captured, config, function, line, is_async):
    """
    Decorated, pushed by hand or in a block, also if LangChain runs the step in a thread.
    """

    def step(value):
        return function(value)

    chain = RunnableLambda(step).with_config(run_name="step") | RunnableLambda(abs)
    asyncio.run(chain.ainvoke(7, config)) if is_async else chain.invoke(7, config)

    assert captured.outline() == (f"CHAIN RunnableSequence -> 7\n  CHAIN step -> 7\n    SPAN {line}\n  CHAIN abs -> 7")


async def test_an_async_function_in_an_async_step_is_under_the_step(captured, config):
    """
    Awaited, in a task, in several tasks at once, in a thread.
    """

    async def step(value):
        await ahelper(value)
        await asyncio.create_task(ahelper(value))
        await asyncio.gather(*(ahelper(value) for _ in range(3)))
        return await asyncio.to_thread(helper, value)

    await RunnableLambda(step).ainvoke(7, config)

    assert captured.outline() == "CHAIN step -> 7\n" + "\n".join(["  SPAN ahelper -> 7"] * 5 + ["  SPAN helper -> 7"])


def test_a_thread_that_carries_the_context_finds_the_step(captured, config):
    """
    `fluxloop.copy_context` also carries LangChain's current step.
    """

    def step(value):
        thread = threading.Thread(target=fluxloop.copy_context(helper), args=(value,))
        thread.start()
        thread.join()
        return value

    RunnableLambda(step).invoke(7, config)

    assert captured.outline() == "CHAIN step -> 7\n  SPAN helper -> 7"


def test_parallel_steps_each_keep_their_own(captured, config):
    """
    Fifty branches in threads, each with a decorated function inside that nests under its own branch.
    """

    def branch(number):
        return RunnableLambda(lambda _: helper(number)).with_config(run_name=f"step{number}")

    RunnableParallel({str(number): branch(number) for number in range(50)}).invoke(None, config)
    (trace,) = captured.traces()
    names = {o.id: o.name for o in trace.observations}
    found = {o.output: names[o.parent_id] for o in trace.observations if o.name == "helper"}

    assert found == {number: f"step{number}" for number in range(50)}


def test_a_chain_inside_a_decorated_function_inside_a_step(captured, config):
    """
    Decorated functions and chains in turn: each nests under its caller.
    """

    @fluxloop.trace
    def middle(value):
        return RunnableLambda(helper).with_config(run_name="inner").invoke(value)

    @fluxloop.agent
    def assistant(value):
        return RunnableLambda(lambda given: middle(given)).with_config(run_name="outer").invoke(value, config)

    assistant(7)

    assert captured.outline() == (
        "AGENT assistant -> 7\n  CHAIN outer -> 7\n    SPAN middle -> 7\n"
        "      CHAIN inner -> 7\n        SPAN helper -> 7"
    )


async def test_a_model_called_by_a_decorated_function_in_a_tool_is_under_the_function(captured, config):
    """
    LangChain reports the tool as the parent of the model; the user's function is between them.
    """

    @fluxloop.trace
    async def ask(question):
        return (await ScriptedModel(replies=["yes"]).ainvoke(question)).content

    @tool
    async def consult(question: str) -> str:
        """Consult a model."""
        return await ask(question)

    await consult.ainvoke({"question": "Sure?"}, config)

    assert captured.outline() == (
        "TOOL consult -> 'yes'\n"
        "  SPAN ask -> 'yes'\n"
        "    GENERATION ScriptedModel -> {'role': 'assistant', 'content': 'yes'}"
    )


@pytest.mark.parametrize("is_async", [False, True])
def test_a_decorated_tool_is_one_tool(captured, config, is_async):
    """
    With the arguments and the value of the function; the framework's decorator returns its usual tool.
    """

    @tool
    @fluxloop.tool
    def add(a: int, b: int = 2) -> int:
        """Add."""
        return a + b

    call = {"name": "add", "args": {"a": 1}, "id": "c", "type": "tool_call"}
    asyncio.run(add.ainvoke(call, config)) if is_async else add.invoke(call, config)

    assert isinstance(add, StructuredTool)
    assert captured.outline(inputs=True) == "TOOL add({'a': 1, 'b': 2}) -> 3"


def test_capture_options_of_a_decorated_tool_apply_to_langchain_s_event(captured, config):
    """
    The framework's event of the same call has arguments and value as well.
    """

    @tool
    @fluxloop.tool(capture_input=False, capture_output=False)
    def add(a: int, b: int = 2) -> int:
        """Add."""
        return a + b

    assert add.invoke({"a": 1}, config) == 3
    assert captured.outline(inputs=True) == "TOOL add"


def test_capture_options_of_a_decorated_tool_apply_to_the_journal(config, tmp_path):
    """
    The record of an open tool in the journal has no input.
    """

    @tool
    @fluxloop.tool(capture_input=False)
    def wait(word: str) -> bool:
        """Read the journal."""
        (left,) = (record for journal in read_journals(tmp_path) for record in journal.records)
        return "input" in left or left["name"] != "wait"

    fluxloop.configure(base_path=tmp_path)

    assert wait.invoke({"word": "sesame"}, config) is False


@pytest.mark.parametrize("is_async", [False, True])
def test_the_exception_of_a_decorated_tool_is_the_real_one(captured, config, is_async):
    """
    One TOOL with the exception of the function; LangChain passes only a text to the model.
    """

    async def alook_up(term: str) -> str:
        """Look up."""
        raise LookupError(f"no {term}")

    def look_up(term: str) -> str:
        """Look up."""
        raise LookupError(f"no {term}")

    made = tool(fluxloop.tool(alook_up if is_async else look_up))
    with pytest.raises(LookupError):
        asyncio.run(made.ainvoke({"term": "cat"}, config)) if is_async else made.invoke({"term": "cat"}, config)
    (observation,) = captured.traces()[0].observations

    assert (observation.type.name, observation.error) == ("TOOL", "no cat")
    assert observation.metadata["error_type"] == "LookupError"


def test_a_tool_pushed_by_hand_inside_a_tool_is_the_same_tool(captured, config):
    """
    A push in the body of a framework's tool describes the call that the framework has reported.
    """

    @tool
    def add(a: int) -> int:
        """Add."""
        context = fluxloop.get_current_context()
        observation = ObservationData(type="tool", name="my_add", input={"a": a}, metadata={"unit": "m"})
        context.push_observation(observation)
        observation.output = a + 1
        context.pop_observation()
        return a + 1

    add.invoke({"a": 1}, config)
    (observation,) = captured.traces()[0].observations

    assert captured.outline(inputs=True) == "TOOL my_add({'a': 1}) -> 2"
    assert observation.metadata["unit"] == "m"


def test_functions_of_a_generator_step_nest_under_it(captured, config):
    """
    A step that streams calls its functions for each item.
    """

    def pieces(values):
        for value in values:
            yield from helper(value)

    chain = RunnableLambda(lambda given: given.split()) | RunnableLambda(pieces)
    pieces_seen = list(chain.stream("ab cd", config))
    (trace,) = captured.traces()
    names = {o.id: o.name for o in trace.observations}

    assert "".join("".join(piece) for piece in pieces_seen) == "abcd"
    assert [names[o.parent_id] for o in trace.observations if o.name == "helper"] == ["pieces", "pieces"]


def test_a_function_called_after_a_chain_is_not_inside_it(captured, config):
    """
    It nests under the caller of the chain.
    """

    @fluxloop.agent
    def assistant(value):
        RunnableLambda(abs).invoke(value, config)
        return helper(value)

    assistant(7)

    assert captured.outline() == "AGENT assistant -> 7\n  CHAIN abs -> 7\n  SPAN helper -> 7"


def test_decorated_functions_outside_a_run_record_nothing(captured):
    """
    A handler does not open traces for functions outside of runs.
    """
    FluxLoopCallbackHandler()

    assert helper(7) == 7
    assert captured.traces() == []


def test_a_retriever_inside_a_step_and_a_function_beside_it(captured, config):
    """
    LangChain has no step for the code of a retriever; what it calls is in the step around it.
    """

    class Shelf(BaseRetriever):
        def _get_relevant_documents(self, query, *, run_manager):
            helper(query)
            return []

    RunnableLambda(lambda query: Shelf().invoke(query)).with_config(run_name="step").invoke("x", config)

    assert sorted(captured.outline().splitlines()) == [
        "  RETRIEVAL Shelf -> []",
        "  SPAN helper -> 'x'",
        "CHAIN step -> []",
    ]


@needs_langchain
@pytest.mark.parametrize("is_async", [False, True])
def test_an_agent_as_a_tool_of_an_agent(captured, config, is_async):
    """
    The calls of the inner agent are in the tool that called it, in the outer agent.
    """
    from langchain.agents import create_agent

    inner = create_agent(GenericFakeChatModel(messages=iter([AIMessage("42")])), [], name="inner")

    @tool
    def consult(question: str) -> str:
        """Consult the other agent."""
        return helper(inner.invoke({"messages": [("user", question)]})["messages"][-1].content)

    model = ScriptedModel(replies=[calls("consult", {"question": "?"}), "It is 42."])
    outer = create_agent(model, [consult], name="outer")
    given = {"messages": [("user", "What is it?")]}
    asyncio.run(outer.ainvoke(given, config)) if is_async else outer.invoke(given, config)
    lines = [line.partition(" ->")[0] for line in captured.outline().splitlines()]
    found = [line for line in lines if line.split()[1] not in ("model", "tools")]

    assert [line.strip() for line in found] == [
        "AGENT outer",
        "GENERATION ScriptedModel",
        "TOOL consult",
        "AGENT inner" if "AGENT inner" in captured.outline() else "CHAIN inner",
        "GENERATION GenericFakeChatModel",
        "SPAN helper",
        "GENERATION ScriptedModel",
    ]


def test_a_model_in_a_conditional_edge_is_recorded(captured, config):
    """
    LangGraph hides the run of such code, and passes the mark to the model; its tokens are counted.
    """
    graph = pytest.importorskip("langgraph.graph", reason="needs langgraph")
    router = ScriptedModel(replies=["answer"])
    builder = graph.StateGraph(graph.MessagesState)
    builder.add_node("answer", lambda state: {"messages": ["yes"]})
    builder.add_conditional_edges(graph.START, lambda state: router.invoke(state["messages"]).content, ["answer"])
    builder.compile().invoke({"messages": ["Who?"]}, config)
    (trace,) = captured.traces()

    assert [(o.type.name, o.name) for o in trace.observations] == [
        ("CHAIN", "LangGraph"),
        ("GENERATION", "ScriptedModel"),
        ("CHAIN", "answer"),
    ]
    assert trace.usage.total_tokens == 25


def test_a_model_with_the_hidden_tag_is_not_recorded(captured, config):
    """
    The tag is the run's own, not that of a hidden run around it.
    """
    hidden = ScriptedModel(replies=["yes"]).with_config(tags=["langsmith:hidden"])
    RunnableLambda(lambda given: hidden.invoke(given)).with_config(run_name="ask").invoke("Who?", config)

    assert captured.outline() == "CHAIN ask -> {'role': 'assistant', 'content': 'yes'}"


def test_after_the_last_run_functions_are_not_looked_for_in_runs(captured, config):
    """
    Each look-up takes time: a handler that is used once does not slow down the rest of the program.
    """
    RunnableLambda(helper).invoke(7, config)
    assert locate in propagation._locators
    helper(8)
    assert locate not in propagation._locators
    RunnableLambda(helper).invoke(9, config)

    assert captured.outline() == "CHAIN helper -> 7\n  SPAN helper -> 7\nCHAIN helper -> 9\n  SPAN helper -> 9"
