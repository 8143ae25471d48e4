"""
Find the enumerations whose members orjson must not be given.

orjson reads the attribute ``value`` of a member itself, and ends the process if that raises, or leads back to the
member. Looking for members in every value would take as long as encoding it, so the classes are examined instead, once
each. A class has a reference to its metaclass: while no examined class is collected, the reference count of `EnumMeta`
shows that there is a new one.
"""

from __future__ import annotations

from enum import Enum, EnumMeta
from functools import partial
from sys import getrefcount
from types import WrapperDescriptorType
from typing import Any
from weakref import WeakSet, ref

from .introspection import attribute, bases, namespace, own

references = -1
"""The reference count of `EnumMeta` if the members of all classes can be given to orjson; -1 if not, or not known."""

CHECKED_ITEMS = 20_000
"""Items of a value that are searched for members, if orjson must not get those of some class."""

_examined: dict[int, ref[type]] = {}
"""The examined classes, by their ids."""
_unsafe: WeakSet[type] = WeakSet()
_count = -1
"""The reference count at the last look."""
_PLAIN = (str, int, list, dict)
"""An enumeration derived from one of these is encoded as what it derives from."""


def may_hold_unsafe(value: Any) -> bool:
    """Return whether *value* may hold a member that orjson must not be given; no code of its classes runs."""
    if getrefcount(EnumMeta) != _count:
        _examine()
    return bool(_unsafe) and _holds(value, _unsafe)


def _examine() -> None:
    global references, _count
    _count = count = getrefcount(EnumMeta)  # first, as other threads may make classes meanwhile
    try:
        _examine_new()
    except BaseException:  # of a signal handler
        references = _count = -1
        raise
    references = count if not _unsafe and _count == count else -1  # a class may have been collected meanwhile


def _examine_new() -> None:
    pending = type.__subclasses__(Enum)
    while pending:
        cls = pending.pop()
        pending += type.__subclasses__(cls)
        if type(cls) is EnumMeta and id(cls) not in _examined:
            if not issubclass(cls, _PLAIN) and not _is_safe(cls):
                _unsafe.add(cls)
            _examined[id(cls)] = ref(cls, partial(_forget, id(cls)))


def _forget(key: int, dead: object) -> None:
    """Look again: with a class less, the reference count may be that of before although there is a new class."""
    global references, _count
    references = _count = -1
    _examined.pop(key, None)


def _is_safe(cls: type) -> bool:
    if attribute(cls, "value") is not _VALUE or type(attribute(cls, "__getattribute__")) is not WrapperDescriptorType:
        return False
    if any(type(base) is not EnumMeta and "_value_" in namespace(base) for base in bases(cls)):
        return False
    members = namespace(cls).get("_member_map_")
    if type(members) is not dict:  # the class was not made in the usual way
        return False
    return all(_has_plain_value(own(member, "__dict__")) for member in members.copy().values())


def _has_plain_value(held: Any) -> bool:
    return type(held) is dict and "_value_" in held and not _holds(held["_value_"], None)


def _holds(value: Any, classes: WeakSet[type] | None) -> bool:
    """Return whether *value* holds a member of *classes*, or of any enumeration with None; True if it is too long."""
    pending, seen = [value], 0
    while pending:
        item = pending.pop()
        kind = type(item)
        if kind is str or kind is int or kind is float or item is None or kind is bool:
            continue
        if type(kind) is EnumMeta and (classes is None or kind in classes):
            return True
        held: Any = ()
        if issubclass(kind, dict):
            held = dict.values(item)
        elif issubclass(kind, list | tuple):
            held = (list if issubclass(kind, list) else tuple).__iter__(item)
        elif not issubclass(kind, str | int):
            continue
        before = len(pending)
        pending += held
        seen += len(pending) - before
        if seen > CHECKED_ITEMS:
            return True
    return False


_VALUE = namespace(Enum)["value"]
