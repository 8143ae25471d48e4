"""
Look at an object without running any of its code.

Names come from the type itself and attributes from where they are stored, since ``__class__``, ``__getattr__``,
properties and ``__repr__`` may lie, raise, or do work. Here are also the few words in which a converter answers.
"""

from __future__ import annotations

import sys
import types
from collections.abc import Callable, Iterable
from itertools import islice
from typing import Any, NamedTuple, TypeVar

T = TypeVar("T")
Converter = Callable[[Any], object]
"""Takes a value of one type, returns data that says the same in simpler types; that may again hold anything."""


class Opened(NamedTuple):
    """An object of a class nobody told us about, as its public attributes; how many are opened is limited."""

    attributes: dict[str, object]


class Shortened(NamedTuple):
    """Data from which the converter left something out; counted as one place cut."""

    value: object


MOST_ITEMS = 100_000
"""Items read of a set, a deque or a view: as many fill the default value limit by themselves."""
TRIES = 3
"""Attempts to copy a container that another thread keeps changing."""

bases: Callable[[type], tuple[type, ...]] = type.__dict__["__mro__"].__get__
"""A class and its ancestors, nearest first."""
qualname: Callable[[type], str] = type.__dict__["__qualname__"].__get__
"""A class's name, without its module."""
_module: Callable[[type], object] = type.__dict__["__module__"].__get__
namespace: Callable[[type], dict[str, Any]] = type.__dict__["__dict__"].__get__
"""What a class itself defines (a read-only view)."""


def is_secret(annotation: object) -> bool:
    """Return whether *annotation* is marked with `fluxloop.Secret`; it cannot be, before that is loaded."""
    secret = sys.modules.get("fluxloop.redaction.secret")
    return secret is not None and bool(secret.is_marked(annotation))


MASK = "[redacted]"
"""What replaces a value that is marked as secret."""


def full_name(cls: type) -> str:
    """Return ``package.module.Class``, whatever the class says about itself."""
    module = _module(cls)
    return f"{module}.{qualname(cls)}" if isinstance(module, str) else qualname(cls)


def name_of(cls: type) -> str:
    """Return `full_name` without a module that says nothing."""
    name = full_name(cls).removeprefix("builtins.").removeprefix("__main__.")
    return name if name.isascii() else name.encode(errors="replace").decode()


def tag(value: object, name: object = None) -> str:
    """Return ``<Class>`` or ``<Class name>``, for what is not data."""
    return f"<{qualname(type(value))}{f' {name}' if isinstance(name, str) else ''}>"


def left_out(missing: int, total: int, things: str = "items") -> str:
    """Return the marker that stands where *missing* of *total* things were."""
    return f"…[truncated: {missing:,} of {total:,} {things} left out]"


def own(value: object, name: str) -> Any:
    """Return what *value* stores under *name*, or None; its ``__getattr__`` is not asked."""
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

    def read(value: object) -> dict[str, Any]:
        held = {}
        for name, slot in slots.items():
            try:
                held[name] = slot.__get__(value)
            except AttributeError:  # nothing was put into this slot
                continue
        return held | dict.copy(own(value, "__dict__") or {})

    return read


def snapshot(iterate: Callable[[], Iterable[T]], most: int = MOST_ITEMS) -> list[T]:
    """Return the first *most* items of a container that another thread may be changing."""
    for _ in range(TRIES - 1):
        try:
            return list(islice(iterate(), most))
        except RuntimeError:  # changed size during iteration
            continue
    return list(islice(iterate(), most))
