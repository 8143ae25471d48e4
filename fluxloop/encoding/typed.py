"""
Encode a value as JSON that has its types, so that an equal value of the same class can be built from it.

Plain data is encoded as itself. Everything else is an object with ``$type``: tuples, sets, bytes, times, and objects of
classes that keep their data in fields (pydantic, dataclasses, enums). Decoding builds only objects of such classes, and
runs none of their validators: the result has the field values of the original.
"""

from __future__ import annotations

import base64
import dataclasses
import datetime
import math
import os
import sys
from collections import OrderedDict
from collections.abc import Callable
from decimal import Decimal
from enum import Enum
from importlib import import_module
from pathlib import PurePath, PurePosixPath
from typing import Any
from uuid import UUID

from .introspection import CUT, MASK

TYPE = "$type"
"""The member that marks an encoded object."""
MAX_DEPTH = 100
"""Nested containers; deeper data is refused."""
_MAX_INT = 2**63


class UntypedError(TypeError):
    """A value cannot be encoded with its type, or not be built; the text is the name of its class."""


class NotImportedError(UntypedError):
    """The class is in a module of the program that is not imported; a recording does not decide what is."""


def typed(value: Any, depth: int = 0) -> Any:
    """
    Return *value* as JSON from which `untyped` builds an equal value.

    Raises:
        UntypedError: If *value* contains an object that is not data, such as a client or an iterator.
    """
    kind = type(value)
    if kind is str or kind is bool or value is None:
        return value
    if depth > MAX_DEPTH:
        raise UntypedError("nested too deeply")
    encode = _ENCODERS.get(kind)
    if encode is not None:
        return encode(value, depth + 1)
    if issubclass(kind, Enum):
        return _object(kind, value=typed(value.value, depth + 1))
    if issubclass(kind, datetime.tzinfo | PurePath):
        return {TYPE: "path" if issubclass(kind, PurePath) else "tz", "value": str(value)}
    if (names := getattr(kind, "_fields", None)) and issubclass(kind, tuple):
        return _object(kind, fields=_fields(dict(zip(names, value, strict=True)), depth))
    if _is_pydantic(kind):
        return _pydantic(value, kind, depth)
    if dataclasses.is_dataclass(kind):
        held = {field.name: getattr(value, field.name) for field in dataclasses.fields(kind) if field.name != "_"}
        return _object(kind, fields=_fields(held, depth))
    for base, plain in _PLAIN.items():  # such as LangChain's TextAccessor: equal to its plain content
        if issubclass(kind, base):
            return typed(plain(value), depth + 1)
    raise UntypedError(f"{kind.__module__}.{kind.__qualname__}")


def untyped(encoded: Any) -> Any:
    """
    Return the value that `typed` encoded.

    Modules are imported for it only if they are installed, or if their package is imported already.

    Raises:
        UntypedError: If a class is not there any more, or is not one that keeps its data in fields.
    """
    if type(encoded) is list:
        return [untyped(item) for item in encoded]
    if type(encoded) is not dict:
        return encoded
    name = encoded.get(TYPE)
    if name is None:
        return {key: untyped(item) for key, item in encoded.items()}
    decode = _DECODERS.get(name) if type(name) is str else None
    try:
        return decode(encoded) if decode is not None else _build(encoded)
    except UntypedError:
        raise
    except Exception as problem:  # a record that was changed
        raise UntypedError(f"{name!r:.100} ({type(problem).__name__})") from None


def is_plain(value: Any, depth: int = 0) -> bool:
    """Whether *value* is data that JSON returns as it is: texts, numbers, lists, and dicts with texts as keys."""
    kind = type(value)
    if kind is str or kind is bool or value is None:
        return True
    if kind is int:
        return bool(-_MAX_INT <= value < _MAX_INT)
    if kind is float:
        return math.isfinite(value)
    if depth > MAX_DEPTH:
        return False
    if kind is list:
        return all(is_plain(item, depth + 1) for item in value)
    return kind is dict and all(type(key) is str and is_plain(item, depth + 1) for key, item in value.items())


