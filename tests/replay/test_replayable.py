"""
``replayable=True``: it changes no call, and ends with its block.
"""

from __future__ import annotations

import functools
from typing import Any

import pytest

import fluxloop
from fluxloop.testing import capture
from fluxloop.tracing.calls import interceptors


def test_no_call_is_intercepted_after_the_block(tmp_path):
    """
    Blocks inside each other, other clients and cassettes: what they add to each call is gone at their end.
    """
    other = fluxloop.FluxLoopClient()
    with capture(replayable=True):
        assert interceptors
        with capture(replayable=True), capture(other, replayable=True):
            pass
        assert interceptors
    assert interceptors == []

    for _ in range(2):
        with fluxloop.cassette(tmp_path / "case.jsonl"):
            fluxloop.agent(lambda: 1)()
    assert interceptors == []


FUNCTIONS = {"partial": functools.partial(lambda x, y: x + y, 1), "lambda": lambda y: 1 + y, "builtin": abs}


@pytest.mark.parametrize("function", FUNCTIONS.values(), ids=FUNCTIONS)
def test_callables_without_a_name_run_as_before(function):
    """
    A partial has neither module nor qualified name, so its trace names no entry point.
    """
    with capture(replayable=True) as captured:
        assert fluxloop.agent(function)(1) in (1, 2)

    assert len(captured) == 1


LONG_INPUTS = [
    "a word " * 30_000,
    "x" * 200_000,
    [f"item {number}" for number in range(60_000)],
    {str(number): number for number in range(100_000)},
    {"messages": [{"role": "user", "content": "a word " * 30_000}]},
]


@pytest.mark.parametrize("recorded_whole", [True, False])
@pytest.mark.parametrize("given", LONG_INPUTS, ids=["text", "letters", "list", "mapping", "messages"])
def test_an_input_that_is_cut_on_one_side_matches(given, recorded_whole):
    """
    A recording with whole inputs replays where inputs are cut, and the other way round.
    """

    @fluxloop.tool
    def size(value: Any) -> int:
        return len(value)

    with capture(replayable=recorded_whole) as captured, fluxloop.instrument("run"):
        expected = size(given)

    with capture(replayable=not recorded_whole), fluxloop.replay(captured.traces()), fluxloop.instrument("run"):
        assert size(given) == expected


@pytest.mark.parametrize("other", ["a word " * 30_001, "b word " * 30_000])
def test_another_long_input_does_not_match(other):
    """
    Its beginning or its length differs.
    """

    @fluxloop.tool
    def size(value: Any) -> int:
        return len(value)

    with capture(replayable=True) as captured, fluxloop.instrument("run"):
        size("a word " * 30_000)

    with capture(), pytest.raises(fluxloop.ReplayMismatch), fluxloop.replay(captured.traces()):
        with fluxloop.instrument("run"):
            size(other)
