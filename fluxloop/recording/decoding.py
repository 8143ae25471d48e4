"""
Rebuild recorded arguments.

A class is only looked up in packages that the program has imported. Its instances are created without calling it: no
constructor, validator or other code runs. Where a class cannot be found, its data become an `Attributes`: a dict whose
keys are attributes too.
"""

from __future__ import annotations

import base64
import dataclasses
import datetime
import enum
import importlib
import pathlib
import sys
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from .encoding import CALLABLE, REPR, TYPE, VALUE


class Attributes(dict[str, Any]):
    """A dict whose keys can be read and set as attributes as well."""

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None

    def __setattr__(self, name: str, value: Any) -> None:
        self[name] = value

    def __delattr__(self, name: str) -> None:
        try:
            del self[name]
        except KeyError:
            raise AttributeError(name) from None


@dataclass(frozen=True, slots=True)
class Provider:
    """A callable in a recorded call: the argument that it belongs to, and its recorded name."""

    parameter: str
    name: str


Provide = Callable[[Provider], Any]
"""Returns what replaces a recorded callable."""


def restored(kwargs: dict[str, Any], provide: Provide) -> dict[str, Any]:
    """
    Return recorded arguments as what they were.

    Args:
        kwargs: The arguments of a `RecordedCall`.
        provide: Is called for each callable.
    """
    return {name: _restored(value, name, provide) for name, value in kwargs.items()}


def _restored(value: Any, name: str, provide: Provide) -> Any:
    if isinstance(value, list):
        return [_restored(item, name, provide) for item in value]
    if isinstance(value, str) and (found := _old_callable(value)) is not None:
        return provide(Provider(name, found))
    if not isinstance(value, dict):
        return value
    kind = value.get(TYPE)
    if not isinstance(kind, str) or VALUE not in value:
        return Attributes({key: _restored(item, key, provide) for key, item in value.items()})
    inner = value[VALUE]
    if kind == CALLABLE:
        return provide(Provider(name, str(inner)))
    if kind == REPR:
        return inner
    if kind == "dict":
        pairs = [(_restored(key, name, provide), _restored(item, name, provide)) for key, item in inner]
        return dict(pairs)
    if kind in _SIMPLE:
        try:
            return _SIMPLE[kind]([_restored(item, name, provide) for item in inner] if kind in _CONTAINERS else inner)
        except (ValueError, TypeError, ArithmeticError):  # masked, or changed by hand
            return inner
    if isinstance(inner, dict):
        fields = {key: _restored(item, key, provide) for key, item in inner.items()}
        found_class = find_class(kind)
        return Attributes(fields) if found_class is None else _instance(found_class, fields)
    found_class = find_class(kind)
    if found_class is not None and issubclass(found_class, enum.Enum):
        members = found_class.__members__
        return members.get(inner, inner)
    return inner


def _old_callable(text: str) -> str | None:
    """Return the name of a callable in the notation of the published packages: ``<callable:name>``."""
    if text.startswith(("<builtin:", "<callable:")) and text.endswith(">"):
        return text[1:-1].removeprefix("callable:")
    return None


_CONTAINERS = ("tuple", "set", "frozenset")

_SIMPLE: dict[str, Callable[[Any], Any]] = {
    "tuple": tuple,
    "set": set,
    "frozenset": frozenset,
    "int": int,
    "float": float,
    "complex": lambda parts: complex(*parts),
    "bytes": base64.b64decode,
    "bytearray": lambda text: bytearray(base64.b64decode(text)),
    "datetime": datetime.datetime.fromisoformat,
    "date": datetime.date.fromisoformat,
    "time": datetime.time.fromisoformat,
    "timedelta": lambda parts: datetime.timedelta(*parts),
    "uuid": uuid.UUID,
    "decimal": Decimal,
    "path": pathlib.Path,
}


def find_class(path: str) -> type | None:
    """
    Return the class ``module:qualname``; None if it cannot be used.

    Usable are pydantic models, dataclasses, attrs classes, named tuples, enums and plain classes of a program. Classes
    of the standard library, and classes with a finalizer, are not: their instances could do harm when they are removed.
    """
    module_name, _, qualname = path.partition(":")
    top = module_name.partition(".")[0]
    if top not in sys.modules or top in sys.stdlib_module_names - {"__main__"}:
        return None
    try:
        found: Any = sys.modules.get(module_name) or importlib.import_module(module_name)
        for part in qualname.split("."):
            found = getattr(found, part)
    except Exception:  # removed or renamed since
        return None
    if not isinstance(found, type) or hasattr(found, "__del__"):
        return None
    return found


def _instance(cls: type, fields: dict[str, Any]) -> Any:
    """Return an instance of *cls* with *fields*; an `Attributes` if it cannot be created."""
    try:
        if hasattr(cls, "model_construct"):
            return _model(cls, fields)
        if issubclass(cls, tuple) and hasattr(cls, "_make"):
            return cls._make(fields[name] for name in cls._fields)  # type: ignore[attr-defined]
        instance: Any = object.__new__(cls)
        if dataclasses.is_dataclass(cls):
            for field in dataclasses.fields(cls):
                if field.name not in fields and field.default is not dataclasses.MISSING:
                    object.__setattr__(instance, field.name, field.default)
        for name, value in fields.items():
            object.__setattr__(instance, name, value)
        return instance
    except Exception:  # a class that changed, or that only its own constructor can create
        return Attributes(fields)


def _model(cls: Any, fields: dict[str, Any]) -> Any:
    """Return a pydantic model with *fields*. ``model_construct`` would run its ``model_post_init``."""
    instance = cls.__new__(cls)
    known = {name: value for name, value in fields.items() if name in cls.model_fields}
    extra = {name: value for name, value in fields.items() if name not in known}
    defaults = {
        name: field.get_default(call_default_factory=False)
        for name, field in cls.model_fields.items()
        if name not in known and not field.is_required()
    }
    object.__setattr__(instance, "__dict__", {**defaults, **known})
    object.__setattr__(instance, "__pydantic_fields_set__", set(known))
    object.__setattr__(instance, "__pydantic_extra__", extra if cls.model_config.get("extra") == "allow" else None)
    private = {name: attribute.get_default() for name, attribute in cls.__private_attributes__.items()}
    object.__setattr__(instance, "__pydantic_private__", private or None)
    return instance
