"""
Replays of equal calls that run at the same time: each has the answer of its own tool call, task and model.

Threads start in any order. Here the order in the recording is the opposite of the order in the replay.
"""

from __future__ import annotations

import asyncio
import operator
from collections.abc import Callable
from itertools import count
from threading import Event
from typing import Annotated, Any, TypedDict
from uuid import uuid4

import pytest
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import AIMessage
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import RunnableConfig, RunnableLambda, RunnableParallel
from langchain_core.tools import tool
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import Send
from scripted_models import ScriptedModel

import fluxloop
from fluxloop.testing import capture
from fluxloop_langchain import FluxLoopCallbackHandler

answers = count()


class Second(BaseCallbackHandler):
    """Lets the call that *is_late* describes start when another one has ended."""

    run_inline = True

    def __init__(self, late: str) -> None:
        self.late = late
        self.is_other_done = Event()
        self.seen: list[str] = []

    def begins(self, name: str) -> None:
        self.seen.append(name)
        if name == self.late:
            assert self.is_other_done.wait(10)

    def on_tool_start(self, *args: Any, **kwargs: Any) -> None:
        self.begins(str(kwargs.get("tool_call_id")))

    def on_chat_model_start(self, *args: Any, invocation_params: dict[str, Any], **kwargs: Any) -> None:
        self.begins(invocation_params["model_name"])

    def on_tool_end(self, *args: Any, **kwargs: Any) -> None:
        self.is_other_done.set()

    def on_llm_end(self, *args: Any, **kwargs: Any) -> None:
        self.is_other_done.set()


def callbacks(second: Second) -> RunnableConfig:
    return {"callbacks": [second, FluxLoopCallbackHandler()]}


@tool
def look(city: str) -> str:
    """Look at the weather."""
    return f"sun in {city}, {next(answers)}"


@tool
def find(city: str) -> str:
    """Find a city."""
    return f"{city} on the map"


class State(TypedDict):
    """The state of the graph."""

    found: Annotated[list[Any], operator.add]
    city: str


def tasks_of_a_graph(late: int) -> Any:
    second = Second(str(late))

    def work(state: State, config: RunnableConfig) -> Any:
        second.begins(str(config["metadata"]["langgraph_path"][1]))
        answer = look.invoke({"city": state["city"]})
        second.is_other_done.set()
        return {"found": [answer]}

    builder = StateGraph(State)
    builder.add_node("work", work)
    builder.add_conditional_edges(START, lambda state: [Send("work", {"city": "Rome"})] * 2, ["work"])
    found = builder.compile().invoke({"found": [], "city": ""}, {"callbacks": [FluxLoopCallbackHandler()]})
    assert sorted(second.seen) == ["0", "1"]
    return found


def calls_of_a_tool(late: int) -> Any:
    prebuilt = pytest.importorskip("langgraph.prebuilt", exc_type=ImportError)
    second = Second(f"c{late}")
    builder = StateGraph(MessagesState)
    builder.add_node("tools", prebuilt.ToolNode([look]))
    builder.add_edge(START, "tools")
    tool_calls = [{"name": "look", "args": {"city": "Rome"}, "id": f"c{number}"} for number in range(2)]
    messages = [AIMessage("", tool_calls=tool_calls)]
    found = builder.compile().invoke({"messages": messages}, callbacks(second))
    if "None" in second.seen:
        pytest.skip("this LangChain reports the start of a tool without its call")
    return [(message.content, message.tool_call_id) for message in found["messages"][1:]]


def models_beside_each_other(late: int) -> Any:
    second = Second(f"model-{late}")
    models = {f"m{number}": ScriptedModel(replies=[f"{number}"], model_name=f"model-{number}") for number in range(2)}
    found = RunnableParallel(models).invoke("hello", callbacks(second))
    assert sorted(second.seen) == ["model-0", "model-1"]
    return {name: message.content for name, message in found.items()}


class SecondBranch(Second):
    """Lets the branch with the key *late* start when another one has ended."""

    def on_chain_start(self, *args: Any, tags: list[str], **kwargs: Any) -> None:
        for tag in tags:
            if tag.startswith("map:key:"):
                self.begins(tag.removeprefix("map:key:"))

    def on_chain_end(self, *args: Any, tags: list[str], **kwargs: Any) -> None:
        if any(tag.startswith("map:key:") for tag in tags):
            self.is_other_done.set()

    def on_chat_model_start(self, *args: Any, **kwargs: Any) -> None:
        """Let it start."""

    on_tool_start = on_chat_model_start


