"""
Convert values to simpler types: the table from types to converters.

A converter advances no iterator, reads no file, calls no property and no ``__repr__``, and copies no more than
`MAX_ITEMS` items of a container. What it returns may again contain anything; `fluxloop.encoding.cleaning` converts
that in turn, and replaces a value whose converter raises by a tagged string.
"""

from __future__ import annotations

import collections
import datetime
import functools
import io
import sys
import types
import typing
from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from enum import Enum
from functools import partial
from itertools import takewhile
from pathlib import PurePath
from typing import Any
from uuid import UUID

from ..interruptions import was_raised_from_outside
from . import foreign
from .enum_classes import note_member
from .http_responses import HTTP_TYPES
from .introspection import (
    MASK,
    MAX_ITEMS,
    Converter,
    FirstFields,
    FirstItems,
    Opened,
    attribute,
    bases,
    first_fields,
    full_name,
    has_plain_hash,
    is_secret,
    name_of,
    namespace,
    qualname,
    snapshot,
    stored,
    tag,
)

SHOWN_BYTES = 1_048_576
"""Bytes up to this length are shown if they are text. Never a prefix of them: it could end inside a secret."""
COPIED_CHARS = 1_048_576
"""Characters copied of an instance of a subclass of str."""
MAX_TYPES = 2_000
"""Types in the cache of converters; every `Mock` has its own type, so the cache needs a limit."""


def register(target: type | str, converter: Converter) -> None:
    """
    Let *converter* convert the values of a type and of its subclasses, in this process, from now on.

    It replaces the table's entry for exactly that type. Subclasses of str, int, list and dict, enums, dates and
    UUIDs are plain data, which may be encoded without a look at this table.

    Args:
        target: The type, or its name ``package.module.Class`` (its ``__module__`` and ``__qualname__``)
            where importing it would load a framework.
        converter: Returns something simpler than it was given, and does not change its argument.
    """
    _TABLE[target] = converter
    _chosen.clear()


def converter_for(cls: type) -> Converter:
    """Return the converter for values of *cls*: the nearest entry in its inheritance decides."""
    if not has_plain_hash(cls):
        return _choose(cls)
    known = _chosen.get(cls)
    if known is None:
        if len(_chosen) >= MAX_TYPES:
            _chosen.clear()
        known = _chosen[cls] = _choose(cls)
    return known


_chosen: dict[type, Converter] = {}


def converted_together(cls: type, items: Sequence[Any]) -> list[dict[str, Any]] | None:
    """Return the first *items* of class *cls* converted; None if one cannot be, or becomes anything but a dict."""
    try:
        made = list(map(converter_for(cls), takewhile(lambda item: type(item) is cls, items)))
    except Exception as exc:  # of the object's own code
        if was_raised_from_outside(exc):
            raise
        return None
    return made if all(type(one) is dict for one in made) else None  # type: ignore[return-value]


def _choose(cls: type) -> Converter:
    ancestry = bases(cls)[:-1]
    for base in ancestry:
        listed = (_TABLE.get(base) if has_plain_hash(base) else None) or _TABLE.get(full_name(base))
        if listed is not None:
            return listed
    for base in ancestry:
        for mark, choose in _TRAITS.items():
            if mark in namespace(base):
                return choose(cls)
    return _attributes(cls)


def _attributes(cls: type) -> Converter:
    """Return the converter of any other class: to its public attributes, as redaction needs names like ``api_key``."""
    read_all = stored(cls)

    def read(value: object) -> object:
        public = {name: held for name, held in read_all(value).items() if type(name) is str and name[:1] != "_"}
        return Opened(public) if public else tag(value)

    return read


