"""
Enumerations whose members would end the process inside orjson are recorded, and all others cost nothing.
"""

from __future__ import annotations

import collections
import enum
import gc
import signal
import subprocess
import sys
import textwrap
from typing import Any

import orjson
import pytest
from encoding_aids import encode, record

from fluxloop.encoding import enum_classes

PROGRAM = """
    import datetime, enum, gc, sys, types
    from fluxloop.encoding.encoder import Encoder

    class Counts:
        redacted = truncated = 0

    def fail(*_):
        raise ZeroDivisionError

    encoder = Encoder()
    encoder.encode([1], Counts())  # classes that are made later are found too

    {code}

    for held in (value, [value], {{"a": (value, 1)}}, {{"at": datetime.datetime(2026, 1, 2), "v": value}}):
        encoder.encode(held, Counts())
    print(encoder.encode(value, Counts()).decode())
"""

HOSTILE = {
    "a value that raises": """
    class Own(enum.Enum):
        A = 1
        value = property(fail)
    value = Own.__dict__["_member_map_"]["A"]
    """,
    "a value of the member itself": """
    class Own(enum.Enum):
        A = 1
        @property
        def value(self):
            return self
    value = Own.A
    """,
    "a value that raises SystemExit": """
    class Own(enum.Enum):
        A = 1
        @types.DynamicClassAttribute
        def value(self):
            sys.exit(1)
    value = Own.A
    """,
    "a flag": """
    class Own(enum.Flag):
        A = 1
        @property
        def value(self):
            return fail()
    value = Own.A
    """,
    "an enumeration of numbers": """
    class Own(float, enum.Enum):
        A = 1.5
        @property
        def value(self):
            return fail()
    value = Own.A
    """,
    "a base class": """
    class Base(enum.Enum):
        @property
        def value(self):
            return fail()
    class Own(Base):
        A = 1
    value = Own.A
    """,
    "access to attributes": """
    class Own(enum.Enum):
        A = 1
        def __getattribute__(self, name):
            return fail() if name == "value" else object.__getattribute__(self, name)
    value = Own.A
    """,
    "a deleted value": """
    class Own(enum.Enum):
        A = 1
    del Own.A._value_
    value = Own.A
    """,
    "a circle": """
    class Own(enum.Enum):
        A = 1
        B = 2
    Own.A._value_, Own.B._value_ = Own.B, [Own.A]
    value = Own.A
    """,
    "a value that changes the list around it": """
    class Own(enum.Enum):
        A = 1
        @property
        def value(self):
            around.clear()
            return 1
    value = around = [Own.A] + [str(number) * 50 for number in range(100)]
    """,
    "a class that comes when another one goes": """
    class Other(enum.Enum):
        A = 1
    encoder.encode([Other.A], Counts())
    del Other
    gc.collect()
    class Own(enum.Enum):
        A = 1
        value = property(fail)
    value = Own.A
    """,
    "a zone in place of the library's": """
    class ZoneInfo(datetime.tzinfo):
        utcoffset = fail
    sys.modules["zoneinfo"] = types.SimpleNamespace(ZoneInfo=ZoneInfo)
    value = datetime.datetime(2026, 1, 2, tzinfo=ZoneInfo())
    """,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_member_whose_value_cannot_be_read_does_not_end_the_process(name):
    """orjson would end it: it reads ``value`` itself, and takes for granted that this works."""
    code = textwrap.dedent(HOSTILE[name]).strip()
    made = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(PROGRAM).format(code=code)],
        capture_output=True,
        text=True,
        check=False,
    )

    assert made.returncode == 0, made.stderr
    assert orjson.loads(made.stdout) is not None


def test_members_of_other_enumerations_are_recorded_beside_it():
    """Once there is such a class, values are searched for its members; what else they hold stays as it is."""
    colour = enum.Enum("colour", {"RED": "red", "MIXED": (1, [2.5, None])})

    class Own(enum.Enum):
        A = "own"

        @property
        def value(self) -> str:
            raise KeyError

    assert record([colour.RED, colour.MIXED, {"a": Own.A}]) == ["red", [1, [2.5, None]], {"a": "own"}]
    del Own
    gc.collect()
    assert record([colour.RED]) == ["red"]


