"""
What a node changed, told in a few words.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypedDict

import graphs
import pytest
from graphs import only
from langchain_core.messages import HumanMessage, RemoveMessage
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import Command
from pydantic import BaseModel

from fluxloop.testing import capture
from fluxloop_langgraph import wrap_graph
from fluxloop_langgraph.changes import changes


@dataclass
class Page:
    n: int
    text: str = ""


@pytest.mark.parametrize(
    ("before", "output", "told"),
    [
        ({"n": 1}, {"n": 2}, {"n": {"from": 1, "to": 2}}),
        ({"n": 1}, {"n": 1}, {}),
        ({}, {"n": None}, {"n": {"to": None}}),
        (None, {"n": 1}, {"n": {"to": 1}}),
        ({"total": 1}, {"total": 1}, {"total": {"add": 1}}),
        ({"n": 1}, Command(update={"n": 2}, goto="next"), {"n": {"from": 1, "to": 2}}),
        ({"n": 1}, Command(update=[("n", 2)]), {"n": {"from": 1, "to": 2}}),
        ({"n": 1}, [{"n": 2}, Command(update={"m": 3})], {"n": {"from": 1, "to": 2}, "m": {"to": 3}}),
        ({}, {"rows": [1, 2, 3]}, {"rows": {"to": [1, 2, 3]}}),
        ({}, {"rows": list(range(1000))}, {"rows": {"to": "list of 1,000"}}),
        ({}, {"rows": [[1]]}, {"rows": {"to": "list of 1"}}),
        ({}, {"rows": ["x" * 100]}, {"rows": {"to": "list of 1"}}),
        ({}, {"at": object()}, {"at": {"to": "object"}}),
        (None, Page(n=1), {"n": {"to": 1}, "text": {"to": ""}}),
        ({"n": 1}, Command(update=Page(n=2)), {"n": {"from": 1, "to": 2}, "text": {"to": ""}}),
        ({"n": 1}, [Page(n=2)], {}),
        ({"n": 1}, None, {}),
        ({"n": 1}, "done", {}),
    ],
)
def test_a_change_is_told_by_key(before, output, told):
    """
    Before and after where a value is replaced, the reducer's name and its value where there is one, sizes if large.
    """
    assert changes(before, output, {"total": "add"}) == told


def test_no_code_of_the_users_runs_to_compare():
    """
    Values with an equality of their own are never compared.
    """

    class Odd:
        def __eq__(self, other):
            raise AssertionError("compared")

        __hash__ = None

    assert changes({"a": Odd()}, {"a": Odd()}, {}) == {"a": {"from": "Odd", "to": "Odd"}}


def test_a_node_says_what_it_changed(recorded):
    """
    A few words for each key: before and after, or what its reducer was given.
    """
    wrap_graph(graphs.steps()).invoke({"seen": []})

    assert [one.metadata["changes"] for one in recorded.traces()[0].observations[1:]] == [
        {"seen": {"add": ["step_0"]}, "n": {"to": 0}},
        {"seen": {"add": ["step_1"]}, "n": {"from": 0, "to": 1}},
    ]


def test_what_a_node_hands_on_unchanged_is_no_change(recorded):
    """
    A node that returns the whole state, changed in place, says only what it changed; large values by their size.
    """

    class Whole(TypedDict, total=False):
        text: str
        pages: list[str]
        n: int

    def node(state):
        state["n"] += 1
        state["text"] = "x" * 5000
        return state

    builder = StateGraph(Whole)
    builder.add_node("node", node)
    builder.add_edge(START, "node")
    wrap_graph(builder.compile()).invoke({"n": 1, "text": "short", "pages": ["a"] * 100})

    assert only(recorded, "node")[0].metadata["changes"] == {
        "n": {"from": 1, "to": 2},
        "text": {"from": "short", "to": "str of 5,000 characters"},
    }


def test_a_message_that_is_removed_is_named(recorded):
    """
    Of a `RemoveMessage` the id is all there is to tell.
    """
    builder = StateGraph(MessagesState)
    builder.add_node("forget", lambda state: {"messages": [RemoveMessage(id="m-1")]})
    builder.add_edge(START, "forget")
    wrap_graph(builder.compile()).invoke({"messages": [HumanMessage("hi", id="m-1")]})

    assert only(recorded, "forget")[0].output == {"messages": [{"role": "remove", "content": "", "id": "m-1"}]}


@pytest.mark.parametrize("base", [BaseModel, object], ids=["model", "dataclass"])
def test_the_changes_of_a_state_that_is_an_object_are_told_like_those_of_a_dict(recorded, base):
    """
    A state may be a model or a dataclass, and a node may return one; before and after are told all the same.
    """

    @dataclass if base is object else lambda kind: kind
    class Page(base):
        n: int = 0
        text: str = ""

    builder = StateGraph(Page)
    builder.add_node("part", lambda page: {"n": page.n + 1})
    builder.add_node("whole", lambda page: Page(n=page.n, text="written"))
    builder.add_edge(START, "part")
    builder.add_edge("part", "whole")
    wrap_graph(builder.compile()).invoke({"n": 1, "text": "empty"})

    assert only(recorded, "part")[0].metadata["changes"] == {"n": {"from": 1, "to": 2}}
    assert only(recorded, "whole")[0].metadata["changes"] == {"text": {"from": "empty", "to": "written"}}


@pytest.mark.parametrize(
    ("left_out", "told"), [("capture_output", [None, None]), ("capture_input", [{"to": 0}, {"to": 1}])]
)
def test_what_is_not_to_be_captured_is_in_no_change(left_out, told):
    """
    What nodes return is in none of the records where outputs are left out, and what they were given where inputs are.
    """
    with capture(**{left_out: False}) as captured:
        wrap_graph(graphs.steps()).invoke({"seen": []})
    (trace,) = captured.traces()

    assert [one.metadata.get("changes", {}).get("n") for one in trace.observations[1:]] == told


def test_a_key_that_the_state_does_not_have_is_no_change(recorded):
    """
    LangGraph leaves out what a node returns beside the keys of the state, a slip of the pen for example.
    """
    builder = StateGraph(graphs.State)
    builder.add_node("node", lambda state: {"n": 1, "sene": ["typo"]})
    builder.add_edge(START, "node")
    wrap_graph(builder.compile()).invoke({"seen": []})

    assert only(recorded, "node")[0].metadata["changes"] == {"n": {"to": 1}}


def test_the_changes_of_a_wide_state_are_bounded(recorded):
    """
    Beyond 40 keys only their number is told.
    """
    wide = TypedDict("wide", {f"key_{number}": int for number in range(60)})
    builder = StateGraph(wide)
    builder.add_node("node", lambda state: {f"key_{number}": number for number in range(60)})
    builder.add_edge(START, "node")
    graph = wrap_graph(builder.compile())
    graph.invoke({"key_0": 7})
    changes = only(recorded, "node")[0].metadata["changes"]

    assert len(changes) == 41
    assert changes["…"] == "20 more"

    with capture(capture_input=False) as captured:
        graph.invoke({"key_0": 7})

    assert only(captured, "node")[0].metadata["changes"] == {**changes, "key_0": {"to": 0}}