def _declared(names: Callable[[type], Iterable[str]]) -> Callable[[type], Converter]:
    """Return a maker of converters for dataclasses and attrs classes, to their public fields in that order."""

    def choose(cls: type) -> Converter:
        public = [name for name in names(cls) if not name.startswith("_")]
        secret = {name: MASK for name, hint in _hints(cls).items() if is_secret(hint)}
        read_all = stored(cls)

        def read(value: object) -> object:
            held = {**read_all(value), **secret}
            return {name: held[name] for name in public if name in held}

        return read

    return choose


def _hints(cls: type) -> dict[str, Any]:
    """Return the annotations of *cls*, with texts resolved; none if `fluxloop.Secret` was not loaded."""
    if "fluxloop.redaction.secret" not in sys.modules:
        return {}
    try:
        return typing.get_type_hints(cls, include_extras=True)
    except Exception:  # of a name that only type checkers see, or of code in an annotation
        return dict(namespace(cls).get("__annotations__", {}))


def _member(value: object) -> object:
    note_member()
    return object.__getattribute__(value, "_value_")


def _items(value: Any, base: Any = None) -> object:
    """Return the items of a container as a list; of a subclass those that *base* finds, whatever it overrides."""
    length = base.__len__(value) if base else len(value)
    return FirstItems(snapshot((lambda: base.__iter__(value)) if base else (lambda: value)), length)


def _mapping(value: Any) -> object:
    return first_fields(value, MAX_ITEMS)


def _proxy(value: types.MappingProxyType[Any, Any]) -> object:
    pairs = snapshot(value.items)
    return FirstFields([key for key, _ in pairs], [item for _, item in pairs], len(value))


def _string(value: str) -> object:
    """Return a str of the exact type; of a very long one the beginning, since a copy takes time."""
    length = str.__len__(value)
    return (
        FirstItems(str.__getitem__(value, slice(COPIED_CHARS)), length) if length > COPIED_CHARS else str.__str__(value)
    )


def _unordered(base: Any) -> Converter:
    """Sets: sorted if all of it was read and no code of the program runs, so that equal sets look equal."""

    def read(value: Any) -> object:
        items = snapshot(lambda: base.__iter__(value))
        length = base.__len__(value)
        if len(items) < length:
            return FirstItems(items, length)
        found = list(map(type, items))
        if all(kind is int or kind is float or kind is bool for kind in found) or all(kind is str for kind in found):
            items.sort()
        else:
            items.sort(key=lambda item: (name_of(type(item)), repr(item) if _has_safe_repr(item) else ""))
        return items

    return read


def _has_safe_repr(value: object) -> bool:
    return any(type(value) is kind for kind in _REPR_IS_SAFE)


_REPR_IS_SAFE = (str, int, float, bool, bytes, type(None), datetime.datetime, datetime.date, UUID, Decimal)


def _tuple(value: tuple[object, ...]) -> object:
    names = attribute(type(value), "_fields")
    if type(names) is tuple and names:
        return dict(zip(names, tuple.__iter__(value), strict=False))
    return _items(value, tuple)


def _binary(value: bytes | bytearray | memoryview) -> str:
    """Return ``<bytes 5: hello>`` for text, ``<bytes 3,145,728>`` for everything else."""
    content = memoryview(value)
    head = f"{qualname(type(value))} {content.nbytes:,}"
    try:
        text = content.tobytes().decode() if 0 < content.nbytes <= SHOWN_BYTES else "\0"
    except UnicodeDecodeError:
        return f"<{head}>"
    return f"<{head}>" if "\0" in text else f"<{head}: {text}>"


def _callable(word: str, name: str | None = None) -> Converter:
    """Return the converter of functions and of what wraps one in the attribute *name*, to ``<function answer>``."""

    def read(value: Any) -> str:
        inner = getattr(value, name) if name else value
        if issubclass(type(inner), type):
            return f"<{word} {qualname(inner)}>"
        return (
            f"<{word} {inner.__qualname__ if any(type(inner) is kind for kind in _NAMED) else qualname(type(inner))}>"
        )

    return read


