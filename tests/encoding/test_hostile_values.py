"""
Hostile values: types that raise, lie or do work wherever they are touched cost neither the call nor its observation.
"""

from __future__ import annotations

import collections
import dataclasses
import functools
import types
from collections.abc import Callable
from typing import Any, NoReturn
from unittest import mock

import pytest

import fluxloop
from fluxloop.testing import capture


class HostileError(Exception):
    """Raised by hostile code; its own attributes raise as well."""

    @property
    def args(self) -> NoReturn:  # type: ignore[override]
        raise RuntimeError("args")

    def __str__(self) -> NoReturn:
        raise RuntimeError("str")

    __repr__ = __str__


def fail(*_: object, **__: object) -> NoReturn:
    raise HostileError("touched")


def metaclass(*names: str, call: Callable[..., Any] = fail) -> type:
    """Return a metaclass in which the methods *names* are *call*."""
    return type("Meta", (type,), dict.fromkeys(names, call))


def of_metaclass(*names: str, call: Callable[..., Any] = fail) -> Any:
    """Return an instance, with an attribute, of a class whose metaclass is hostile."""
    made = type.__call__(metaclass(*names, call=call), "OfMeta", (), {})
    value = object.__new__(made)
    object.__setattr__(value, "a", 1)
    return value


def with_property(name: str, base: type = object, result: Any = fail) -> Any:
    """Return an instance of a class that computes the attribute *name*."""
    return type("Computed", (base,), {name: property(result)})()


class Foreign:
    __slots__ = ("x",)


class Slots:
    """Slots beside descriptors that raise, and the slot of another class."""

    __slots__ = ("a", "empty")
    x = Foreign.x  # type: ignore[has-type]
    computed = property(fail)

    def __init__(self) -> None:
        self.a = 1


class Representation:
    """Its `__repr__` returns a number, recurses, or returns a huge text."""

    def __init__(self, make: Callable[[Any], Any]) -> None:
        self._make = make

    def __repr__(self) -> str:
        return self._make(self)  # type: ignore[no-any-return]

    __str__ = __format__ = __repr__  # type: ignore[assignment]


class Key:
    """A key whose comparison raises; its hash can be made to raise too."""

    broken = False

    def __eq__(self, other: object) -> NoReturn:
        fail()

    def __hash__(self) -> int:
        return fail() if self.broken else 7

    __repr__ = __str__ = fail


def hostile_keys(base: Any = dict) -> dict[Any, Any]:
    made: dict[Any, Any] = base({Key(): "first", "plain": 1, (1, frozenset({2})): 2})
    next(iter(made)).broken = True
    return made


class EvilText(str):
    __slots__ = ()
    __str__ = __format__ = __len__ = __hash__ = __eq__ = __getitem__ = fail  # type: ignore[assignment]


def evil_names() -> Any:
    made = type("Evil", (), {"a": 1})
    made.__qualname__ = EvilText("Evil")
    made.__module__ = EvilText("module")
    return made()


def no_module() -> Any:
    made = type("NoModule", (metaclass(),), {})("Bare", (), {})
    del made.__module__
    return made()


class Everything:
    """Raises wherever it can be touched."""

    __getattribute__ = __getattr__ = __repr__ = __str__ = __eq__ = __hash__ = __len__ = __iter__ = fail  # type: ignore[assignment]
    __bool__ = __getitem__ = __call__ = __format__ = __dir__ = __sizeof__ = __reduce_ex__ = __index__ = fail  # type: ignore[assignment]
    __class__ = property(fail)  # type: ignore[assignment]
    __dict__ = property(fail)  # type: ignore[assignment]


class HostileCallable:
    """Can be called, and raises when it is asked for its name."""

    __call__ = fail

    def __getattribute__(self, name: str) -> NoReturn:
        fail()


@dataclasses.dataclass
class Holder:
    content: Any


