"""
The summary of what a node changed in the state.
"""

from __future__ import annotations

import operator
from collections import OrderedDict
from dataclasses import dataclass
from typing import Annotated, TypedDict

import graphs
import pytest
from graphs import only
from langchain_core.messages import HumanMessage, RemoveMessage
from langgraph.cache.memory import InMemoryCache
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import CachePolicy, Command
from pydantic import BaseModel

from fluxloop.testing import capture
from fluxloop_langgraph import wrap_graph
from fluxloop_langgraph.changes import changes


@dataclass
class Page:
    n: int
    text: str = ""


@dataclass(slots=True)
class Slotted:
    n: int


@pytest.mark.parametrize(
    ("before", "output", "expected"),
    [
        ({"n": 1}, {"n": 2}, {"n": {"from": 1, "to": 2}}),
        ({"n": 1}, {"n": 1}, {}),
        ({}, {"n": None}, {"n": {"to": None}}),
        (None, {"n": 1}, {"n": {"to": 1}}),
        ({"total": 1}, {"total": 1}, {"total": {"add": 1}}),
        ({"n": 1}, Command(update={"n": 2}, goto="next"), {"n": {"from": 1, "to": 2}}),
        ({"n": 1}, Command(update=[("n", 2)]), {"n": {"from": 1, "to": 2}}),
        ({"n": 1}, Command(update=(("n", 2), ("m", 3))), {"n": {"from": 1, "to": 2}, "m": {"to": 3}}),
        ({"n": 1}, Command(update=["n", "m"]), {}),
        ({"n": 1}, Command(update=[("n", 2, 3)]), {}),
        ({"n": 1}, Command(update=[]), {}),
        ({"n": 1}, Command(update=5), {}),
        ({}, [Command(update={"total": [1]}), {"total": [2]}], {"total": [{"add": [1]}, {"add": [2]}]}),
        (
            {},
            Command(update=[("total", 1), ("total", 2), ("total", 3)]),
            {"total": [{"add": 1}, {"add": 2}, {"add": 3}]},
        ),
        ({"n": 1}, Slotted(n=2), {"n": {"from": 1, "to": 2}}),
        ({"n": 1}, OrderedDict(n=2), {"n": {"from": 1, "to": 2}}),
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
def test_changes_are_listed_by_key(before, output, expected):
    """
    A replaced value is shown before and after, a reduced one with the reducer's name, a large one by type and size.
    """
    assert changes(before, output, {"total": "add"}) == expected


@pytest.fixture
def annotated_has_no_fields(monkeypatch):
    """
    Remove the `__annotations__` that typing's own classes get when anything asks for theirs, as the check of protocols
    in older `typing_extensions` does: LangGraph 1.0 then takes `Annotated[list, ...]` for a class with fields.
    """
    for alias in type(Annotated[list, "a reducer"]).__mro__[:-1]:
        if "__annotations__" in vars(alias):
            monkeypatch.delattr(alias, "__annotations__")


LISTS = [[1, 2], ["ab", "cd"], [("n", 1)], [("n", 1), 2], [{"n": 1}], [[1, 2]], (1, 2), [HumanMessage("hi")], [None]]


@pytest.mark.parametrize("is_cached", [False, True], ids=["runs", "cached"])
@pytest.mark.parametrize("update", LISTS, ids=repr)
@pytest.mark.parametrize("as_command", [False, True], ids=["plain", "command"])
@pytest.mark.usefixtures("annotated_has_no_fields")
def test_a_node_of_a_list_state_keeps_its_output_and_its_changes(recorded, update, as_command, is_cached):
    """
    The update of a list state may be any list, also of pairs; in a `Command` LangGraph reads pairs as keys and values.
    """

    def reduce(old, new):
        return [*old, *new]

    builder = StateGraph(Annotated[list, reduce])
    options = {"cache_policy": CachePolicy(key_func=lambda state: "key")} if is_cached else {}
    builder.add_node("node", lambda state: Command(update=update) if as_command else update, **options)
    builder.add_edge(START, "node")
    graph = wrap_graph(builder.compile(cache=InMemoryCache()))
    graph.invoke([0])
    (node,) = only(recorded, "node")
    is_ignored = as_command and update == [("n", 1)]

    assert node.output is not None
    assert node.metadata.get("changes") == (None if is_ignored else {"__root__": {"reduce": _shown(update)}})

    if is_cached and not is_ignored:
        graph.invoke([0])
        assert len(only(recorded, "node")[1].output) == len(update)


def _shown(update):
    is_small = all(type(item) in (int, str, type(None)) for item in update)
    return [*update] if is_small else f"{type(update).__name__} of {len(update)}"


def test_a_state_that_is_one_number_changes_from_and_to(recorded):
    """
    A state without a reducer is replaced as a whole.
    """
    builder = StateGraph(int)
    builder.add_node("node", lambda state: state + 1)
    builder.add_edge(START, "node")
    wrap_graph(builder.compile()).invoke(1)

    assert only(recorded, "node")[0].metadata["changes"] == {"__root__": {"from": 1, "to": 2}}


def test_an_output_whose_changes_cannot_be_read_is_recorded(recorded):
    """
    A state whose attributes raise costs the changes, and neither input nor output.
    """

    class Hostile:
        def __getattribute__(self, name):
            if name == "__dict__":
                raise RuntimeError("hidden")
            return object.__getattribute__(self, name)

    builder = StateGraph(graphs.State)
    builder.add_node("node", lambda state: Command(update={"n": Hostile()}))
    builder.add_node("next", lambda state: [Command(update=Hostile()), Command(update={"n": 2})])
    builder.add_edge(START, "node")
    builder.add_edge("node", "next")
    wrap_graph(builder.compile()).invoke({"seen": []})
    node, following = only(recorded, "node")[0], only(recorded, "next")[0]

    assert (node.input, node.metadata["changes"]) == ({"seen": []}, {"n": {"to": "Hostile"}})
    assert following.metadata["changes"] == {"n": {"from": "Hostile", "to": 2}}
    assert following.output[1]["update"] == {"n": 2}


def test_single_keys_of_a_state_can_be_redacted():
    """
    `redact_keys` masks a key in inputs, outputs and changes, and leaves the others.
    """

    class Account(TypedDict, total=False):
        iban: str
        history: Annotated[list[str], operator.add]
        n: int

    builder = StateGraph(Account)
    builder.add_node("node", lambda state: {"iban": "DE-NEW", "history": ["DE-OLD"], "n": 2})
    builder.add_node("command", lambda state: Command(update=[("iban", "DE-NEWER"), ("n", 3)]))
    builder.add_edge(START, "node")
    builder.add_edge("node", "command")
    with capture(redact_keys=["iban", "history"]) as captured:
        wrap_graph(builder.compile()).invoke({"iban": "DE-FIRST", "history": ["DE-START"], "n": 1})
    (trace,) = captured.traces()

    assert "DE-" not in repr([one.model_dump() for one in trace.observations])
    assert [one.metadata["changes"]["n"] for one in trace.observations[1:]] == [
        {"from": 1, "to": 2},
        {"from": 2, "to": 3},
    ]
    assert set(trace.observations[1].metadata["changes"]) == {"iban", "history", "n"}


def test_comparing_values_runs_no_user_code():
    """
    Values with a custom ``__eq__`` are never compared.
    """

    class Odd:
        def __eq__(self, other):
            raise AssertionError("compared")

        __hash__ = None

    assert changes({"a": Odd()}, {"a": Odd()}, {}) == {"a": {"from": "Odd", "to": "Odd"}}


def test_a_node_records_its_changes(recorded):
    """
    Each changed key is recorded with its values before and after, or with the value its reducer was given.
    """
    wrap_graph(graphs.steps()).invoke({"seen": []})

    assert [one.metadata["changes"] for one in recorded.traces()[0].observations[1:]] == [
        {"seen": {"add": ["step_0"]}, "n": {"to": 0}},
        {"seen": {"add": ["step_1"]}, "n": {"from": 0, "to": 1}},
    ]


def test_keys_returned_unchanged_are_not_changes(recorded):
    """
    A node that returns the whole state, modified in place, records only the modified keys; large values by size.
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


def test_a_removed_message_is_recorded_with_its_id(recorded):
    """
    A `RemoveMessage` has no content, only the id of the removed message.
    """
    builder = StateGraph(MessagesState)
    builder.add_node("forget", lambda state: {"messages": [RemoveMessage(id="m-1")]})
    builder.add_edge(START, "forget")
    wrap_graph(builder.compile()).invoke({"messages": [HumanMessage("hi", id="m-1")]})

    assert only(recorded, "forget")[0].output == {"messages": [{"role": "remove", "content": "", "id": "m-1"}]}


@pytest.mark.parametrize("base", [BaseModel, object], ids=["model", "dataclass"])
def test_changes_of_an_object_state_look_like_those_of_a_dict(recorded, base):
    """
    State and output may be a model or a dataclass; values before and after are recorded as for a dict.
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
    ("setting", "expected"), [("capture_output", [None, None]), ("capture_input", [{"to": 0}, {"to": 1}])]
)
def test_changes_respect_the_capture_settings(setting, expected):
    """
    Without ``capture_output`` no changes are recorded, without ``capture_input`` no previous values.
    """
    with capture(**{setting: False}) as captured:
        wrap_graph(graphs.steps()).invoke({"seen": []})
    (trace,) = captured.traces()

    assert [one.metadata.get("changes", {}).get("n") for one in trace.observations[1:]] == expected


def test_an_unknown_key_is_not_a_change(recorded):
    """
    LangGraph ignores returned keys that the state does not have, such as a typo.
    """
    builder = StateGraph(graphs.State)
    builder.add_node("node", lambda state: {"n": 1, "sene": ["typo"]})
    builder.add_edge(START, "node")
    wrap_graph(builder.compile()).invoke({"seen": []})

    assert only(recorded, "node")[0].metadata["changes"] == {"n": {"to": 1}}


def test_the_number_of_recorded_changes_is_bounded(recorded):
    """
    Beyond 40 changes only their number is recorded.
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
