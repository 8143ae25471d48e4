"""
Encode an exception as JSON that has its class, arguments and attributes, so that an equal one can be built from it.

Building runs the class's ``__new__`` and the constructor of the built-in class it derives from, but not its own, which
may want other arguments. What is not data, such as an open response, is left out.
"""

from __future__ import annotations

import builtins
import sys
from contextlib import suppress
from typing import Any

from .typed import UntypedError, class_named, path_of, typed, untyped

ERROR = "$error"
"""The member that marks an encoded exception among the arguments and attributes of another."""
MAX_DEPTH = 8
"""Exceptions in exceptions: groups, causes and arguments; deeper ones are left out."""


def typed_error(exc: BaseException, depth: int = 0) -> dict[str, Any]:
    """
    Return *exc* as JSON from which `built_error` builds an equal exception.

    Raises:
        UntypedError: If an argument is not data.
    """
    if depth > MAX_DEPTH:
        raise UntypedError("nested too deeply")
    found: dict[str, Any] = {"class": path_of(type(exc)), "args": [_part(each, depth) for each in _arguments(exc)]}
    state = {}
    for name, value in vars(exc).items():
        try:
            state[name] = _part(value, depth)
        except UntypedError:
            continue
    if state:
        found["state"] = state
    if exc.__cause__ is not None:
        with suppress(UntypedError):
            found["cause"] = typed_error(exc.__cause__, depth + 1)
    return found


def _arguments(exc: BaseException) -> Any:
    """Return the arguments from which the built-in class of *exc* sets what it keeps outside of its attributes."""
    if isinstance(exc, BaseExceptionGroup):
        return exc.message, [*exc.exceptions]
    if isinstance(exc, OSError):
        return OSError.__reduce__(exc)[1]  # with the names of files
    return exc.args


def _part(value: Any, depth: int) -> Any:
    if isinstance(value, list) and any(isinstance(each, BaseException) for each in value):
        return [_part(each, depth) for each in value]
    return {ERROR: typed_error(value, depth + 1)} if isinstance(value, BaseException) else typed(value)


def built_error(encoded: Any) -> BaseException:
    """
    Return the exception that `typed_error` encoded. No module is imported for it.

    Raises:
        UntypedError: If its class is not there, or *encoded* was changed.
    """
    try:
        return _built(encoded, 0)
    except UntypedError:
        raise
    except Exception as problem:  # a record that was changed, or code of the class
        raise UntypedError(f"an exception ({type(problem).__name__})") from None


def _built(encoded: dict[str, Any], depth: int) -> BaseException:
    path = str(encoded["class"])
    if depth > MAX_DEPTH or path.partition(":")[0].partition(".")[0] not in sys.modules:
        raise UntypedError(path)
    kind = class_named(path)
    if not issubclass(kind, BaseException):
        raise UntypedError(path)
    args = [_read(each, depth) for each in encoded["args"]]
    error = kind.__new__(kind, *args)
    base: Any = next(each for each in kind.__mro__ if each.__module__ == builtins.__name__)
    base.__init__(error, *args)
    if not isinstance(error, BaseExceptionGroup | OSError):
        error.args = tuple(args)
    error.__dict__.update({name: _read(value, depth) for name, value in (encoded.get("state") or {}).items()})
    if isinstance(encoded.get("cause"), dict):
        error.__cause__ = _built(encoded["cause"], depth + 1)
    return error  # type: ignore[no-any-return]


def _read(value: Any, depth: int) -> Any:
    if isinstance(value, list):
        return [_read(each, depth) for each in value]
    if isinstance(value, dict) and value.keys() == {ERROR}:
        return _built(value[ERROR], depth + 1)
    return untyped(value)
