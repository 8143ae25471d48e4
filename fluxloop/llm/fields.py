"""
Look into objects of unknown libraries: what do they hold, by name?

`fields` is how results, usage objects and stream items are read without importing a provider's package
and without running its code: a dict and an object with the same names are the same to it.
"""

from __future__ import annotations

from functools import lru_cache
from types import MemberDescriptorType
from typing import Any, Final, TypeAlias

from ..interruptions import was_raised_from_outside

Fields: TypeAlias = dict[str, Any]
"""What an object holds, by name."""

get: Final = dict.get
"""``get(held, name)`` reads a dict without running what its class made of ``.get``."""

ATOMS: Final = frozenset({str, bytes, bytearray, int, float, complex, bool, type(None)})
"""Types that hold nothing by name; the first look, as most results are text."""


def fields(value: object) -> Fields:
    """
    Return what *value* holds by name: itself if it is a dict, else its attributes; empty if it has none.

    Attributes are read where they are stored instead of being asked for: a name that is not there costs
    nothing (pydantic takes 1.5 us to say so), a mock holds only what it was given, and no code of the
    object runs, save for a property with one of the names in `_ASKED`. The result may belong to
    *value*: read it with `get`, never change it.
    """
    kind: Any = type(value)
    if issubclass(kind, dict):  # not isinstance: a mock can say it is a dict
        return value  # type: ignore[return-value]
    try:
        if kind in ATOMS:
            return {}
        held = getattr(value, "__dict__", None)
        extra = getattr(value, "__pydantic_extra__", None)
        declared = _declared(kind)
    except Exception as exc:  # what an object does not let us see, it does not hold for us
        if was_raised_from_outside(exc):
            raise
        return {}
    own: Fields = held if type(held) is dict else {}
    if type(extra) is dict and extra:
        own = {**own, **extra}
    asked = {name: _ask(value, name) for name in declared if name not in own}
    return {**own, **asked} if asked else own


def listed(value: object) -> list[Any]:
    """Return the items of *value*, a list or tuple, as far as `_MOST_LISTED`; anything else has none."""
    if type(value) is list or type(value) is tuple:
        return list(value[:_MOST_LISTED])
    return []


def text_of(value: object) -> str | None:
    """Return *value* as plain text if it is a string of any kind (an enum's, a library's own), else None."""
    if type(value) is str:
        return value
    return str.__str__(value) if issubclass(type(value), str) else None


def name_of(value: object) -> str | None:
    """Return *value* if it is text that can be a name: a model, an id, a reason; neither empty nor long."""
    text = text_of(value)
    return text if text and len(text) <= _LONGEST_NAME else None


_ASKED = frozenset({"usage", "usage_metadata", "model", "input_tokens", "output_tokens"}).union(
    {"prompt_tokens", "completion_tokens", "total_tokens"}
)
"""Names that are read even if only the class knows them: as a property, a default or a named tuple's field."""

_LONGEST_NAME = 300
"""Characters; anything longer is somebody's text."""

_MOST_LISTED = 64
"""Items; choices, parts and tool calls of one answer are a handful."""


@lru_cache(maxsize=256)
def _declared(kind: Any) -> tuple[str, ...]:
    """Return the names to be asked for: slots, and those of `_ASKED` the class itself has."""
    names: set[str] = set()
    for base in kind.__mro__:
        held = vars(base)
        names |= _ASKED & held.keys()
        if "__slots__" in held:
            names |= {name for name, member in held.items() if type(member) is MemberDescriptorType}
    return tuple(name for name in names if not name.startswith("__"))


def _ask(value: object, name: str) -> object:
    try:
        return getattr(value, name, None)
    except Exception as exc:  # a property that fails tells us nothing
        if was_raised_from_outside(exc):
            raise
        return None
