"""
Large values: recording reads no more of a value than it keeps.

What is read is counted where that can be seen: by containers that count the items they hand out, and by the calls of
orjson. Nothing is measured in seconds.
"""

from __future__ import annotations

import array
import collections
import dataclasses
import types
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import orjson
import pytest
from encoding_aids import Counts, Masker, encode, record, strictly
from pydantic import BaseModel

from fluxloop.encoding import cleaning, converters, encoder, limits
from fluxloop.encoding.encoder import Encoder

LIMIT = 100_000
MANY = 100_000


@pytest.fixture
def encoded_bytes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Count the bytes that orjson writes while values are encoded."""
    written: list[int] = []

    def counting(value: object, default: None, options: int) -> bytes:
        encoded = orjson.dumps(value, default, options)
        written.append(len(encoded))
        return encoded

    for module in (cleaning, encoder):
        monkeypatch.setattr(module, "dumps", counting)
    return written


def numbers(count: int = MANY) -> list[int]:
    return list(range(count))


LARGE: dict[str, Callable[[int], Any]] = {
    "list": numbers,
    "tuple": lambda count: tuple(numbers(count)),
    "set": lambda count: set(numbers(count)),
    "dict": lambda count: {str(number): number for number in range(count)},
    "dict with integer keys": lambda count: dict.fromkeys(range(count)),
    "state of a graph": lambda count: {"state": {"question": "hi", "numbers": numbers(count)}},
    "list of lists": lambda count: [[number, number] for number in range(count // 2)],
    "list of dicts": lambda count: [{"id": number, "text": "some text"} for number in range(count // 4)],
    "list of texts": lambda count: [f"item {number}" for number in range(count // 4)],
    "list of integers over 64 bits": lambda count: [2**70] * (count // 4),
    "list of objects": lambda count: [types.SimpleNamespace(a=1)] * count,
    "list of sets": lambda count: [{1, 2, 3}] * (count // 4),
    "list of fractions": lambda count: [number / 7 for number in range(count)],
    "deque": lambda count: collections.deque(numbers(count)),
    "array": lambda count: array.array("q", numbers(count)),
    "counter": lambda count: collections.Counter(range(count)),
    "dict view": lambda count: dict.fromkeys(range(count)).keys(),
    "object": lambda count: types.SimpleNamespace(name="n", numbers=numbers(count)),
    "text": lambda count: "x" * (count * 8),
    "text that is not ASCII": lambda count: "é" * (count * 4),
    "bytes": lambda count: bytes(count * 8),
    "long key": lambda count: {tuple(numbers(count)): 1},
}


@pytest.mark.parametrize("name", LARGE)
def test_the_work_for_a_large_value_does_not_grow_with_it(name, encoded_bytes):
    """Of a value four times as long, orjson writes no more; the record is within its limit and mentions the rest."""
    written = []
    for count in (MANY, MANY * 4):
        encoded_bytes.clear()
        encoded = encode(LARGE[name](count), value_bytes=LIMIT)
        written.append(sum(encoded_bytes))
        assert len(encoded) <= LIMIT
    strictly(encoded)

    assert written[1] <= max(written[0] * 1.2, 200)
    assert written[1] <= 3 * LIMIT
    assert b"truncated" in encoded or name == "bytes"


@pytest.mark.parametrize("name", ["list", "tuple", "dict", "state of a graph", "list of dicts", "list of lists"])
def test_the_space_for_a_large_value_is_used(name):
    """A large value of plain data fills its limit."""
    marks = Counts()

    encoded = encode(LARGE[name](MANY), marks, value_bytes=LIMIT)

    assert 0.7 * LIMIT < len(encoded) <= LIMIT
    assert marks.truncated >= 1


class Reads:
    """Counts the items that a container hands out."""

    def __init__(self) -> None:
        self.count = 0


def counting(base: Any, content: Any, reads: Reads) -> Any:
    """Return *content* in a subclass of *base* whose methods count what they are asked for."""

    def method(name: str) -> Callable[..., Any]:
        def call(self: Any, *args: Any) -> Any:
            reads.count += 1
            return getattr(base, name)(self, *args)

        return call

    names = [name for name in ("__getitem__", "__iter__", "items", "keys", "values", "copy") if hasattr(base, name)]
    return type(f"Counting{base.__name__}", (base,), {name: method(name) for name in names})(content)


@pytest.mark.parametrize(
    ("base", "content"), [(list, numbers()), (tuple, numbers()), (dict, dict.fromkeys(range(MANY))), (set, {1, 2})]
)
def test_methods_that_a_container_overrides_are_not_called(base, content):
    """A subclass of a container is read as what it contains, by the methods of the container itself."""
    reads = Reads()

    assert len(encode(counting(base, content, reads), value_bytes=LIMIT)) <= LIMIT
    assert reads.count == 0


def test_a_lazy_sequence_is_not_read():
    """A sequence that computes its items, such as the result of a query, is recorded by its attributes."""

    class Rows(Sequence[int]):
        def __init__(self) -> None:
            self.query = "select *"
            self._read = 0

        def __len__(self) -> int:
            self._read += 1
            return 10**12

        def __getitem__(self, index: Any) -> Any:
            self._read += 1
            return index

        def __iter__(self) -> Iterator[int]:
            self._read += 1
            return iter(range(10**12))

    rows = Rows()

    assert record({"rows": rows})["rows"]["query"] == "select *"
    assert rows._read == 0


def test_objects_beyond_the_limit_are_not_read():
    """The converter of an object runs only as long as there is room for objects."""
    reads = Reads()

    @dataclasses.dataclass
    class Row:
        number: int

    def convert(row: Row) -> object:
        reads.count += 1
        return {"number": row.number, "text": "x" * 100}

    table = dict(converters._TABLE)
    converters.register(Row, convert)
    try:
        made = record([Row(number) for number in range(20_000)], value_bytes=LIMIT)
    finally:
        converters._TABLE.clear()
        converters._TABLE.update(table)
        converters._chosen.clear()

    assert len(made) - 1 == reads.count < 1_000


def test_a_dataclass_tree_is_read_as_far_as_it_fits():
    """In a tree of objects with long lists, the walk ends where the limit is reached."""

    @dataclasses.dataclass
    class Branch:
        numbers: list[int]
        branches: list[Any]

    leaf = Branch(numbers(), [])
    tree = Branch(numbers(10), [Branch(numbers(), [leaf] * 100) for _ in range(3)])
    marks = Counts()

    encoded = encode(tree, marks, value_bytes=LIMIT)

    assert 0.4 * LIMIT < len(encoded) <= LIMIT
    assert marks.truncated > 1


def test_only_the_beginning_of_a_long_text_is_copied():
    """Of a text, and of an instance of a subclass, only the kept part and the part searched for secrets are copied."""

    class Text(str):
        __slots__ = ()

        def fail(self, *_: object) -> None:
            raise AssertionError("called")

        __str__ = __len__ = __getitem__ = encode = isascii = __format__ = fail  # type: ignore[assignment]

    seen = []

    class Measuring(Masker):
        def redact(self, value: Any) -> Any:
            seen.append(len(value))
            return super().redact(value)

    made = record([Text("x" * 5_000_000), "y" * 5_000_000], redactor=Measuring())

    assert made == [
        "x" * 65_536 + "…[truncated: 65,536 of about 5,000,000 bytes kept]",
        "y" * 65_536 + "…[truncated: 65,536 of 5,000,000 bytes kept]",
    ]
    assert max(seen) <= 65_536 + limits.MARGIN_CHARS


def test_the_size_of_a_very_long_text_is_extrapolated():
    """The bytes of a text that is not ASCII are counted up to a million characters, and then estimated."""
    assert record("é" * 2_000_000).endswith("…[truncated: 65,536 of about 4,000,000 bytes kept]")
    assert record("é" * 500_000).endswith("…[truncated: 65,536 of 1,000,000 bytes kept]")


def lists_that_double() -> Any:
    value: Any = [1]
    for _ in range(60):
        value = [value, value]
    return value


def dicts_that_double() -> Any:
    value: Any = {"key": "value"}
    for number in range(60):
        value = {"a": value, "b": value, "number": number}
    return [object(), value]


def aliases_of_yaml() -> Any:
    """Nine lists that have the former one nine times each: 900 bytes of YAML."""
    document: dict[str, Any] = {"a": ["lol"] * 9}
    for name, former in zip("bcdefghi", "abcdefgh", strict=True):
        document[name] = [document[former]] * 9
    return document


class Pair(BaseModel):
    """A model with two values."""

    first: Any
    second: Any


def models_that_double() -> Any:
    value: Any = Pair(first=1, second=2)
    for _ in range(60):
        value = Pair(first=value, second=value)
    return value


def circular_lists() -> Any:
    value: list[Any] = [1]
    value[0] = value
    return [value] * 200


@pytest.mark.parametrize("before", [0, 2_000])
@pytest.mark.parametrize(
    "made", [lists_that_double, dicts_that_double, aliases_of_yaml, models_that_double, circular_lists]
)
def test_a_value_with_the_same_containers_again_and_again_costs_no_more_than_its_record(made, before):
    """
    Sixty lists that have the former one twice each would be 10^18 bytes. It may come after many small values.
    """
    later = Encoder()
    for _ in range(before):
        later.encode({"a": {"b": [1]}}, Counts())

    encoded = later.encode({"first": "x", "value": made(), "last": [1]}, Counts())

    assert len(encoded) <= limits.Limits().value_bytes


def test_small_values_are_not_measured_for_ever():
    """After a thousand containers without a large value, an encoder stops measuring, until one is large."""
    measuring = Encoder()

    for _ in range(encoder.MEASURED_CONTAINERS):
        measuring.encode({"a": 1}, Counts())
    unmeasured = measuring._dumps
    measuring.encode(numbers(1_000_000), Counts())

    assert unmeasured == measuring._usual_dumps
    assert measuring._dumps == measuring._measured_dumps
    for _ in range(encoder.MEASURED_CONTAINERS + 1):
        measuring.encode({"a": 1}, Counts())
    assert measuring._dumps == measuring._measured_dumps


@pytest.mark.parametrize("odd", [{1}, "x" * 100_000, 2**70, float("nan"), None, ("a", {1: 2})], ids=str)
@pytest.mark.parametrize("at", [0, 1, 5_000, 9_998, 9_999])
def test_items_keep_their_order_around_one_that_is_not_plain(odd, at):
    """Items that are encoded together and items that are cleaned one by one come out in their order."""
    values: list[Any] = list(range(10_000))
    values[at] = odd

    made = record({"list": values, "dict": {f"k{number}": value for number, value in enumerate(values)}, "s": {1}})

    alone = record([odd, {1}])[0]
    expected = [*range(at), alone, *range(at + 1, 10_000)]
    assert made["list"] == expected
    assert list(made["dict"].values()) == expected
    assert list(made["dict"]) == [f"k{number}" for number in range(10_000)]


def test_a_large_dict_keeps_keys_that_look_alike():
    """A dict with many fields, and with keys that have the same text, keeps them all."""
    value = {**{str(number): number for number in range(5_000)}, 17: "seventeen"}

    made = record(value)

    assert len(made) == 5_001
    assert "seventeen" in made.values()
