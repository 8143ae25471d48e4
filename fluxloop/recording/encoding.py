"""
Turn arguments into JSON from which they can be rebuilt.

Plain data stays as it is. Every other value becomes ``{"$type": "module:Class", "$value": ...}``. Nothing is
pickled, and a value that cannot be read is recorded as its type.
"""

from __future__ import annotations

import base64
import dataclasses
import datetime
import enum
import math
import pathlib
import uuid
from collections.abc import Callable, Mapping
from decimal import Decimal
from functools import partial
from typing import Any

from ..encoding.introspection import MASK, attribute, is_secret

TYPE, VALUE = "$type", "$value"
"""The members of a tagged value."""

CALLABLE, REPR = "callable", "repr"
"""The tags of callables, and of what cannot be rebuilt."""

MAX_DEPTH = 60
"""Nested values; deeper ones are recorded as their type."""

MAX_REPR = 200
"""Characters of the text of a value that cannot be rebuilt."""


def tagged(value: Any) -> Any:
    """Return *value* as JSON data, with tags where its type would be lost. Never raises."""
    return _tagged(value, 0, ())


def _tagged(value: Any, depth: int, around: tuple[int, ...]) -> Any:
    kind = type(value)
    if value is None or kind in (bool, int, str):
        return value if kind is not int or -(2**63) <= value < 2**64 else _tag("int", str(value))
    if kind is float:
        return value if math.isfinite(value) else _tag("float", repr(value))
    if depth > MAX_DEPTH or id(value) in around:
        return _tag(REPR, f"<{kind.__qualname__}>")
    inner = partial(_tagged, depth=depth + 1, around=(*around, id(value)))
    try:
        if kind is list:
            return [inner(item) for item in value]
        if kind is dict:
            return _mapping(value, inner)
        return _object(value, kind, inner)
    except Exception:  # an object whose attributes cannot be read
        return _tag(REPR, f"<{kind.__qualname__}>")


def _tag(name: str, value: Any) -> dict[str, Any]:
    return {TYPE: name, VALUE: value}


def _mapping(value: Mapping[Any, Any], inner: Callable[[Any], Any]) -> Any:
    """Return a dict, as pairs if a key is not a text or could be taken for a tag."""
    if all(type(key) is str for key in value) and TYPE not in value:
        return {key: inner(item) for key, item in value.items()}
    return _tag("dict", [[inner(key), inner(item)] for key, item in value.items()])


_SIMPLE: dict[type, tuple[str, Callable[[Any], Any]]] = {
    bytes: ("bytes", lambda value: base64.b64encode(value).decode()),
    bytearray: ("bytearray", lambda value: base64.b64encode(value).decode()),
    complex: ("complex", lambda value: [value.real, value.imag]),
    datetime.datetime: ("datetime", lambda value: value.isoformat()),
    datetime.date: ("date", lambda value: value.isoformat()),
    datetime.time: ("time", lambda value: value.isoformat()),
    datetime.timedelta: ("timedelta", lambda value: [value.days, value.seconds, value.microseconds]),
    uuid.UUID: ("uuid", str),
    Decimal: ("decimal", str),
    pathlib.PosixPath: ("path", str),
    pathlib.WindowsPath: ("path", str),
}
"""Types whose values are rebuilt from a short text or list, with their tags."""


def _object(value: Any, kind: type, inner: Callable[[Any], Any]) -> Any:
    if kind in _SIMPLE:
        name, convert = _SIMPLE[kind]
        return _tag(name, convert(value))
    if kind in (tuple, set, frozenset):
        return _tag(kind.__name__, [inner(item) for item in value])
    if is_secret(kind) or kind.__name__ in ("SecretStr", "SecretBytes", "Secret"):
        return MASK
    if isinstance(value, enum.Enum):
        return _tag(path_of(kind), value.name if value.name is not None else inner(value.value))
    fields = _fields(value, kind)
    if fields is not None:
        return _tag(path_of(kind), {name: inner(item) for name, item in fields.items()})
    if callable(value):
        return _tag(CALLABLE, callable_name(value))
    if isinstance(value, str | int | float | bytes):  # a subclass, such as a str of numpy
        return inner(next(base(value) for base in (str, int, float, bytes) if isinstance(value, base)))  # type: ignore[arg-type]
    if isinstance(value, tuple) and hasattr(kind, "_fields"):
        return _tag(path_of(kind), {name: inner(item) for name, item in zip(kind._fields, value, strict=True)})
    if isinstance(value, Mapping):
        return _mapping(dict(value), inner)
    if isinstance(value, list | tuple | set | frozenset):
        return [inner(item) for item in value]
    attributes = _attributes(value)
    if attributes is not None:
        return _tag(path_of(kind), {name: inner(item) for name, item in attributes.items()})
    return _tag(REPR, repr(value)[:MAX_REPR])


def _fields(value: Any, kind: type) -> dict[str, Any] | None:
    """Return the fields of a pydantic model, dataclass or attrs object, secrets masked; None for other objects."""
    if attribute(kind, "__pydantic_fields__") is not None or attribute(kind, "model_fields") is not None:
        own = object.__getattribute__(value, "__dict__")
        fields: Mapping[str, Any] = getattr(kind, "model_fields", {})
        extra = getattr(value, "__pydantic_extra__", None) or {}
        secret = {name for name, field in fields.items() if any(map(is_secret, (field.annotation, *field.metadata)))}
        return {name: MASK if name in secret else item for name, item in {**own, **extra}.items()}
    if dataclasses.is_dataclass(kind):
        return {field.name: _unless_secret(value, field) for field in dataclasses.fields(value)}
    if (attrs := attribute(kind, "__attrs_attrs__")) is not None:
        return {field.name: getattr(value, field.name) for field in attrs}
    return None


def _unless_secret(value: Any, field: dataclasses.Field[Any]) -> Any:
    text = isinstance(field.type, str) and "Secret" in field.type
    return MASK if text or is_secret(field.type) else getattr(value, field.name)


def _attributes(value: Any) -> dict[str, Any] | None:
    """Return the attributes that the object itself has; None if it has none, as a file or a lock."""
    try:
        own = dict(object.__getattribute__(value, "__dict__"))
    except AttributeError:
        own = {}
    for base in type(value).__mro__:
        slots = base.__dict__.get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            if name not in ("__dict__", "__weakref__") and hasattr(value, name):
                own[name] = getattr(value, name)
    return own or None if type(value).__module__ != "builtins" else None


def path_of(kind: type) -> str:
    """Return ``module:qualname`` of a class."""
    return f"{kind.__module__}:{kind.__qualname__}"


def callable_name(value: Any) -> str:
    """Return the name by which a callable is recorded; a provider is found by it when the call is replayed."""
    own = getattr(value, "__fluxloop_builtin__", None)
    if isinstance(own, str):
        return f"builtin:{own}"
    owner = getattr(value, "__self__", None)
    for attribute_name, name in (("messages", "collector.send"), ("errors", "collector.error")):
        if hasattr(value, attribute_name) or (owner is not None and hasattr(owner, attribute_name)):
            return f"builtin:{name}"
    return str(getattr(value, "__qualname__", None) or type(value).__qualname__)