def class_named(path: str) -> Any:
    """
    Return the class at ``module:Name``.

    Raises:
        UntypedError: If there is none.
    """
    module, _, name = path.partition(":")
    try:
        found: Any = sys.modules.get(module) or import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError, ValueError):
        raise UntypedError(path) from None
    if not isinstance(found, type):
        raise UntypedError(path)
    return found


def path_of(kind: type) -> str:
    """Return ``module:Name`` of a class."""
    return f"{kind.__module__}:{kind.__qualname__}"


_PLAIN: dict[type, Callable[[Any], Any]] = {
    str: str.__str__,
    OrderedDict: lambda value: dict(OrderedDict.items(value)),
    dict: lambda value: dict(dict.items(value)),
    list: lambda value: list.__getitem__(value, slice(None)),
}
"""The content of objects of subclasses. None of their methods runs, as one may iterate without an end."""


def _object(kind: type, **members: Any) -> dict[str, Any]:
    try:
        is_found = class_named(path_of(kind)) is kind
    except UntypedError:
        is_found = False
    if not is_found and not _is_generic(kind):  # a class inside a function cannot be found again
        raise UntypedError(f"{kind.__module__}.{kind.__qualname__}")
    return {TYPE: path_of(kind), **members}


def _is_generic(kind: type) -> bool:
    """Whether *kind* is made by pydantic for the parameters of a generic class, such as ``ParsedResponse[Answer]``."""
    return bool((getattr(kind, "__pydantic_generic_metadata__", None) or {}).get("origin"))


def _is_pydantic(kind: type) -> bool:
    return any(base.__name__ == "BaseModel" and base.__module__.startswith("pydantic") for base in kind.__mro__)


def _pydantic(value: Any, kind: type, depth: int) -> dict[str, Any]:
    origin: Any = (getattr(kind, "__pydantic_generic_metadata__", None) or {}).get("origin")
    extra = getattr(value, "__pydantic_extra__", None)
    members: dict[str, Any] = {"fields": _fields(dict(value.__dict__), depth), "set": sorted(value.model_fields_set)}
    if extra:
        members["extra"] = _fields(extra, depth)
    return _object(origin or kind, **members)


def _fields(held: dict[str, Any], depth: int) -> dict[str, Any]:
    found = {
        name: typed(item, depth + 1) for name, item in held.items() if not callable(item) or isinstance(item, type)
    }
    return dict(found.items())


def _integer(value: int, depth: int) -> Any:
    return value if -_MAX_INT <= value < _MAX_INT else {TYPE: "int", "value": str(value)}


def _float(value: float, depth: int) -> Any:
    return value if math.isfinite(value) else {TYPE: "float", "value": repr(value)}


def _list(name: str) -> Callable[[Any, int], Any]:
    def encode(value: Any, depth: int) -> Any:
        items = [typed(item, depth) for item in value]
        if name in ("set", "frozenset"):
            items.sort(key=repr)
        return items if name == "list" else {TYPE: name, "items": items}

    return encode


def _dict(value: dict[Any, Any], depth: int) -> Any:
    if all(type(key) is str for key in value) and TYPE not in value:
        return {key: typed(item, depth) for key, item in value.items()}
    return {TYPE: "dict", "items": [[typed(key, depth), typed(item, depth)] for key, item in value.items()]}


def _text(name: str, write: Callable[[Any], str] = str) -> Callable[[Any, int], Any]:
    return lambda value, depth: {TYPE: name, "value": write(value)}


_ENCODERS: dict[type, Callable[[Any, int], Any]] = {
    int: _integer,
    float: _float,
    list: _list("list"),
    tuple: _list("tuple"),
    set: _list("set"),
    frozenset: _list("frozenset"),
    dict: _dict,
    bytes: _text("bytes", lambda value: base64.b64encode(value).decode()),
    datetime.datetime: _text("datetime", datetime.datetime.isoformat),
    datetime.date: _text("date", datetime.date.isoformat),
    datetime.time: _text("time", datetime.time.isoformat),
    datetime.timedelta: lambda value, depth: {
        TYPE: "timedelta",
        "value": [value.days, value.seconds, value.microseconds],
    },
    Decimal: _text("decimal"),
    UUID: _text("uuid"),
    complex: _text("complex", repr),
}

