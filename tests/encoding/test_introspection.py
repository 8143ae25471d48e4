"""
Introspection: attributes are read where they are stored, and no code of the object runs.
"""

from __future__ import annotations

import asyncio
import dataclasses
import types
import typing

import pytest
from encoding_aids import record

from fluxloop.encoding.introspection import snapshot


class Client:
    def __init__(self) -> None:
        self.name = "main"
        self.api_key = "k"
        self._pool = object()

    @property
    def status(self) -> typing.NoReturn:
        raise AssertionError("a property was called")


@dataclasses.dataclass
class Plain:
    a: int
    b: object = None
    _hidden: int = 0


@dataclasses.dataclass(slots=True, frozen=True)
class Slotted:
    a: int


class WithSlots:
    __slots__ = ("a", "b")

    def __init__(self) -> None:
        self.a = 1


class WithBoth(WithSlots):
    def __init__(self) -> None:
        super().__init__()
        self.c = 2


def test_a_dataclass_becomes_its_public_fields():
    """
    Dataclasses are data: their fields by name, slots or not, without the private ones.
    """
    assert record([Plain(1, Slotted(2)), Plain(1, {3})]) == [{"a": 1, "b": {"a": 2}}, {"a": 1, "b": [3]}]


def test_an_attrs_class_becomes_its_public_fields():
    """
    attrs classes are recognised without attrs being imported.
    """
    attrs = pytest.importorskip("attrs")
    made = attrs.make_class("Made", ["a", "_hidden"])

    assert record(made(1, 2)) == {"a": 1}


def test_any_object_shows_its_public_attributes():
    """
    An object is its class and its attributes by name, so redaction sees ``api_key``; no property is called.
    """
    assert record(Client()) == {"__class__": f"{__name__}.Client", "name": "main", "api_key": "k"}


def test_slots_are_read_like_attributes():
    """
    Attributes in slots are shown where they are set, beside those of ``__dict__``.
    """
    made = record([WithSlots(), WithBoth(), types.SimpleNamespace(a=1)])

    assert made == [
        {"__class__": f"{__name__}.WithSlots", "a": 1},
        {"__class__": f"{__name__}.WithBoth", "a": 1, "c": 2},
        {"__class__": "types.SimpleNamespace", "a": 1},
    ]


def test_an_attribute_called_dict_is_an_attribute():
    """
    An attribute with the name of a serialisation method is not called.
    """
    assert record(types.SimpleNamespace(dict={"a": 1}, model_dump=None)) == {
        "__class__": "types.SimpleNamespace",
        "dict": {"a": 1},
        "model_dump": None,
    }


class Hostile:
    """Raises wherever it can be touched."""

    def __getattr__(self, name: str) -> typing.NoReturn:
        raise RuntimeError(name)

    def _fails(self, *_: object) -> typing.NoReturn:
        raise RuntimeError

    __repr__ = __str__ = __eq__ = __hash__ = __len__ = __iter__ = __bool__ = _fails  # type: ignore[assignment]
    __class__ = property(_fails)  # type: ignore[assignment]


class Disguised:
    __class__ = str  # type: ignore[assignment]


class Meta(type):
    def __getattribute__(cls, name: str) -> typing.NoReturn:
        raise RuntimeError(name)


class OfMeta(metaclass=Meta):
    def __init__(self) -> None:
        object.__setattr__(self, "a", 1)


def test_objects_that_raise_or_lie_are_named():
    """
    An object that fails wherever it is touched, or gives a false class, is still recorded as what it is.
    """
    assert record({"a": Hostile(), "b": Disguised(), "c": OfMeta(), "d": 1}) == {
        "a": "<Hostile>",
        "b": "<Disguised>",
        "c": {"__class__": f"{__name__}.OfMeta", "a": 1},
        "d": 1,
    }


class UnspeakableError(Exception):
    def __init__(self, error: BaseException) -> None:
        self.error = error

    def __str__(self) -> typing.NoReturn:
        raise self.error


@pytest.mark.parametrize("error", [ValueError(), RecursionError(), MemoryError()])
def test_a_str_method_that_raises_costs_only_that_value(error):
    """
    If code of the value raises, the record has the class of the error, and the values beside it.
    """
    made = record({"a": UnspeakableError(error), "b": 1})

    assert made == {"a": f"<{__name__}.UnspeakableError: unreadable, {type(error).__name__}>", "b": 1}


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, asyncio.CancelledError])
def test_keyboard_interrupts_exits_and_cancellations_are_raised(error):
    """
    ``KeyboardInterrupt``, ``SystemExit`` and cancellations that are raised while a value is read reach the program.
    """
    with pytest.raises(error):
        record([UnspeakableError(error())])


# Containers other threads change.


def test_copying_a_changing_container_is_retried():
    """
    A container that changes while it is copied is copied again, a few times.
    """
    attempts = []

    def iterate():
        attempts.append(1)
        yield 1
        if len(attempts) < 3:
            raise RuntimeError("changed size during iteration")

    assert snapshot(iterate) == [1]
    assert len(attempts) == 3