_NAMED = (
    types.FunctionType,
    types.BuiltinFunctionType,
    types.MethodType,
    types.MethodDescriptorType,
    types.WrapperDescriptorType,
    types.MethodWrapperType,
    types.ClassMethodDescriptorType,
)
"""Types of callables that have a ``__qualname__`` of their own."""


def _running(value: Any) -> str:
    """Return the name of a generator, coroutine or other iterator, which is not advanced."""
    named = type(value) in (types.GeneratorType, types.CoroutineType, types.AsyncGeneratorType)
    return tag(value, value.__qualname__ if named else None)


def _file(value: Any) -> str:
    standard = full_name(type(value)).startswith("_io.") and not isinstance(value, io.StringIO | io.BytesIO)
    return tag(value, getattr(value, "name", None) if standard else None)


def _exception(value: BaseException) -> object:
    is_group = issubclass(type(value), BaseExceptionGroup)
    inner = {"exceptions": BaseExceptionGroup.exceptions.__get__(value)} if is_group else {}
    return {"__class__": name_of(type(value)), "message": str(value), **inner}


_TABLE: dict[type | str, Converter] = {
    # subclasses of plain data: their content, whatever they override
    str: _string,
    int: int.__int__,
    float: float.__float__,
    dict: _mapping,
    list: partial(_items, base=list),
    tuple: _tuple,
    "fluxloop.redaction.secret.Secret": lambda value: MASK,
    # the standard library
    Enum: _member,
    bytes: _binary,
    bytearray: _binary,
    memoryview: _binary,
    set: _unordered(set),
    frozenset: _unordered(frozenset),
    collections.deque: partial(_items, base=collections.deque),
    "collections.UserDict": lambda value: value.__dict__["data"],
    "collections.UserList": lambda value: value.__dict__["data"],
    "collections.UserString": lambda value: value.__dict__["data"],
    "array.array": _items,
    type({}.keys()): _items,
    type({}.values()): _items,
    type({}.items()): _items,
    types.MappingProxyType: _proxy,
    datetime.datetime: datetime.datetime.isoformat,
    datetime.date: datetime.date.isoformat,
    datetime.time: datetime.time.isoformat,
    datetime.timedelta: datetime.timedelta.__str__,
    datetime.tzinfo: str,
    Decimal: Decimal.__str__,
    "fractions.Fraction": str,
    complex: complex.__repr__,
    UUID: UUID.__str__,
    PurePath: PurePath.__str__,
    "ipaddress._IPAddressBase": str,
    "re.Pattern": lambda value: f"re.compile({value.pattern!r})",
    range: repr,
    slice: foreign.labelled("start", "stop", "step"),
    BaseException: _exception,
    type: lambda value: f"<class {name_of(value)}>",
    types.ModuleType: lambda value: tag(value, value.__dict__.get("__name__")),
    types.FunctionType: _callable("function"),
    types.BuiltinFunctionType: _callable("function"),
    types.MethodType: _callable("method", "__func__"),
    functools.partial: _callable("partial", "func"),
    types.CoroutineType: _running,
    "_io._IOBase": _file,
    "tempfile._TemporaryFileWrapper": tag,
    **foreign.LIBRARY_TYPES,
    **HTTP_TYPES,
}
"""Type, or ``module.Class``, to converter; a subclass is converted like the nearest of its bases."""

_TRAITS: dict[str, Callable[[type], Converter]] = {
    "__dataclass_fields__": _declared(lambda cls: attribute(cls, "__dataclass_fields__")),
    "__attrs_attrs__": _declared(lambda cls: (field.name for field in attribute(cls, "__attrs_attrs__"))),
    "__pydantic_validator__": foreign.pydantic,
    "__fields__": foreign.pydantic,
    "__next__": lambda cls: _running,
    "__anext__": lambda cls: _running,
}
"""Kinds of classes that are recognised by an attribute of the class: that, and a maker of their converter."""