def branches(make: Callable[[], Any]) -> Callable[[int], Any]:
    """Return a program with two equal branches, made by *make*, in another branch."""

    def program(late: int) -> Any:
        second = SecondBranch(f"b{late}")
        one = make()
        inner = RunnableParallel(b0=one, b1=one)
        found = RunnableParallel(outer=inner).invoke({"question": "hello"}, callbacks(second))
        assert sorted(second.seen) == ["b0", "b1", "outer"]
        return {name: getattr(each, "content", each) for name, each in found["outer"].items()}

    program.__name__ = make.__name__
    return program


def chains_of_one_model() -> Any:
    model = ScriptedModel(replies=[f"answer {number}" for number in range(9)])
    return ChatPromptTemplate.from_messages([("user", "{question}")]) | model


def functions_with_a_tool() -> Any:
    return RunnableLambda(lambda given, config: look.invoke({"city": "Rome"}, config))


def functional_tasks(late: int) -> Any:
    func = pytest.importorskip("langgraph.func", exc_type=ImportError)

    @func.task
    async def work(city: str, config: RunnableConfig) -> Any:
        if config["metadata"]["langgraph_path"][2] == late:
            await asyncio.sleep(0.05)
        return await look.ainvoke({"city": city}, config)

    @func.entrypoint()
    async def run(given: Any) -> Any:
        return await asyncio.gather(*(work("Rome") for _ in range(2)))

    return asyncio.run(run.ainvoke({}, {"callbacks": [FluxLoopCallbackHandler()]}))


PROGRAMS = [
    tasks_of_a_graph,
    calls_of_a_tool,
    models_beside_each_other,
    branches(chains_of_one_model),
    branches(functions_with_a_tool),
    functional_tasks,
]


@pytest.mark.parametrize("late", [0, 1])
@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.__name__)
def test_equal_calls_have_the_answers_that_they_had(program, late):
    with capture(replayable=True) as captured:
        expected = program(late)

    with capture(), fluxloop.replay(captured.traces()) as replay:
        assert program(1 - late) == expected

    assert replay.report().is_same


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.__name__)
def test_a_cassette_keeps_which_answer_was_whose(program, tmp_path):
    with capture(), fluxloop.cassette(tmp_path / "run.jsonl"):
        expected = program(1)

    with capture(), fluxloop.cassette(tmp_path / "run.jsonl", "none"):
        assert program(0) == expected


def test_a_loop_that_moved_to_later_steps_keeps_the_order_of_its_answers():
    """
    The position of a task counts among the tasks of one step only.
    """

    def loop(first: list[str]) -> Any:
        builder = StateGraph(State)
        builder.add_node("one", lambda state: {"found": [look.invoke({"city": state["city"]})]})
        builder.add_node("two", lambda state: {})
        sends = iter([first, ["Bern", "Rome"]])

        def plan(state: State) -> list[Send]:
            return [Send("one", {"city": city}) for city in next(sends, ())]

        builder.add_conditional_edges(START, plan, ["one"])
        builder.add_edge("one", "two")
        builder.add_conditional_edges("two", plan, ["one"])
        return builder.compile().invoke({"found": [], "city": ""}, {"callbacks": [FluxLoopCallbackHandler()]})

    with capture(replayable=True) as captured:
        rome, oslo, bern, rome_again = loop(["Rome", "Oslo"])["found"]

    with capture(), fluxloop.replay(captured.traces()):
        assert loop(["Oslo", "Rome"])["found"] == [oslo, rome, bern, rome_again]


def beside_each_other(late: int | None) -> Any:
    """Run three equal chains, and let the one with the number *late* ask after the others."""

    async def run(given: Any, config: RunnableConfig) -> Any:
        number = config["metadata"]["number"]
        if number == late:
            await asyncio.sleep(0.05)
        return [await look.ainvoke({"city": "Rome"}, config), number]

    async def start(given: Any, config: RunnableConfig) -> Any:
        chain = RunnableLambda(run).with_config(run_name="chain")
        return await asyncio.gather(*(chain.ainvoke("", {**config, "metadata": {"number": n}}) for n in range(3)))

    return asyncio.run(RunnableLambda(start).ainvoke("", {"callbacks": [FluxLoopCallbackHandler()]}))


@pytest.mark.parametrize("late", [None, 0, 1, 2])
@pytest.mark.parametrize("then", [None, 0, 1, 2])
def test_observations_around_calls_have_their_place_by_the_order_of_their_start(late, then):
    """
    Not by the order of the calls inside them.
    """
    with capture(replayable=True) as captured:
        expected = beside_each_other(late)

    with capture(), fluxloop.replay(captured.traces()) as replay:
        assert beside_each_other(then) == expected

    assert replay.report().is_same


