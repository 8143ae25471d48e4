"""
Look at an object without running any of its code.

Names come from the type itself and attributes from where they are stored, since ``__class__``, ``__getattr__``,
properties and ``__repr__`` may lie, raise, or do work. The types in which a converter returns its result are here too.
"""

from __future__ import annotations

import sys
import types
from collections.abc import Callable, Iterable
from itertools import islice
from typing import Any, NamedTuple, TypeVar

T = TypeVar("T")
Converter = Callable[[Any], object]
"""Takes a value of one type, returns the same in simpler types, which may again contain anything."""


class Opened(NamedTuple):
    """An object of an unknown class, as its public attributes; the number of opened objects is limited."""

    attributes: dict[str, object]


class FirstItems(NamedTuple):
    """The beginning of a list or str, and the length of the whole."""

    value: list[object] | str
    total: int


class FirstFields(NamedTuple):
    """The first keys and items of a dict, and how many the whole has."""

    keys: list[object]
    items: list[object]
    total: int


class Shortened(NamedTuple):
    """Data from which the converter left something out; counted as one truncated place."""

    value: object


MAX_ITEMS = 100_000
"""Items read of a container at most; as many fill the default limit of a value."""
TRIES = 3
"""Attempts to copy a container that another thread keeps changing."""

bases: Callable[[type], tuple[type, ...]] = type.__dict__["__mro__"].__get__
"""A class and its ancestors, nearest first."""
namespace: Callable[[type], dict[str, Any]] = type.__dict__["__dict__"].__get__
"""The attributes that a class itself defines (a read-only view)."""
_name: Callable[[type], str] = type.__dict__["__name__"].__get__
_qualname: Callable[[type], str] = type.__dict__["__qualname__"].__get__
_module: Callable[[type], object] = type.__dict__["__module__"].__get__


def is_secret(annotation: object) -> bool:
    """Return whether *annotation* is marked with `fluxloop.Secret`; it cannot be, before that is loaded."""
    secret = sys.modules.get("fluxloop.redaction.secret")
    return secret is not None and bool(secret.is_marked(annotation))


MASK = "[redacted]"
"""What replaces a value that is marked as secret."""


def qualname(cls: type) -> str:
    """Return the name of *cls*, without its module."""
    return str.__str__(_qualname(cls))


def short_name(cls: type) -> str:
    """Return the name of *cls*, without its module and the classes around it."""
    return str.__str__(_name(cls))


def full_name(cls: type) -> str:
    """Return ``package.module.Class``, whatever the class says about itself."""
    try:
        module = _module(cls)
    except AttributeError:  # deleted
        module = None
    return f"{module}.{qualname(cls)}" if type(module) is str else qualname(cls)


def name_of(cls: type) -> str:
    """Return `full_name` without the module if that is ``builtins`` or ``__main__``."""
    name = full_name(cls).removeprefix("builtins.").removeprefix("__main__.")
    return name if name.isascii() else name.encode(errors="replace").decode()


def tag(value: object, name: object = None) -> str:
    """Return ``<Class>`` or ``<Class name>``, for what is not data."""
    return f"<{qualname(type(value))}{f' {str.__str__(name)}' if is_text(name) else ''}>"


def is_text(value: object) -> bool:
    """Return whether *value* is a str; `isinstance` would run a property named ``__class__``."""
    return issubclass(type(value), str)


def left_out(missing: int, total: int, things: str = "items") -> str:
    """Return the marker that replaces *missing* of *total* things."""
    return f"{CUT} {missing:,} of {total:,} {things} left out]"


CUT = "…[truncated:"
"""The beginning of the markers for what the limits cut."""


def has_plain_hash(cls: type) -> bool:
    """Return whether *cls* can be looked up in a dict without running code of its metaclass."""
    metas = bases(type(cls))[:-2]  # without type and object
    return not metas or all("__hash__" not in namespace(meta) and "__eq__" not in namespace(meta) for meta in metas)


def attribute(cls: type, name: str) -> Any:
    """Return what *cls* or its nearest ancestor defines as *name*, or None; no descriptor or metaclass runs."""
    for base in bases(cls):
        if name in namespace(base):
            return namespace(base)[name]
    return None


def own(value: object, name: str) -> Any:
    """Return what *value* stores under *name*, or None; its ``__getattr__`` is not called."""
    try:
        return object.__getattribute__(value, name)
    except AttributeError:
        return None


def stored(cls: type) -> Callable[[object], dict[str, Any]]:
    """Return a reader of the attributes an instance of *cls* stores, in ``__dict__`` and in slots."""
    slots = {
        name: slot
        for base in reversed(bases(cls))
        if "__slots__" in namespace(base)
        for name, slot in namespace(base).items()
        if type(slot) is types.MemberDescriptorType
    }
    own_dict = attribute(cls, "__dict__")
    has_dict = type(own_dict) is types.GetSetDescriptorType or type(own_dict) is types.MemberDescriptorType

    def read(value: object) -> dict[str, Any]:
        held = {}
        for name, slot in slots.items():
            try:
                held[name] = slot.__get__(value)
            except (AttributeError, TypeError):  # an empty slot, or the slot of another class
                continue
        return held | dict.copy(own_dict.__get__(value)) if has_dict else held

    return read


def first_fields(value: dict[Any, Any], most: int) -> FirstFields:
    """Return the first fields of a dict; read in one call, as other threads may change it meanwhile."""
    keys, items = map(list, (islice(dict.__iter__(value), most), islice(dict.values(value), most)))
    return FirstFields(keys, items, max(dict.__len__(value), len(keys)))


def snapshot(iterate: Callable[[], Iterable[T]], most: int = MAX_ITEMS) -> list[T]:
    """Return the first *most* items of a container that another thread may be changing."""
    for _ in range(TRIES - 1):
        try:
            return list(islice(iterate(), most))
        except RuntimeError:  # changed size during iteration
            continue
    return list(islice(iterate(), most))
