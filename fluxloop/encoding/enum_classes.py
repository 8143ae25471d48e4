"""
Find the enumerations whose members orjson must not be given.

orjson reads the attribute ``value`` of a member itself, and ends the process if that raises, or leads back to the
member. Reading it runs Python code, in which a signal handler can raise, whatever the class. So once members occur in
values, orjson gets none any more: values are searched, and orjson gets the values of the members.

To search every value of every program would take as long as encoding it. Members are looked for in the first values,
and beyond them the classes are examined instead, once each. A class has a reference to its metaclass: while no examined
class is collected, the reference count of `EnumMeta` shows that there is a new one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
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
_are_members_seen = False
"""Whether a value had a member of an enumeration whose ``value`` is read."""
_count = -1
"""The reference count at the last look."""
_PLAIN = (str, int, list, dict)
"""An enumeration derived from one of these is encoded as what it derives from."""
_CONTAINERS = (dict, list, tuple)

LONG_CONTAINER = 64
"""The length from which a container is searched by the classes of its items: it is probably a history of messages."""


def may_hold_unsafe(value: Any) -> bool:
    """Return whether *value* may hold a member that orjson must not be given; no code of its classes runs."""
    if getrefcount(EnumMeta) != _count:
        _examine()
    if _are_members_seen:
        return _holds(value, None)
    return bool(_unsafe) and _holds(value, _unsafe)


def look_for_members(value: Any) -> None:
    """Find out from one of the first values whether the values of the program have members of enumerations."""
    if not _are_members_seen and _holds(value, None, is_long=False):
        note_member()


def note_member() -> None:
    """Give no member to orjson from now on."""
    global _are_members_seen, references
    _are_members_seen, references = True, -1


def _examine() -> None:
    global references, _count
    _count = count = getrefcount(EnumMeta)  # first, as other threads may make classes meanwhile
    try:
        _examine_new()
    except BaseException:  # of a signal handler
        references = _count = -1
        raise
    is_free = not _unsafe and not _are_members_seen and _count == count  # a class may have been collected meanwhile
    references = count if is_free else -1


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


def _holds(value: Any, classes: WeakSet[type] | None, *, is_long: bool = True) -> bool:
    """Return whether *value* holds a member of *classes*, or of any enumeration with None; *is_long* if it is long."""
    containers: list[Any] = [(value,)]
    seen = 0
    for items in containers:  # grows meanwhile
        seen += len(items)
        if seen > CHECKED_ITEMS:
            return is_long
        for item in items if len(items) < LONG_CONTAINER else _one_of_each_class(items):
            kind = type(item)  # compared by identity, as a metaclass may have a hash of its own
            if kind is str or kind is int or kind is float or item is None or kind is bool:
                continue
            if kind is dict:
                containers.append(tuple(item.values()))
            elif kind is list or kind is tuple:
                containers.append(item)
            elif type(kind) is EnumMeta and (not issubclass(kind, _PLAIN) if classes is None else kind in classes):
                return True
            elif issubclass(kind, dict):
                containers.append(tuple(dict.values(item)))
            elif issubclass(kind, list | tuple):
                containers.append(tuple((list if issubclass(kind, list) else tuple).__iter__(item)))
    return False


def _one_of_each_class(items: Sequence[Any]) -> Iterable[Any]:
    """Return an item of each class in *items*, or all *items* if a class can have items of its own."""
    if any(issubclass(type(first), _CONTAINERS) for first in items[:1]):  # another thread may empty the list
        return items
    # By their ids, as a metaclass may have a hash of its own. C code takes a third of the time of the loop above.
    found = dict(zip(map(id, map(type, items)), items, strict=False)).values()
    return items if any(issubclass(type(item), _CONTAINERS) for item in found) else found


def without_members(value: Any) -> Any:
    """
    Return a copy of *value* with the values of its members in their place; no code of its classes runs.

    Raises:
        TypeError: If it has containers of other classes, which can have members too.
        KeyError: If a member has no value.
    """
    kind = type(value)
    if kind is str or kind is int or kind is float or value is None or kind is bool:
        return value
    if kind is dict:
        return {key: without_members(item) for key, item in value.copy().items()}
    if kind is list or kind is tuple:
        return [without_members(item) for item in tuple(value)]
    if type(kind) is EnumMeta and not issubclass(kind, _PLAIN):
        return without_members(own(value, "__dict__")["_value_"])
    if issubclass(kind, dict | list | tuple):
        raise TypeError("a container that can have members of enumerations")
    return value


_VALUE = namespace(Enum)["value"]
