"""
Conversion of the types of the standard library, and of classes of the program.
"""

from __future__ import annotations

import array
import asyncio
import collections
import contextvars
import datetime
import enum
import fractions
import functools
import io
import ipaddress
import logging
import pathlib
import queue
import re
import socket
import threading
import types
import typing
import uuid
import weakref
import zoneinfo
from decimal import Decimal
from unittest import mock

import pytest
from encoding_aids import Counts, record

from fluxloop.encoding import converters
from fluxloop.encoding.encoder import register


class Colour(enum.Enum):
    RED = "red"
    ODD = (1, frozenset({2}))


class Level(enum.IntEnum):
    HIGH = 3


class Word(enum.StrEnum):
    HELLO = "hello"


class Flags(enum.Flag):
    A = 1
    B = 2


class Point(typing.NamedTuple):
    x: int
    y: object


class Shouting(str):
    def __str__(self) -> str:
        return "lie"


class Virtual(dict[str, int]):
    def __iter__(self) -> typing.NoReturn:
        raise RuntimeError

    def items(self) -> typing.NoReturn:
        raise RuntimeError


def answer() -> None: ...


class Client:
    def __init__(self) -> None:
        self.name = "main"

    def send(self) -> None: ...


CASES: list[tuple[object, object]] = [
    (None, None),
    (True, True),
    (1.5, 1.5),
    ((1, "a"), [1, "a"]),
    (float("nan"), None),
    ([float("inf"), {1}], [None, [1]]),
    (2**64 - 1, 2**64 - 1),
    (-(2**63), -(2**63)),
    (2**64, "18446744073709551616"),
    (-(2**63) - 1, "-9223372036854775809"),
    # text that UTF-8 cannot hold
    ("a\ud800b", "a\ufffdb"),
    ("\ud83d\ude00", "\U0001f600"),
    ({"\udfff": 1}, {"\ufffd": 1}),
    # subclasses: what they hold
    (Shouting("hi"), "hi"),
    ([Shouting("hi"), {1}], ["hi", [1]]),
    (Virtual(a=1), {"a": 1}),
    ([Virtual(a=1), {1}], [{"a": 1}, [1]]),
    (collections.Counter("aab"), {"a": 2, "b": 1}),
    (collections.defaultdict(list, a=[{1}]), {"a": [[1]]}),
    (collections.OrderedDict(b=1, a={2}), {"b": 1, "a": [2]}),
    (collections.UserDict(a={1}), {"a": [1]}),
    (collections.UserList([1]), [1]),
    (Point(1, {2}), {"x": 1, "y": [2]}),
    # enumerations: their value
    (Colour.RED, "red"),
    ([Colour.RED, {1}], ["red", [1]]),
    (Colour.ODD, [1, [2]]),
    ([Level.HIGH, Word.HELLO, {1}], [3, "hello", [1]]),
    (Flags.A | Flags.B, 3),
    # bytes: their length, and the text if they are some
    (b"hi", "<bytes 2: hi>"),
    (b"", "<bytes 0>"),
    (b"\xff\xfe", "<bytes 2>"),
    (b"\x00text", "<bytes 5>"),
    (bytearray(b"hi"), "<bytearray 2: hi>"),
    (memoryview(b"hi"), "<memoryview 2: hi>"),
    (memoryview(bytes(5_000_000)), "<memoryview 5,000,000>"),
    # collections: lists
    ({3, 1, 2}, [1, 2, 3]),
    (frozenset("cab"), ["a", "b", "c"]),
    ({1, "a", None}, [None, 1, "a"]),
    (collections.deque([1, {2}]), [1, [2]]),
    (array.array("i", [1, 2]), [1, 2]),
    ({"a": 1}.keys(), ["a"]),
    ({"a": 1}.values(), [1]),
    ({"a": 1}.items(), [["a", 1]]),
    (collections.OrderedDict(a=1).keys(), ["a"]),
    (types.MappingProxyType({"a": 1}), {"a": 1}),
    (range(3), "range(0, 3)"),
    (slice(1, None, 2), {"__class__": "slice", "start": 1, "step": 2}),
    # numbers, times, names
    (Decimal("1.10"), "1.10"),
    (fractions.Fraction(1, 3), "1/3"),
    (1 + 2j, "(1+2j)"),
    (datetime.date(2026, 1, 17), "2026-01-17"),
    (datetime.datetime(2026, 1, 17, 14, 30, tzinfo=datetime.UTC), "2026-01-17T14:30:00+00:00"),
    ([datetime.datetime(2026, 1, 17, 14, 30), {1}], ["2026-01-17T14:30:00", [1]]),
    (datetime.time(1, 2, tzinfo=datetime.UTC), "01:02:00+00:00"),
    (datetime.timedelta(days=1, seconds=5), "1 day, 0:00:05"),
    (datetime.UTC, "UTC"),
    (zoneinfo.ZoneInfo("UTC"), "UTC"),
    (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
    ([uuid.UUID(int=1), {1}], ["00000000-0000-0000-0000-000000000001", [1]]),
    (pathlib.PurePosixPath("/a/b"), "/a/b"),
    (re.compile(r"\d+"), r"re.compile('\\d+')"),
    (ipaddress.ip_address("127.0.0.1"), "127.0.0.1"),
    # errors
    (ValueError("boom"), {"__class__": "ValueError", "message": "boom"}),
    (
        ExceptionGroup("two", [KeyError("k")]),
        {
            "__class__": "ExceptionGroup",
            "message": "two (1 sub-exception)",
            "exceptions": [{"__class__": "KeyError", "message": "'k'"}],
        },
    ),
    # code
    (Decimal, "<class decimal.Decimal>"),
    (answer, "<function answer>"),
    (len, "<function len>"),
    (Client().send, "<method Client.send>"),
    (functools.partial(answer), "<partial answer>"),
    (re, "<module re>"),
    # machinery
    (threading.Lock(), "<lock>"),
    (threading.current_thread(), "<_MainThread>"),
    (logging.getLogger("a"), "<Logger>"),
    (queue.Queue(), "<Queue>"),
    (contextvars.ContextVar("a"), "<ContextVar>"),
    (io.StringIO("a"), "<StringIO>"),
    (mock.MagicMock(), "<MagicMock>"),
    (mock.Mock(spec=Client), "<Mock>"),
    (object(), "<object>"),
    (..., "<ellipsis>"),
]


@pytest.mark.parametrize(("value", "expected"), CASES, ids=lambda value: None)
def test_each_type_of_the_standard_library_has_a_readable_form(value, expected):
    """
    The form of a type is fixed, and does not depend on the values beside it.
    """
    assert record(value) == expected
    assert record({"a": value, "b": {1}}) == {"a": expected, "b": [1]}


def test_a_lambda_is_named_with_its_function():
    """
    A lambda is named, with the function it was written in.
    """
    assert record(lambda: 1) == "<function test_a_lambda_is_named_with_its_function.<locals>.<lambda>>"


def test_tasks_and_event_loops_are_recorded_by_name():
    """
    Objects of asyncio are not opened.
    """

    async def main() -> object:
        task = asyncio.ensure_future(asyncio.sleep(0))
        loop = asyncio.get_running_loop()
        made = record([task, loop.create_future(), asyncio.Lock(), asyncio.Queue()])
        assert record(loop).startswith("<_")
        await task
        return made

    assert asyncio.run(main()) == ["<Task>", "<Future>", "<Lock>", "<Queue>"]


def test_sockets_and_references_are_recorded_by_name():
    """
    A socket is not asked for its address, and a reference is not followed.
    """
    client = Client()
    with socket.socket() as line:
        made = record([line, weakref.ref(client), weakref.proxy(client)])

    assert made == ["<socket>", "<ReferenceType>", "<ProxyType>"]


def test_a_file_shows_its_name(tmp_path):
    """
    An open file is its name; its position stays where it was.
    """
    path = tmp_path / "notes.txt"
    path.write_text("hello")
    with path.open() as file:
        file.read(2)
        made = record(file)
        rest = file.read()

    assert (made, rest) == (f"<TextIOWrapper {path}>", "llo")


# The table.


@pytest.fixture
def table(monkeypatch):
    """Restore the table after the test."""
    monkeypatch.setattr(converters, "_TABLE", dict(converters._TABLE))
    monkeypatch.setattr(converters, "_chosen", {})


@pytest.mark.usefixtures("table")
@pytest.mark.parametrize("target", [Client, f"{__name__}.Client"])
def test_a_registered_converter_reads_a_type_and_its_subclasses(target):
    """
    A converter is registered for a type, or for its name; it may return any value.
    """

    class Special(Client):
        pass

    record(Client())
    register(target, lambda client: {"client": client.name, "tags": {1}})

    assert record([Client(), Special()]) == [{"client": "main", "tags": [1]}] * 2


@pytest.mark.usefixtures("table")
def test_a_converter_that_fails_or_returns_its_argument_is_harmless():
    """
    A converter that fails affects only its value, not the record.
    """
    register(Client, lambda client: client)
    register(Point, lambda point: 1 / 0)

    assert record([Client(), Point(1, 2), 1]) == [
        f"<circular: {__name__}.Client>",
        f"<{__name__}.Point: unreadable, ZeroDivisionError>",
        1,
    ]


def test_the_cache_of_types_is_limited(monkeypatch):
    """
    Each mock has its own type; a long test session must not fill the memory with them.
    """
    monkeypatch.setattr(converters, "_chosen", {})
    monkeypatch.setattr(converters, "MAX_TYPES", 5)

    for _ in range(20):
        record(mock.Mock())

    assert len(converters._chosen) <= 5


def test_a_very_large_collection_is_read_up_to_a_limit(monkeypatch):
    """
    A marker counts the missing items of a large collection.
    """
    monkeypatch.setattr("fluxloop.encoding.introspection.snapshot.__defaults__", (3,))
    marks = Counts()

    made = record(collections.deque(range(10)), marks)

    assert made == [0, 1, 2, "…[truncated: 7 of 10 items left out]"]
    assert marks == Counts(truncated=1)