def test_the_classes_are_examined_only_when_there_is_a_new_one(monkeypatch):
    """In between, the only cost is to read the reference count of the metaclass."""
    encode([1])
    looks: list[int] = []
    examine = enum_classes._examine
    monkeypatch.setattr(enum_classes, "_examine", lambda: looks.append(1) or examine())
    for _ in range(100):
        encode({"a": [enum.Enum, 1]})
    assert len(looks) <= 1

    made = [enum.Enum(f"E{number}", {"A": number}) for number in range(3)]
    assert record([cls.A for cls in made]) == [0, 1, 2]
    assert len(looks) <= 2


def test_a_value_with_too_many_items_to_search_is_searched_by_the_cleaning():
    """It is then encoded item by item, with the same result."""

    class Own(enum.Enum):
        A = "own"

        @property
        def value(self) -> str:
            raise KeyError

    items = [*range(enum_classes.CHECKED_ITEMS + 1), Own.A]

    assert record(items) == [*items[:-1], "own"]


def test_an_interruption_of_the_look_does_not_hide_classes(monkeypatch):
    """The exception of a signal handler reaches the program, and the next value is encoded as if it had not come."""
    encode([1])

    class Own(enum.Enum):
        A = "own"

        @property
        def value(self) -> str:
            raise KeyError

    def interrupt(cls: type) -> bool:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(enum_classes, "_is_safe", interrupt)
        with pytest.raises(KeyboardInterrupt):
            encode([1])

    assert record([Own.A]) == ["own"]


SIGNALS = """
    import enum, random, signal
    from fluxloop.encoding.encoder import MEASURED_CONTAINERS, Encoder

    class Counts:
        redacted = truncated = 0

    class Colour(enum.Enum):
        RED = 1

    def stop(*_):
        raise TimeoutError("time limit")

    encoder = Encoder()
    value = [{"colour": Colour.RED, "text": "x" * 20} for _ in range(20)]
    encoder.encode(value, Counts())
    for _ in range(MEASURED_CONTAINERS):
        encoder.encode({"a": 1}, Counts())
    signal.signal(signal.SIGALRM, stop)
    for _ in range(300):
        try:
            signal.setitimer(signal.ITIMER_REAL, random.uniform(0.0001, 0.002))
            while True:
                encoder.encode(value, Counts())
        except TimeoutError:
            pass
    print(encoder.encode(value[:1], Counts()).decode())
"""


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="this system has no timers that send signals")
def test_a_signal_handler_that_raises_while_members_are_recorded_does_not_end_the_process():
    """``value`` of every enumeration is Python code, which runs signal handlers: orjson must not run it."""
    made = subprocess.run([sys.executable, "-c", textwrap.dedent(SIGNALS)], capture_output=True, text=True, check=False)

    assert made.returncode == 0, made.stderr
    assert orjson.loads(made.stdout) == [{"colour": 1, "text": "x" * 20}]


def test_members_are_replaced_wherever_orjson_would_read_them():
    """In containers of any class, deep inside, and in values with more items than are searched."""
    colour = enum.Enum("colour", {"RED": "red", "MIXED": (1, [2.5, None])})
    shade = enum.Enum("shade", {"DARK": colour.RED})
    deep: Any = colour.RED
    for _ in range(90):
        deep = [deep]

    assert record([colour.RED]) == ["red"]
    assert record((colour.MIXED, {"a": [shade.DARK]})) == [[1, [2.5, None]], {"a": ["red"]}]
    assert record(collections.OrderedDict(a=colour.RED)) == {"a": "red"}
    assert record({"b": collections.UserList([colour.RED]).data, "c": 1.5}) == {"b": ["red"], "c": 1.5}
    assert str(record(deep)).count("[") == 90
    assert record([*range(30_000), colour.RED])[-1] == "red"


def test_long_lists_are_searched_by_the_classes_of_their_items(monkeypatch):
    """As many messages are searched in a third of the time, and with the answer of a look at each item."""
    colour = enum.Enum("colour", {"RED": 1})
    texts = enum.StrEnum("texts", {"A": "a"})

    class Message:
        """An object, which is not searched."""

    class Own(list[Any]):
        """A container."""

    items = [Message() for _ in range(100)]
    values = [[*items, found] for found in (1, colour.RED, texts.A, [colour.RED], {"a": colour.RED}, Own([colour.RED]))]
    values += [[*value[-1:], *value] for value in values] + [tuple(value) for value in values] + [[*items, []], []]

    def answers() -> list[bool]:
        return [enum_classes._holds(value, None) for value in values]

    by_class = answers()
    monkeypatch.setattr(enum_classes, "LONG_CONTAINER", 10_000)

    assert by_class == answers()
    assert by_class[:6] == [False, True, False, True, True, True]
