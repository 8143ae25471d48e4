"""
``replayable=True``: it changes no call, and ends with its block.
"""

from __future__ import annotations

import functools
import itertools
from collections import OrderedDict
from collections.abc import Iterator
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


class EndlessList(list[int]):
    """A list that does not come to an end when its items are read."""

    def __iter__(self) -> Iterator[int]:
        return itertools.count()


class EndlessDict(dict[str, int]):
    """A mapping that does not come to an end when its keys are read."""

    def keys(self) -> Any:
        return map(str, itertools.count())

    __iter__ = keys
    items = keys


class RaisingText(str):
    """A text that cannot be converted."""

    def __str__(self) -> str:
        raise RuntimeError("no text")


ORDERED = OrderedDict(a=1, b=2)
ORDERED.move_to_end("a")

SUBCLASSES = [
    (EndlessList([1, 2]), [1, 2]),
    (EndlessDict(a=1), {"a": 1}),
    (RaisingText("hello"), "hello"),
    ({"deep": [EndlessList([3])]}, {"deep": [[3]]}),
    (ORDERED, {"b": 2, "a": 1}),
]


@pytest.mark.timeout(20)
@pytest.mark.parametrize(("answer", "content"), SUBCLASSES, ids=["list", "dict", "str", "inside", "ordered"])
def test_answers_of_subclasses_are_kept_without_running_their_methods(answer, content):
    """
    A method that never ends would stop the program, which works without recording.
    """

    @fluxloop.tool
    def find() -> Any:
        return answer

    found: list[Any] = []
    run = fluxloop.agent(lambda: found.append(find()))
    with capture(replayable=True) as captured:
        run()

    with capture(), fluxloop.replay(captured.traces()):
        run()

    assert found[0] is answer
    assert found[1] == content
    if isinstance(content, dict):
        assert list(found[1]) == list(content)
