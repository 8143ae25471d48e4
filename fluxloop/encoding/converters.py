"""
What becomes what: the table from types to readers that give plain data.

A converter looks and never touches: iterators are not advanced, files not read, properties and ``__repr__`` not
called. What it returns may again hold anything; `fluxloop.encoding.encoder` goes on from there, and turns what
it raises into a tagged string.
"""

from __future__ import annotations

import datetime
import functools
import io
import sys
import types
import typing
from collections.abc import Callable, Iterable
from decimal import Decimal
from enum import Enum
from pathlib import PurePath
from typing import Any
from uuid import UUID

from . import foreign
from .introspection import (
    MASK,
    Converter,
    Opened,
    Shortened,
    bases,
    full_name,
    is_secret,
    left_out,
    name_of,
    namespace,
    qualname,
    snapshot,
    stored,
    tag,
)

SHOWN_BYTES = 1_048_576
"""Bytes up to this length are shown if they are text. Never a prefix of them: it could end inside a secret."""
MOST_TYPES = 2_000
"""Types remembered at a time; every `Mock` has a type of its own, so the memory needs an end."""


def register(target: type | str, converter: Converter) -> None:
    """
    Let *converter* read the values of a type and of its subclasses, in this process, from now on.

    It replaces what the table says about that very type. Subclasses of str, int, list and dict, enums, dates and
    UUIDs are plain data and may be written without asking here.

    Args:
        target: The type, or its name ``package.module.Class`` (its ``__module__`` and ``__qualname__``)
            where importing it would load a framework.
        converter: Returns something simpler than it was given, and leaves that as it was.
    """
    _TABLE[target] = converter
    _chosen.clear()


def converter_for(cls: type) -> Converter:
    """Return the reader for values of *cls*: the nearest entry in its inheritance decides."""
    known = _chosen.get(cls)
    if known is None:
        if len(_chosen) >= MOST_TYPES:
            _chosen.clear()
        known = _chosen[cls] = _choose(cls)
    return known


_chosen: dict[type, Converter] = {}


def _choose(cls: type) -> Converter:
    ancestry = bases(cls)[:-1]
    for base in ancestry:
        listed = _TABLE.get(base) or _TABLE.get(full_name(base))
        if listed is not None:
            return listed
    for base in ancestry:
        for mark, choose in _TRAITS.items():
            if mark in namespace(base):
                return choose(cls)
    return _attributes(cls)


def _attributes(cls: type) -> Converter:
    """Any class: its public attributes, so that redaction sees a name like ``api_key``."""
    read_all = stored(cls)

    def read(value: object) -> object:
        public = {name: held for name, held in read_all(value).items() if type(name) is str and name[:1] != "_"}
        return Opened(public) if public else tag(value)

    return read


def _declared(names: Callable[[type], Iterable[str]]) -> Callable[[type], Converter]:
    """Classes that declare their fields (dataclasses, attrs): those, in that order, but for private and secret ones."""

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
    """Return the annotations of *cls*, those that are texts resolved; none if `fluxloop.Secret` was not loaded."""
    if "fluxloop.redaction.secret" not in sys.modules:
        return {}
    try:
        return typing.get_type_hints(cls, include_extras=True)
    except Exception:  # a name that only type checkers see, or any code in an annotation
        return dict(namespace(cls).get("__annotations__", {}))


def _items(value: Any) -> object:
    items = snapshot(lambda: value)
    missing = len(value) - len(items)
    return Shortened([*items, left_out(missing, len(value))]) if missing > 0 else items


def _unordered(value: set[object] | frozenset[object]) -> object:
    """Sets: sorted where that is cheap and runs nobody's code, so that equal sets look equal."""
    items = _items(value)
    if isinstance(items, list):
        kinds = set(map(type, items))
        if kinds <= {int, float, bool} or kinds == {str} or kinds == {bytes}:
            items.sort()
        else:
            items.sort(key=lambda item: (name_of(type(item)), repr(item) if type(item) in _REPR_IS_SAFE else ""))
    return items


_REPR_IS_SAFE = {str, int, float, bool, bytes, type(None), datetime.datetime, datetime.date, UUID, Decimal}


def _tuple(value: tuple[object, ...]) -> object:
    names = getattr(type(value), "_fields", None)
    items = tuple.__getitem__(value, slice(None))
    return dict(zip(names, items, strict=False)) if names else items


def _binary(value: bytes | bytearray | memoryview) -> str:
    """``<bytes 5: hello>`` for text, ``<bytes 3,145,728>`` for everything else."""
    size = value.nbytes if isinstance(value, memoryview) else len(value)
    head = f"{type(value).__name__} {size:,}"
    try:
        text = bytes(value).decode() if 0 < size <= SHOWN_BYTES else "\0"
    except UnicodeDecodeError:
        return f"<{head}>"
    return f"<{head}>" if "\0" in text else f"<{head}: {text}>"


def _callable(word: str, attribute: str | None = None) -> Converter:
    """Functions and what wraps one: ``<function answer>``, ``<partial answer>``; they are named, never called."""

    def read(value: Any) -> str:
        inner = getattr(value, attribute) if attribute else value
        return f"<{word} {getattr(inner, '__qualname__', None) or qualname(type(inner))}>"

    return read


def _running(value: Any) -> str:
    """Generators, coroutines and other iterators: named if they have a name, never advanced."""
    named = type(value) in (types.GeneratorType, types.CoroutineType, types.AsyncGeneratorType)
    return tag(value, value.__qualname__ if named else None)


def _file(value: Any) -> str:
    standard = full_name(type(value)).startswith("_io.") and not isinstance(value, io.StringIO | io.BytesIO)
    return tag(value, getattr(value, "name", None) if standard else None)


def _exception(value: BaseException) -> object:
    inner = {"exceptions": value.exceptions} if isinstance(value, BaseExceptionGroup) else {}
    return {"__class__": name_of(type(value)), "message": str(value), **inner}


_TABLE: dict[type | str, Converter] = {
    # subclasses of plain data: what they hold, whatever they override
    str: str.__str__,
    int: int.__int__,
    float: float.__float__,
    dict: dict.copy,
    list: list.copy,
    tuple: _tuple,
    "fluxloop.redaction.secret.Secret": lambda value: MASK,
    # the standard library
    Enum: lambda value: value._value_,
    bytes: _binary,
    bytearray: _binary,
    memoryview: _binary,
    set: _unordered,
    frozenset: _unordered,
    "collections.deque": _items,
    "collections.UserDict": lambda value: value.__dict__["data"],
    "collections.UserList": lambda value: value.__dict__["data"],
    "collections.UserString": lambda value: value.__dict__["data"],
    "array.array": _items,
    type({}.keys()): _items,
    type({}.values()): _items,
    type({}.items()): _items,
    types.MappingProxyType: dict,
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
    **foreign.FOREIGN,
}
"""Type, or ``module.Class``, to reader; a subclass is read as the nearest of its bases."""

_TRAITS: dict[str, Callable[[type], Converter]] = {
    "__dataclass_fields__": _declared(lambda cls: cls.__dataclass_fields__),  # type: ignore[attr-defined]
    "__attrs_attrs__": _declared(lambda cls: (field.name for field in cls.__attrs_attrs__)),  # type: ignore[attr-defined]
    "__pydantic_validator__": foreign.pydantic,
    "__fields__": foreign.pydantic,
    "__next__": lambda cls: _running,
    "__anext__": lambda cls: _running,
}
"""What tells a kind of class where its ancestors do not: an attribute of the class, to the maker of a reader."""