VALUES: dict[str, Callable[[], Any]] = {
    "metaclass __hash__": lambda: of_metaclass("__hash__", "__eq__"),
    "metaclass __eq__ that is always true": lambda: of_metaclass("__eq__", "__hash__", call=lambda *_: 1),
    "metaclass __instancecheck__": lambda: of_metaclass("__instancecheck__", "__subclasscheck__"),
    "metaclass __getattribute__": lambda: of_metaclass("__getattribute__"),
    "metaclass __bool__": lambda: of_metaclass("__bool__", "__len__", "__repr__", "__call__"),
    "class of a hostile metaclass": lambda: type(of_metaclass("__hash__", "__eq__", "__getattribute__")),
    "__class__ that raises": lambda: with_property("__class__"),
    "__class__ that lies": lambda: with_property("__class__", result=lambda self: str),
    "__dict__ that raises": lambda: with_property("__dict__"),
    "__dict__ that lies": lambda: with_property("__dict__", result=lambda self: {"a": 5}),
    "bytes with a __class__ that raises": lambda: with_property("__class__", bytes),
    "set with a __class__ that raises": lambda: with_property("__class__", set),
    "list with a __class__ that raises": lambda: with_property("__class__", list),
    "dict with a __class__ that raises": lambda: with_property("__class__", dict),
    "exception with a __class__ that raises": lambda: with_property("__class__", ValueError),
    "exception that raises": lambda: HostileError("x"),
    "slots": Slots,
    "__repr__ that raises": lambda: Representation(fail),
    "__repr__ that returns a number": lambda: Representation(lambda self: 5),
    "__repr__ that recurses": lambda: Representation(repr),
    "__repr__ that is huge": lambda: Representation(lambda self: "x" * 50_000_000),
    "keys": hostile_keys,
    "keys in an ordered dict": lambda: hostile_keys(collections.OrderedDict),
    "set of hostile types": lambda: {of_metaclass("__hash__"), 1, "a"},
    "name of the class": evil_names,
    "class without a module": no_module,
    "everything": Everything,
    "partial of a hostile callable": lambda: functools.partial(Everything.__new__(Everything)),
    "method of a hostile callable": lambda: types.MethodType(HostileCallable(), 1),
    "fields of a named tuple": lambda: type("Tuple", (tuple,), {"_fields": property(fail)})((1, 2)),
    "dataclass fields": lambda: type("NoDataclass", (), {"__dataclass_fields__": 5})(),
    "pydantic fields": lambda: type("NoModel", (), {"__pydantic_validator__": 5, "__pydantic_fields__": fail})(),
    "mock of everything": lambda: mock.MagicMock(),
}


@pytest.mark.parametrize("name", VALUES)
def test_a_hostile_value_costs_neither_the_call_nor_its_observation(name):
    """The function gets and returns the very object; the record has it in some form, beside its other values."""
    value = VALUES[name]()

    @fluxloop.agent
    def echo(given: Any, other: Any) -> Any:
        return value

    @fluxloop.agent
    def nested(given: Any) -> Any:
        echo(given, [{"in": given, "held": Holder(given)}])
        return {"kept": "beside", "given": given}

    with capture() as captured:
        answer = nested(value)
        assert echo(value, 1) is value

    assert answer["given"] is value
    first, second = captured.traces()
    outer, inner = first.observations
    assert (inner.name, inner.parent_id, str(inner.status)) == ("echo", outer.id, "success")
    assert inner.input.keys() == {"given", "other"}
    assert inner.output is not None
    assert outer.output["kept"] == "beside"
    assert outer.output["given"] is not None
    assert second.observations[0].input["other"] == 1


@pytest.mark.parametrize("name", VALUES)
def test_a_hostile_value_is_recorded_wherever_the_program_puts_it(name):
    """Hostile values as metadata, usage, stream items, generations and errors leave the program as it is."""
    value = VALUES[name]()

    @fluxloop.prompt(name="ask")
    def ask() -> Any:
        return value

    @fluxloop.trace
    def stream() -> Any:
        yield value
        yield [value]

    with (
        capture() as captured,
        fluxloop.instrument("run"),
        fluxloop.observe("outer", metadata={"m": value}) as observation,
    ):
        observation.output = value
        observation.metadata["more"] = [value]
        assert ask() is value
        items = list(stream())
        assert items[0] is value
        fluxloop.event("happened", metadata={"m": value}, input=value)

    names = sorted(one.name for one in captured.traces()[0].observations)
    assert names == ["ask", "happened", "outer", "run", "stream"]


def test_what_a_hostile_value_contains_is_recorded():
    """What can be read without running the value's code is recorded."""
    values = {name: VALUES[name]() for name in ("slots", "keys", "metaclass __hash__", "metaclass __getattribute__")}

    @fluxloop.agent
    def echo(values: Any) -> None: ...

    with capture() as captured:
        echo(values)

    made = captured.traces()[0].observations[0].input["values"]
    assert made["slots"]["a"] == 1
    assert list(made["keys"].values()) == ["first", 1, 2]
    assert made["metaclass __hash__"]["a"] == 1
    assert made["metaclass __getattribute__"]["a"] == 1


def test_an_annotation_may_be_hostile():
    """An annotation that raises when it is looked at leaves the decoration and the record as they are."""

    def echo(given: Any) -> Any:
        return given

    for hostile in (VALUES["everything"](), VALUES["metaclass __hash__"](), VALUES["class of a hostile metaclass"]()):
        echo.__annotations__["given"] = hostile
        decorated = fluxloop.agent(echo)
        with capture() as captured:
            assert decorated(1) == 1
        assert captured.traces()[0].observations[0].input == {"given": 1}
