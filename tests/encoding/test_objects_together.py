"""
Lists of objects of one class: they are converted and encoded together, with the bytes of one at a time.
"""

from __future__ import annotations

import dataclasses
import datetime
from typing import Any

import pytest
from encoding_aids import Counts, Masker
from hypothesis import example, given, settings
from hypothesis import strategies as st
from langgraph.types import Send

from fluxloop.encoding import cleaning
from fluxloop.encoding.encoder import Encoder
from fluxloop.encoding.limits import Limits


@dataclasses.dataclass
class Point:
    """An object of a class of the user."""

    x: Any
    y: Any = None


class Failing(Send):
    """An object with an attribute that cannot be read."""

    __slots__ = ()

    @property
    def arg(self) -> Any:
        raise LookupError

    @arg.setter
    def arg(self, value: Any) -> None: ...


LEAVES = st.sampled_from(
    [
        *(1, True, 1.5, None, "a", "é" * 30, "x" * 400, "sk-aaaa", b"\xff", 2**70, float("nan"), "\ud800", "y" * 3_000),
        *(datetime.datetime(2026, 1, 2), [], {}, [1, [2]], {"a": {"b": 1}}, {1: 2}, {1, 2}, list(range(300))),
    ]
)
SENDS = st.builds(Send, st.just("node"), LEAVES) | st.builds(Failing, st.just("node"), st.just(1))
OBJECTS = st.builds(Point, LEAVES, LEAVES) | SENDS
NESTED = OBJECTS | st.builds(Point, OBJECTS) | st.builds(Send, st.just("node"), st.lists(OBJECTS, max_size=3)) | LEAVES
RUNS = st.tuples(NESTED, st.sampled_from([1, 1, 2, 5, 25])).map(lambda one: [one[0]] * one[1])
LISTS = st.lists(RUNS, max_size=6).map(lambda runs: [item for run in runs for item in run])


def encoded(value: object, limits: Limits) -> tuple[bytes, Counts]:
    marks = Counts()
    return Encoder(limits, Masker()).encode(value, marks), marks


@settings(max_examples=300, deadline=None)
@given(items=LISTS, value_bytes=st.sampled_from([300, 900, 3_000, 20_000, 1_000_000]), depth=st.integers(1, 6))
@example(items=[Send("node", {"n": 1})] * 100, value_bytes=20_000, depth=6)
@example(items=[Send("node", {"n": 1})] * 100, value_bytes=2_000, depth=6)
def test_objects_are_encoded_together_as_one_at_a_time(items, value_bytes, depth):
    """
    Whatever the objects and the limits are: the same bytes, and the same counts.
    """
    limits = Limits(leaf_bytes=min(1_000, value_bytes), value_bytes=value_bytes, depth=depth, objects=20)
    value = {"first": items, "then": "z" * 100}

    together = encoded(value, limits)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(cleaning, "converted_together", lambda kind, items: None)
        one_at_a_time = encoded(value, limits)

    assert together == one_at_a_time


def steps_of_conversions(monkeypatch) -> list[int]:
    """Return a list that will have the number of objects in each step."""
    steps: list[int] = []
    convert = cleaning.converted_together

    def counted(kind: type, items: list[Any]) -> Any:
        steps.append(len(items))
        return convert(kind, items)

    monkeypatch.setattr(cleaning, "converted_together", counted)
    return steps


def test_a_list_of_objects_is_converted_in_few_steps(monkeypatch):
    """A node that starts a hundred others returns a hundred objects."""
    steps = steps_of_conversions(monkeypatch)

    encoded([Send("node", {"n": number}) for number in range(100)], Limits())

    assert steps == [4, 16, 64, 15, 0]


def test_objects_of_which_some_are_not_plain_are_not_converted_twice(monkeypatch):
    """After objects that cannot be encoded together, the rest of the list is converted one at a time."""
    steps = steps_of_conversions(monkeypatch)

    encoded([Point(1), *([Point(1), Point({1})] * 50)], Limits())

    assert steps == [4]
