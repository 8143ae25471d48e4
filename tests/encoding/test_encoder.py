"""
The encoder returns JSON for any value, and raises, consumes and changes nothing.
"""

from __future__ import annotations

import collections
import dataclasses
import datetime
import json
import types
from collections.abc import Iterator
from decimal import Decimal
from typing import Any, NoReturn
from uuid import UUID

import pytest
from encoding_aids import SECRET, Counts, Masker, encode, record, strictly
from hypothesis import given
from hypothesis import strategies as st

KEY = "sk-" + "a" * 20


def test_plain_data_is_written_as_it_is():
    """
    A value that JSON can represent is read back unchanged.
    """
    value = {"args": {"param": "x", "n": [1, 2.5, None, True]}, "text": "é\n\u2028", "empty": [{}, []]}
    marks = Counts()

    assert record(value, marks) == value
    assert marks == Counts()


def test_a_value_between_the_two_limits_is_recorded_unchanged():
    """
    A long conversation of short messages is recorded unchanged, with its quotes.
    """
    messages = [{"role": "user", "content": 'he said "hi" \\ and left\n' * 20, "n": n} for n in range(1000)]
    marks = Counts()

    assert record(messages, marks) == messages
    assert marks == Counts()


# Nothing is consumed.


def count() -> Iterator[int]:
    yield from range(3)


@pytest.mark.parametrize(
    "make",
    [
        count,
        lambda: map(int, "012"),
        lambda: zip([0, 1, 2], strict=True),
        lambda: filter(None, [1, 2]),
        lambda: iter([0, 1, 2]),
        lambda: reversed([1, 2]),
        lambda: enumerate([1]),
        lambda: iter({"a": 1}.items()),
    ],
)
def test_iterators_are_not_advanced(make):
    """
    An iterator is named, and yields everything afterwards, at the top as inside objects.
    """
    stream = make()

    made = record({"a": stream, "b": [types.SimpleNamespace(stream=stream)], "c": {"d": [stream]}})

    assert made["a"].startswith(f"<{type(stream).__name__}")
    assert made["a"] == made["b"][0]["stream"] == made["c"]["d"][0]
    assert list(stream) == list(make())


def test_asynchronous_streams_are_named():
    """
    Coroutines and asynchronous generators are named after their function, and neither awaited nor advanced.
    """

    async def answer() -> None: ...

    async def stream() -> Any:
        yield 1

    coroutine = answer()
    made = record([coroutine, stream(), count()])
    coroutine.close()

    name = "test_asynchronous_streams_are_named.<locals>"
    assert made == [f"<coroutine {name}.answer>", f"<async_generator {name}.stream>", "<generator count>"]


def test_an_iterator_class_of_the_program_is_not_advanced():
    """
    A class of the program is not iterated, whatever methods it has for it.
    """

    class Stream:
        def __init__(self) -> None:
            self.position = 0

        def __iter__(self) -> Any:
            return self

        def __next__(self) -> NoReturn:
            raise AssertionError("advanced")

    class Lazy:
        def __init__(self) -> None:
            self.query = "select"

        def __iter__(self) -> NoReturn:
            raise AssertionError("iterated")

        __len__ = __getitem__ = keys = __iter__

    made = record([Stream(), Lazy()])

    assert made == ["<test_an_iterator_class_of_the_program_is_not_advanced.<locals>.Stream>", made[1]]
    assert made[1]["query"] == "select"


# Redaction.


def test_secrets_are_masked_and_counted():
    """
    Secrets are masked in plain values too, and counted.
    """
    marks = Counts(redacted=1)

    made = record({"q": f"use {KEY}!", "api_key": 5, "safe": "sk-"}, marks, redactor=Masker())

    assert made == {"q": "use [redacted]!", "api_key": "[redacted]", "safe": "sk-"}
    assert marks == Counts(redacted=3)


def test_values_that_pass_the_prefilter_are_not_decoded():
    """
    If the prefilter finds nothing, the exact search does not run.
    """

    class Calm(Masker):
        def redact(self, value: Any) -> NoReturn:
            raise AssertionError("searched")

    assert record({"a": 1}, redactor=Calm()) == {"a": 1}


@pytest.mark.parametrize("value", [{"api_key": 1}, {"api_key": {1}}])
def test_a_value_whose_redaction_fails_is_not_recorded(value):
    """
    If masking fails, the value is not recorded, and the loss is counted.
    """

    class Broken(Masker):
        def redact(self, value: Any) -> NoReturn:
            raise ValueError(value)

    marks = Counts()

    assert record(value, marks, redactor=Broken()) == "<could not be recorded: dict>"
    assert marks == Counts(truncated=1)
    assert record({"q": KEY + "x" * 100}, redactor=Broken(), leaf_bytes=50) == "<dict: unreadable, ValueError>"


