"""
Replays of equal calls that run at the same time: each has the answer of its own tool call, task and model.

Threads start in any order. Here the order in the recording is the opposite of the order in the replay.
"""

from __future__ import annotations

import operator
from itertools import count
from threading import Event
from typing import Annotated, Any, TypedDict

import pytest
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import AIMessage
from langchain_core.runnables import RunnableConfig, RunnableParallel
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


PROGRAMS = [tasks_of_a_graph, calls_of_a_tool, models_beside_each_other]


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
