"""
What orjson is given: nothing that would end the process.
"""

from __future__ import annotations

import collections
import subprocess
import sys
import textwrap

import pytest
from encoding_aids import record

from fluxloop.encoding import cleaning, dumps, encoder


def test_an_orjson_that_does_not_count_tuples_is_noticed():
    """
    Whether the installed orjson can be trusted with tuples is tried, not read from its version.
    """

    def refusing(value: object) -> bytes:
        raise TypeError("Recursion limit reached")

    assert dumps.counts_levels(refusing)
    assert not dumps.counts_levels(lambda value: b"")


@pytest.mark.parametrize(
    ("value", "free"),
    [
        ({"a": [1, "b", None, {"c": [[]]}]}, True),
        ("text", True),
        ({"a": [{"b": (1,)}]}, False),
        ((), False),
        (collections.OrderedDict(a=1), False),
        ([object()], False),
    ],
)
def test_a_value_counts_as_free_of_tuples_only_if_all_of_it_is_known(value, free):
    """
    Tuples are found at any depth; an unknown type might hold one.
    """
    assert dumps.has_no_tuples(value) is free


def test_looking_for_tuples_has_an_end(monkeypatch):
    """
    A value with very many containers, or circular ones, is not looked through for ever.
    """
    monkeypatch.setattr(dumps, "MOST_LOOKED_INTO", 10)
    circle: list[object] = []
    circle.append(circle)

    assert not dumps.has_no_tuples(circle)
    assert not dumps.has_no_tuples([[]] * 10)
    assert dumps.has_no_tuples([[]] * 8)


def test_the_record_is_the_same_where_orjson_is_not_trusted(monkeypatch):
    """
    With an orjson that needs care, values come out as they do without.
    """
    values = [{"a": [1, {"b": 2.5}]}, {"a": (1, (2, {3}))}, (1, "x"), "text", [collections.OrderedDict(a=(1,))]]
    trusted = [record(value) for value in values]
    for module in (cleaning, encoder):
        monkeypatch.setattr(module, "dumps", dumps.careful_dumps)

    assert [record(value) for value in values] == trusted


CRASHERS = """
    from fluxloop.encoding.encoder import Encoder

    class Counts:
        redacted = truncated = 0

    deep = None
    for _ in range(100_000):
        deep = (deep,)
    through_a_tuple = []
    through_a_tuple.append((through_a_tuple,))
    begun_by_a_tuple = []
    begun_by_a_tuple = (begun_by_a_tuple,)
    begun_by_a_tuple[0].append(begun_by_a_tuple)
    through_two = []
    through_two.append(((through_two,),))

    for value in (deep, through_a_tuple, begun_by_a_tuple, through_two):
        print(Encoder().encode(value, Counts()).decode())
"""


def test_values_that_end_other_encoders_are_recorded():
    """
    Circles through tuples, and tuples 100,000 deep, are recorded by whatever orjson is installed.
    """
    made = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(CRASHERS)], capture_output=True, text=True, check=False
    )

    assert made.returncode == 0, made.stderr
    assert [line.count("<") for line in made.stdout.splitlines()] == [1, 1, 1, 1]


def test_a_list_that_shrinks_while_it_is_recorded_is_harmless():
    """
    User code that runs while a value is recorded may change that value; process and record survive.
    """

    class ShrinkingError(Exception):
        def __str__(self) -> str:
            items.clear()
            items.extend([bytes(100)] * 1000)
            return "gone"

    items: list[object] = [ShrinkingError(), *({str(number)} for number in range(10_000))]

    made = record(items)

    assert made[0]["message"] == "gone"
    assert made[-1] == ["9999"]


def test_objects_do_not_go_the_fast_way():
    """
    Unknown objects and dataclasses, of which some are contexts, are refused instead of read.
    """
    with pytest.raises(TypeError):
        dumps.dumps(object(), None, dumps.AS_IT_IS)
    with pytest.raises(TypeError):
        dumps.dumps(encoder.Limits(), None, dumps.AS_IT_IS)

    assert dumps.dumps([1], None, dumps.AS_IT_IS) == b"[1]"