@pytest.mark.parametrize("calls", [[False, True], [True, False, True], [False, False, True]])
def test_chains_without_calls_do_not_take_the_place_of_equal_ones_with_calls(calls):
    def program() -> Any:
        asking = iter(calls)
        chain = RunnableLambda(lambda given, config: look.invoke({"city": "Rome"}, config) if next(asking) else "")
        named = chain.with_config(run_name="chain")
        whole = RunnableLambda(lambda given, config: [named.invoke("", config) for _ in calls])
        return whole.invoke("", {"callbacks": [FluxLoopCallbackHandler()]})

    with capture(replayable=True) as captured:
        expected = program()

    with capture(), fluxloop.replay(captured.traces()):
        assert program() == expected


def test_chains_that_follow_each_other_make_the_same_calls_in_the_same_order():
    def program(cities: list[str]) -> None:
        left = iter(cities)
        chain = RunnableLambda(lambda given, config: look.invoke({"city": next(left)}, config))
        named = chain.with_config(run_name="chain")
        whole = RunnableLambda(lambda given, config: [named.invoke("", config) for _ in cities])
        whole.invoke("", {"callbacks": [FluxLoopCallbackHandler()]})

    with capture(replayable=True) as captured:
        program(["Rome", "Oslo"])

    with pytest.raises(fluxloop.ReplayMismatch), capture(), fluxloop.replay(captured.traces()):
        program(["Oslo", "Rome"])


def test_a_branch_is_recorded_with_its_keys():
    with capture() as captured:
        branches(chains_of_one_model)(0)

    models = [one for one in captured.trace.observations if one.type is fluxloop.ObservationType.GENERATION]

    assert sorted(one.metadata["parallel_key"] for one in models) == ["outer.b0", "outer.b1"]


@pytest.mark.parametrize("cities", [["Rome", "Rome"], ["Rome", "Bern"]])
def test_cassettes_of_calls_with_random_ids_are_the_same(cities, tmp_path):
    """
    Some models give their tool calls random ids, and tools end before others begin, in any order.
    """
    prebuilt = pytest.importorskip("langgraph.prebuilt", exc_type=ImportError)

    def recorded(attempt: int) -> bytes:
        late = attempt % 2
        ids = [str(uuid4()) for _ in cities]
        second = Second(ids[late])
        calls = [{"name": "find", "args": {"city": city}, "id": each} for city, each in zip(cities, ids, strict=True)]
        model = ScriptedModel(replies=[AIMessage("", tool_calls=calls)])
        builder = StateGraph(MessagesState)
        builder.add_node("model", lambda state: {"messages": [model.invoke("hello")]})
        builder.add_node("tools", prebuilt.ToolNode([find]))
        builder.add_edge(START, "model")
        builder.add_edge("model", "tools")
        path = tmp_path / str(attempt) / "run.jsonl"
        with capture(), fluxloop.cassette(path):
            builder.compile().invoke({"messages": [("user", "hi")]}, callbacks(second))
        if "None" in second.seen:
            pytest.skip("this LangChain reports the start of a tool without its call")
        return path.read_bytes()

    assert len(set(map(recorded, range(8)))) == 1


def test_a_task_is_recorded_with_its_position():
    """
    What runs inside the task inherits its metadata, and has no position of its own.
    """
    func = pytest.importorskip("langgraph.func", exc_type=ImportError)
    reported: list[Any] = []

    class Reported(BaseCallbackHandler):
        def on_chain_start(self, *args: Any, metadata: dict[str, Any], name: str = "", **kwargs: Any) -> None:
            if name == "work":
                reported.append((metadata["langgraph_step"], metadata["langgraph_path"][2]))

    @func.task
    def work(city: str) -> Any:
        return look.invoke({"city": city})

    run = func.entrypoint()(lambda given: [work("Rome").result(), work("Rome").result()])
    with capture() as captured:
        run.invoke({}, {"callbacks": [Reported(), FluxLoopCallbackHandler()]})

    tasks = [one.metadata for one in captured.trace.observations if one.name == "work"]
    assert [(one["langgraph_step"], one["langgraph_path"][2]) for one in tasks] == reported == [(0, 0), (0, 1)]
    assert not any("langgraph_path" in one.metadata for one in captured.trace.observations if one.name == "look")
