"""
Check the options of a rule against the annotations of its function, when the configuration is read.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from ....settings.value_types import did_you_mean, shown

_FORMS: Mapping[Any, tuple[tuple[type, ...], str]] = {
    bool: ((bool,), "true or false"),
    int: ((int,), "a whole number"),
    float: ((int, float), "a number"),
    str: ((str,), "a text"),
    Sequence: ((list, tuple), "a list"),
    Mapping: ((dict,), "a mapping"),
}
"""The classes of values that an annotation accepts, and its words in messages."""


def check_option(check: Callable[..., Any], name: str, value: Any) -> None:
    """
    Raise ValueError if *value* is not what the parameter *name* of *check* is annotated with.
    """
    hint = _hints(check)[name]
    if not _fits(value, hint):
        words = [str(each) for each in get_args(hint)] if get_origin(hint) is Literal else []
        close = did_you_mean(value, words) if isinstance(value, str) else ""
        raise ValueError(f"{name} must be {_described(hint)}, got {shown(value)}{close}")


@cache
def _hints(check: Callable[..., Any]) -> dict[str, Any]:
    return get_type_hints(check)


def _fits(value: Any, hint: Any) -> bool:
    origin, parts = get_origin(hint), get_args(hint)
    if hint is Any:
        return True
    if origin in (Union, UnionType):
        return any(_fits(value, part) for part in parts)
    if hint is NoneType:
        return value is None
    if origin is Literal:
        return value in parts
    kind: Any = origin or hint
    is_of_type = isinstance(value, _FORMS[kind][0]) and (kind is bool or not isinstance(value, bool))
    return is_of_type and (kind is not Sequence or all(_fits(item, parts[0]) for item in value))


def _described(hint: Any) -> str:
    origin, parts = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        return " or ".join([_described(part) for part in parts if part is not NoneType])
    if origin is Literal:
        return f"one of {', '.join(map(str, parts))}"
    if origin is Sequence and parts[0] is not Any:
        return "a list of texts"
    return _FORMS[origin or hint][1]
