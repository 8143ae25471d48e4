"""
Decorate a function, or a framework's tool object, so that each call is recorded.
"""

from __future__ import annotations

import functools
import inspect
from dataclasses import replace
from types import AsyncGeneratorType, CoroutineType, GeneratorType
from typing import Any

from ..errors import DecorationError
from .arguments import Binder, binder
from .instrumenters import instrumented
from .spec import Spec
from .wrapping import is_function, recorded


def decorate(target: Any, spec: Spec) -> Any:
    """
    Return *target* with each call recorded according to *spec*.

    Args:
        target: A function of any call shape, a static or class method, or a framework's tool object.
        spec: The type, name and options; an empty name becomes the name of the function.

    Raises:
        DecorationError: If *target* is something else.
    """
    if isinstance(target, staticmethod | classmethod):
        return type(target)(decorate(target.__func__, spec))

    def recording(func: Any, *, called: str | None = None, bind: Binder | None = None) -> Any:
        """See `fluxloop.tracing.instrumenters.Recording`."""
        called = called or name_of(func)
        name = spec.name if spec.is_named else called
        return recorded(
            func, replace(spec, name=name, called=called, func=func, bind=bind or spec.bind or binder(func))
        )

    if is_function(target):
        return recording(target)
    tool = instrumented(target, recording)
    if tool is None:
        raise DecorationError(_not_a_function(target))
    return tool


def name_of(func: Any) -> str:
    """Return the name of a function; for a partial, the name of its function."""
    while isinstance(func, functools.partial):
        func = func.func
    return str(getattr(func, "__name__", type(func).__name__))


def _not_a_function(target: Any) -> str:
    """Return the error message for *target*, with the way to record it."""
    problem = f"cannot record {target!r:.200}: "
    class_name = f"{type(target).__module__}.{type(target).__qualname__}"
    if inspect.isclass(target):
        return f"{problem}it is a class. Put the decorator on a method of the class."
    if isinstance(target, property | functools.cached_property):
        return f"{problem}it is a property. Put the decorator below @{type(target).__name__}, on the function."
    if isinstance(target, CoroutineType | GeneratorType | AsyncGeneratorType):
        return f"{problem}it is a {type(target).__name__}, the result of a call. Pass the function itself."
    if callable(target) and not hasattr(target, "name"):
        return f"{problem}a {class_name} is callable, but not a function. Decorate its __call__ method."
    return (
        f"{problem}a {class_name} is not a function. Put the framework's decorator outermost and FluxLoop's below it, "
        'directly on the function (otherwise frameworks raise "Unknown tool type"), or register the class with '
        "fluxloop_custom.register_framework."
    )