def test_a_failure_of_the_encoder_is_counted(monkeypatch):
    """
    A broken encoder still returns JSON.
    """
    monkeypatch.setattr("fluxloop.encoding.encoder.Cleaning", None)
    marks = Counts()

    assert encode({1}, marks) == b'"<could not be recorded: set>"'
    assert marks == Counts(truncated=1)


# Any value.


@dataclasses.dataclass
class Box:
    content: Any
    api_key: str = "k"


class Odd:
    """Shows a value, and fails at whatever else is asked of it."""

    def __init__(self, content: Any = None) -> None:
        self.content = content

    def __eq__(self, other: object) -> NoReturn:
        raise RuntimeError

    __hash__ = object.__hash__
    __len__ = __iter__ = __bool__ = __eq__  # type: ignore[assignment]


class MuteError(Exception):
    def __str__(self) -> NoReturn:
        raise RecursionError


NASTY: list[Any] = [object(), print, Box, MuteError(), ValueError("v"), 2**70, -(2**100), 1 << 50_000, float("-inf")]
NASTY += ["\ud800", "a" * 300, KEY, "data:image/png;base64," + "A" * 300, b"\xff" * 300, "é" * 150, "\x00" * 100]
NASTY += [datetime.timedelta(1), UUID(int=1), Decimal("NaN"), 1j, ..., range(3), Odd(None)]

# by number, as some of them cannot be printed
nasty = st.integers(0, len(NASTY) - 1).map(lambda number: NASTY[number])
leaves = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary() | nasty
keys = (
    st.text(max_size=5) | st.integers() | st.none() | st.binary(max_size=3) | st.tuples(st.integers()) | st.builds(Odd)
)


def containers(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    lists = st.lists(inner, max_size=6)
    return st.one_of(
        lists,
        lists.map(tuple),
        lists.map(collections.deque),
        st.dictionaries(keys, inner, max_size=6),
        st.dictionaries(st.text(max_size=5), inner, max_size=6).map(collections.OrderedDict),
        st.sets(st.integers() | st.text(max_size=3) | st.none(), max_size=5),
        inner.map(Box),
        inner.map(Odd),
        st.builds(types.SimpleNamespace, a=inner, api_key=inner),
    )


anything = st.recursive(leaves, containers, max_leaves=30)


def spelled(value: Any, seen: tuple[int, ...] = ()) -> Any:
    """What *value* holds, in a form that can be compared before and after."""
    if isinstance(value, dict):
        return [(spelled(key), spelled(item)) for key, item in value.items()]
    if isinstance(value, list | tuple | set | collections.deque):
        return [type(value).__name__, *(spelled(item) for item in value)]
    if isinstance(value, Box | Odd | types.SimpleNamespace):
        return [id(value), spelled(vars(value))]
    return value if isinstance(value, str | bytes) else (id(value), type(value))


def strings(value: Any) -> Iterator[str]:
    """All strings of decoded JSON but for the keys, which have a limit of their own."""
    if isinstance(value, str):
        yield value
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from strings(item)


@given(anything)
def test_any_value_becomes_json(value):
    """
    Any value becomes JSON, the same twice, and is not changed.
    """
    before = spelled(value)

    first, second = encode(value), encode(value)

    strictly(first)
    assert first == second
    assert spelled(value) == before


@given(anything, st.integers(20, 120), st.integers(100, 600))
def test_any_value_stays_within_its_limits(value, leaf_bytes, value_bytes):
    """
    With narrow limits too, the result is JSON within them, without secrets.
    """
    marks = Counts()

    encoded = encode(value, marks, redactor=Masker(), leaf_bytes=leaf_bytes, value_bytes=value_bytes, depth=5)

    made = strictly(encoded)
    assert len(encoded) <= value_bytes + 20 * marks.redacted
    assert all(len(text.encode()) <= leaf_bytes + 64 + 20 * marks.redacted for text in strings(made))
    assert not SECRET.search(encoded.decode())


@given(anything, st.integers(1, 3))
def test_streams_anywhere_in_a_value_survive(value, taken):
    """
    A generator at any depth keeps its position.
    """
    stream = iter(range(10))
    for _ in range(taken):
        next(stream)

    encode([value, {"s": stream}, Box([stream]), value])

    assert list(stream) == list(range(taken, 10))


@given(st.lists(st.text(alphabet='ab"\\\né', max_size=80), max_size=30), st.integers(10, 60))
def test_the_fast_search_for_long_strings_misses_none(texts, leaf_bytes):
    """
    A value is recorded unchanged only if no string in it is over the limit.
    """
    made = record(texts, leaf_bytes=leaf_bytes)

    assert made == [text if len(text.encode()) <= leaf_bytes else kept for text, kept in zip(texts, made, strict=True)]
    assert all("…[truncated" in kept for text, kept in zip(texts, made, strict=True) if len(text.encode()) > leaf_bytes)


@given(anything)
def test_standard_readers_can_read_it(value):
    """
    `json.loads` with its defaults reads every value, and one line holds it.
    """
    encoded = encode(value)

    json.loads(encoded)
    assert b"\n" not in encoded
