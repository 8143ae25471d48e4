"""
Read dicts and objects of unknown libraries as fields by name.

`fields` reads results, usage objects and stream items without importing a provider's package and without running its
code. It treats a dict and an object with the same names alike.
"""

from __future__ import annotations

from functools import lru_cache
from types import MemberDescriptorType
from typing import Any, Final, TypeAlias

from ..interruptions import was_raised_from_outside

Fields: TypeAlias = dict[str, Any]
"""The fields of an object, by name."""

get: Final = dict.get
"""``get(held, name)`` reads a dict, and ignores a ``get`` method of its class."""

ATOMS: Final = frozenset({str, bytes, bytearray, int, float, complex, bool, type(None)})
"""Types without fields; checked first, as most results are text."""


def fields(value: object) -> Fields:
    """
    Return the fields of *value*: itself if it is a dict, else its attributes; empty if it has none.

    Attributes are read where they are stored. An absent name therefore costs nothing (a failed lookup in pydantic
    takes 1.5 us), a mock has only the attributes it was given, and no code of the object runs, except properties with
    a name in `_PROPERTIES`. The result may be a part of *value*: read it with `get`, and do not change it.
    """
    kind: Any = type(value)
    if issubclass(kind, dict):  # not isinstance: the `__class__` of a mock may be dict
        return value  # type: ignore[return-value]
    try:
        if kind in ATOMS:
            return {}
        held = getattr(value, "__dict__", None)
        extra = getattr(value, "__pydantic_extra__", None)
        declared = _declared(kind)
    except Exception as exc:  # of code in the object's class
        if was_raised_from_outside(exc):
            raise
        return {}
    own: Fields = held if type(held) is dict else {}
    if type(extra) is dict and extra:
        own = {**own, **extra}
    read = {name: _read(value, name) for name in declared if name not in own}
    return {**own, **read} if read else own


def listed(value: object) -> list[Any]:
    """Return the first `_MAX_LISTED` items of *value*, a list or tuple; anything else has none."""
    if type(value) is list or type(value) is tuple:
        return list(value[:_MAX_LISTED])
    return []


def text_of(value: object) -> str | None:
    """Return *value* as a str if it is an instance of str or of a subclass (an enum), else None."""
    if type(value) is str:
        return value
    return str.__str__(value) if issubclass(type(value), str) else None


def name_of(value: object) -> str | None:
    """Return *value* if it is text that can be a name, an id or a reason: neither empty nor long."""
    text = text_of(value)
    return text if text and len(text) <= _MAX_NAME else None


_PROPERTIES = frozenset({"usage", "usage_metadata", "model", "input_tokens", "output_tokens"}).union(
    {"prompt_tokens", "completion_tokens", "total_tokens"}
)
"""Names that are read even if only the class defines them: a property, a default, a field of a named tuple."""

_MAX_NAME = 300
"""Characters; a longer text is not a name."""

_MAX_LISTED = 64
"""Items; an answer has few choices, parts and tool calls."""


@lru_cache(maxsize=256)
def _declared(kind: Any) -> tuple[str, ...]:
    """Return the names to read with getattr: slots, and those of `_PROPERTIES` that the class defines."""
    names: set[str] = set()
    for base in kind.__mro__:
        held = vars(base)
        names |= _PROPERTIES & held.keys()
        if "__slots__" in held:
            names |= {name for name, member in held.items() if type(member) is MemberDescriptorType}
    return tuple(name for name in names if not name.startswith("__"))


def _read(value: object, name: str) -> object:
    try:
        return getattr(value, name, None)
    except Exception as exc:  # of a property
        if was_raised_from_outside(exc):
            raise
        return None