_DECODERS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "int": lambda held: int(held["value"]),
    "float": lambda held: float(held["value"]),
    "tuple": lambda held: tuple(untyped(held["items"])),
    "set": lambda held: set(untyped(held["items"])),
    "frozenset": lambda held: frozenset(untyped(held["items"])),
    "dict": lambda held: {untyped(key): untyped(item) for key, item in held["items"]},
    "bytes": lambda held: base64.b64decode(held["value"]),
    "datetime": lambda held: datetime.datetime.fromisoformat(held["value"]),
    "date": lambda held: datetime.date.fromisoformat(held["value"]),
    "time": lambda held: datetime.time.fromisoformat(held["value"]),
    "timedelta": lambda held: datetime.timedelta(*held["value"]),
    "decimal": lambda held: Decimal(held["value"]),
    "uuid": lambda held: UUID(held["value"]),
    "complex": lambda held: complex(held["value"]),
    "path": lambda held: PurePosixPath(held["value"]),
    "tz": lambda held: datetime.UTC if held["value"] == "UTC" else None,
}


def _build(encoded: dict[str, Any]) -> Any:
    module = encoded[TYPE].partition(":")[0]
    if module not in sys.modules and not _may_import(module.partition(".")[0]):
        raise NotImportedError(encoded[TYPE])
    kind = class_named(encoded[TYPE])
    if "value" in encoded and issubclass(kind, Enum):
        return kind(untyped(encoded["value"]))
    fields = {name: untyped(item) for name, item in (encoded.get("fields") or {}).items()}
    if _is_pydantic(kind):
        return _pydantic_object(kind, fields, encoded)
    if getattr(kind, "_fields", None) and issubclass(kind, tuple):
        return kind(**fields)
    if dataclasses.is_dataclass(kind):
        made: Any = object.__new__(kind)  # type: ignore[arg-type]
        for name, item in fields.items():
            object.__setattr__(made, name, item)
        return made
    raise UntypedError(encoded[TYPE])


def _may_import(package: str) -> bool:
    """Whether *package* is imported already, or is installed; other modules may be files that came with a recording."""
    if package in sys.modules:
        return True
    from importlib.util import find_spec
    from sysconfig import get_paths

    try:
        spec = find_spec(package)
    except (ImportError, ValueError):
        return False
    folders = {get_paths()[name] for name in ("purelib", "platlib")}
    places = [*(spec.submodule_search_locations or ()), spec.origin or ""] if spec is not None else []
    return any(place.startswith(f"{folder}{os.sep}") for place in places for folder in folders)


def _pydantic_object(kind: Any, fields: dict[str, Any], encoded: dict[str, Any]) -> Any:
    """Return an object of *kind* with these field values, as ``model_construct`` of pydantic makes it."""
    made = kind.__new__(kind)
    object.__setattr__(made, "__dict__", fields)
    object.__setattr__(made, "__pydantic_fields_set__", set(encoded.get("set") or ()))
    has_extra = "extra" in encoded or getattr(kind, "model_config", {}).get("extra") == "allow"
    object.__setattr__(made, "__pydantic_extra__", untyped(encoded.get("extra") or {}) if has_extra else None)
    if getattr(kind, "__pydantic_post_init__", None):
        made.model_post_init(None)
    else:
        object.__setattr__(made, "__pydantic_private__", None)
    return made


def is_cut(value: Any) -> bool:
    """Whether *value*, read from a record, has something cut in it."""
    return _contains(value, lambda text: CUT in text)


def is_masked(value: Any) -> bool:
    """Whether *value*, read from a record, has a masked secret in it."""
    return _contains(value, lambda text: MASK in text)


def _contains(value: Any, test: Callable[[str], bool]) -> bool:
    pending = [value]
    while pending:
        item = pending.pop()
        if type(item) is str:
            if test(item):
                return True
        elif type(item) is dict:
            pending += item.values()
        elif type(item) is list:
            pending += item
    return False
