"""
Assertions on the calls of a trace: each question, when it holds and what it says when it does not.
"""

from __future__ import annotations

from contextlib import suppress
from unittest.mock import ANY

import pytest
from dirty_equals import IsPositive, IsStr

import fluxloop
from fluxloop.errors import PriceError
from fluxloop.llm.prices import Cost
from fluxloop.testing import capture


@fluxloop.tool
def search(query: str, limit: int = 3) -> str:
    return query


@fluxloop.tool
def book(where: str) -> None:
    raise ValueError("fully booked")


@fluxloop.agent
def agent() -> None:
    search("Rome")
    search("Oslo", limit=5)
    with suppress(ValueError):
        book(where="Oslo")


@pytest.fixture(scope="module")
def trace() -> fluxloop.Trace:
    with capture() as captured:
        agent()
    return captured.trace


def test_calls_are_a_list_of_names(trace: fluxloop.Trace) -> None:
    """In the order of their start; slices and other lists of calls compare too."""
    assert trace.calls == ["search", "search", "book"]
    assert trace.tool_calls == ["search", "search", "book"]
    assert trace.tool_calls == trace.tools()
    assert trace.tool_calls[1:] == ["search", "book"]
    assert trace.tool_calls != ["search", "book"]
    assert trace.tool_calls != 3
    assert trace.tools("search").count == len(trace.tools("search")) == 2
    assert trace.tools("search").calls[1].input == {"query": "Oslo", "limit": 5}
    assert trace.tools("book").called
    assert not trace.tools("fly").called


def test_observations_are_found_by_type_name_and_status(trace: fluxloop.Trace) -> None:
    """Synonyms of types and statuses are accepted."""
    assert trace.find(type="agent") == ["agent"]
    assert trace.find(status="failed") == ["book"]
    assert trace.find(name="search", status="success") == ["search", "search"]
    assert trace.errors == ["book"]
    assert trace.unfinished == []
    assert trace.models == []


HOLDING = [
    lambda t: t.tools("search").called_with(query="Rome"),
    lambda t: t.tools("search").called_with(query=IsStr(regex="O.*"), limit=IsPositive()),
    lambda t: t.tools("search").called_with({"query": "Rome", "limit": 3}),
    lambda t: t.tools("search").called_with(ANY),
    lambda t: t.tools("book").called_once_with(where=ANY),
    lambda t: t.tool_calls.before("search", "book"),
    lambda t: t.tool_calls.in_order("search", "book"),
    lambda t: t.tool_calls.in_order(),
    lambda t: t.tool_calls.unordered("book", "search", "search"),
    lambda t: t.tool_calls.includes("book"),
    lambda t: t.tool_calls.includes("search", "search"),
    lambda t: t.tool_calls.only("book", "search", "fly"),
]


@pytest.mark.parametrize("question", HOLDING)
def test_what_holds_is_true(trace: fluxloop.Trace, question) -> None:
    """Expected values may be ANY, or types of dirty-equals."""
    assert question(trace)
    assert question(trace) == True  # noqa: E712
    assert repr(question(trace)) == "True"


FAILING = [
    (
        lambda t: t.tools("search").called_with(query="Bern"),
        "no call with query='Bern': [search(query='Rome', limit=3), search(query='Oslo', limit=5)]",
    ),
    (lambda t: t.tools("book").called_with(city="Oslo"), "no call with city='Oslo': [book(where='Oslo')]"),
    (lambda t: t.tools("fly").called_once_with(), "'fly' was called 0 times: []"),
    (
        lambda t: t.tools("search").called_once_with(query=ANY),
        "'search' was called 2 times: [search(query='Rome', limit=3), search(query='Oslo', limit=5)]",
    ),
    (lambda t: t.tool_calls.before("book", "search"), "'search' was called first: ['search', 'search', 'book']"),
    (lambda t: t.tool_calls.before("search", "fly"), "'fly' was not called: ['search', 'search', 'book']"),
    (
        lambda t: t.tool_calls.in_order("book", "search"),
        "'search' is not called in its place: ['search', 'search', 'book']",
    ),
    (
        lambda t: t.tool_calls.unordered("search", "fly"),
        "missing ['fly'] and unexpected ['book', 'search']: ['search', 'search', 'book']",
    ),
    (lambda t: t.tool_calls.includes("book", "book"), "missing ['book']: ['search', 'search', 'book']"),
    (lambda t: t.tool_calls.only("search"), "unexpected ['book']: ['search', 'search', 'book']"),
]  # fmt: skip


@pytest.mark.parametrize(("question", "reason"), FAILING)
def test_what_does_not_hold_says_why(trace: fluxloop.Trace, question, reason: str) -> None:
    """In one line, which a test runner shows in place of the value; ``not`` can be used."""
    assert not question(trace)
    assert question(trace) == False  # noqa: E712
    assert repr(question(trace)) == reason


def test_many_and_long_calls_are_shown_in_short() -> None:
    """A message shows the first calls, and the beginning of long values."""

    @fluxloop.agent
    def many() -> None:
        for _ in range(7):
            search("x" * 500)

    with capture() as captured:
        many()

    shown = repr(captured.trace.tool_calls)
    assert shown.endswith(", … 2 more]")
    assert len(shown) < 600


def test_the_only_trace_says_what_there_is_instead() -> None:
    """`Captured.trace` needs exactly one trace."""
    with capture() as captured:
        with pytest.raises(AssertionError, match=r"expected one trace, recorded 0$"):
            _ = captured.trace
        agent()
        agent()
        with pytest.raises(AssertionError, match="expected one trace, recorded 2: 'agent', 'agent'"):
            _ = captured.trace
    assert len(captured) == 2
    assert [trace.name for trace in captured[:1]] == ["agent"]


def test_a_cost_compares_with_dollars() -> None:
    """An unknown price is an error, not zero."""
    known, unknown = Cost(0.25, 1), Cost(0.25, 1, ("house-model",))

    assert known < 0.3
    assert known <= 0.25
    assert known > 0.2
    assert known >= 0.25
    with pytest.raises(PriceError, match="no price of house-model is known"):
        _ = unknown < 1
