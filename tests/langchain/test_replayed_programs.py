"""
Programs of LangChain and LangGraph with calls that are easily confused, replayed from one recording.

Retries, fallbacks, bound tools, streams that are read half or in turn, identical calls in several places, tasks that
run at the same time, graphs inside graphs with several interrupts, and masked arguments.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from itertools import count
from typing import Annotated, Any, TypedDict

import pytest
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, StateGraph
from langgraph.types import Command, Send, interrupt
from pydantic import BaseModel
from scripted_models import ScriptedModel, calls

import fluxloop
from fluxloop.testing import capture
from fluxloop_langchain import FluxLoopCallbackHandler

ran: list[str] = []
numbers = count()


class Model(ScriptedModel):
    """Notes that it ran; fails as often as `failures` says."""

    failures: int = 0

    def _turn(self) -> Any:
        ran.append("model")
        if len(ran) <= self.failures:
            raise ConnectionError(f"attempt {len(ran)}")
        return super()._turn()


@tool
def look(city: str) -> str:
    """Look at the weather."""
    ran.append("tool")
    return f"sun in {city}, {next(numbers)}"


class State(TypedDict):
    """The state of the graphs."""

    found: Annotated[list[Any], operator.add]
    city: str


EMPTY = {"found": [], "city": ""}


def config() -> Any:
    return {"callbacks": [FluxLoopCallbackHandler()], "configurable": {"thread_id": "1"}}


def retried() -> Any:
    model = Model(replies=["fine"], failures=2)
    return model.with_retry(stop_after_attempt=4, wait_exponential_jitter=False).invoke("x", config()).content


def with_a_fallback() -> Any:
    return (
        Model(replies=["never"], failures=1).with_fallbacks([Model(replies=["second"])]).invoke("x", config()).content
    )


def with_bound_tools() -> Any:
    answer = Model(replies=[calls("look", {"city": "Rome"})]).bind_tools([look]).invoke("x", config())
    return answer.tool_calls[0]["args"], look.invoke(answer.tool_calls[0], config()).content


def half_a_stream() -> Any:
    stream = Model(replies=["one two three four"]).stream("x", config())
    found = [next(stream).content for _ in range(2)]
    stream.close()
    return found


def streams_in_turn() -> Any:
    streams = [Model(replies=[text]).stream("x", config()) for text in ("a b c", "d e f")]
    return [[chunk.content for chunk in pair] for pair in zip(*streams, strict=True)]


def identical_calls_at_once() -> Any:
    builder = StateGraph(State)
    builder.add_node("plan", lambda state: {})
    builder.add_node("work", lambda state: {"found": [look.invoke({"city": state["city"]})]})
    builder.add_edge(START, "plan")
    sends = [Send("work", {"city": city}) for city in ("Rome", "Oslo", "Rome", "Bern")]
    builder.add_conditional_edges("plan", lambda state: sends, ["work"])
    graph = builder.compile(checkpointer=InMemorySaver())
    return sorted(graph.invoke(EMPTY, config())["found"])


def graphs_in_graphs_with_interrupts() -> Any:
    def inside(state: State) -> Any:
        return {"found": [interrupt("one"), look.invoke({"city": "Rome"})]}

    def after(state: State) -> Any:
        answers = [interrupt("two"), interrupt("three")]
        return {"found": [*answers, Model(replies=["done"]).invoke("x").content]}

    inner = StateGraph(State)
    inner.add_node("inside", inside)
    inner.add_edge(START, "inside")
    builder = StateGraph(State)
    builder.add_node("inner", inner.compile())
    builder.add_node("after", after)
    builder.add_edge(START, "inner")
    builder.add_edge("inner", "after")
    graph = builder.compile(checkpointer=InMemorySaver())
    results = [graph.invoke(each, config()) for each in (EMPTY, *(Command(resume=text) for text in "abc"))]
    return [(each.get("found"), [one.value for one in each.get("__interrupt__", ())]) for each in results]


def masked_arguments() -> Any:
    return len(look.invoke({"city": "sk-proj-" + "a1B2" * 12}, config())) > 0


class Weather(BaseModel):
    """The weather of a city."""

    city: str
    degrees: int


def structured_output() -> Any:
    """With the answer of the model beside the parsed one."""
    model = Model(replies=[calls("Weather", {"city": "Paris", "degrees": 21})])
    found = model.with_structured_output(Weather, include_raw=True).invoke("x", config())
    return found["parsed"], found["raw"].tool_calls[0]["args"], found["parsing_error"]


def structured_output_that_does_not_parse() -> Any:
    model = Model(replies=[calls("Weather", {"city": "Paris", "degrees": "warm"})])
    with pytest.raises(ValueError, match="degrees") as failed:
        model.with_structured_output(Weather).invoke("x", config())
    return type(failed.value).__name__


PROGRAMS: list[Callable[[], Any]] = [
    retried,
    with_a_fallback,
    with_bound_tools,
    half_a_stream,
    streams_in_turn,
    identical_calls_at_once,
    graphs_in_graphs_with_interrupts,
    masked_arguments,
    structured_output,
    structured_output_that_does_not_parse,
]


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.__name__)
def test_a_program_goes_as_it_was_recorded(program):
    """
    Nothing runs, and the result and the tree are those of the recorded run.
    """
    ran.clear()
    with capture(replayable=True) as captured, fluxloop.instrument("program"):
        expected = program()
    assert ran != []
    ran.clear()

    with capture(replayable=True) as again, fluxloop.replay(captured.traces()) as replay:
        with fluxloop.instrument("program"):
            assert program() == expected

    assert ran == []
    assert replay.report().is_same
    assert sorted(again.outline().splitlines()) == sorted(captured.outline().splitlines())


def test_a_stream_of_a_model_that_was_read_half_has_no_more_than_was_recorded():
    """
    A program that reads on gets an error, not a shorter answer.
    """
    with capture(replayable=True) as captured, fluxloop.instrument("program"):
        half_a_stream()

    is_short = pytest.raises(fluxloop.ReplayMismatch, match="was closed by the program after 2 items")
    with capture(), is_short, fluxloop.replay(captured.traces()), fluxloop.instrument("program"):
        list(Model(replies=["never"]).stream("x", config()))
