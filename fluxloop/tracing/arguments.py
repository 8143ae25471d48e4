"""
Bind the arguments of a call to parameter names, with defaults, as fast as the call itself.

For each decorated function, a small function with the same parameters is compiled once, which returns
its arguments as a dict: the interpreter does the binding, ten times faster than `inspect.Signature.bind`.
"""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from ..encoding.introspection import MASK, is_secret, is_text
from ..interruptions import was_raised_from_outside

Binder = Callable[..., dict[str, Any]]

CONTEXT_TYPES = frozenset(
    {
        "AgentContext",
        "AgentHookContext",
        "CallbackManager",
        "AsyncCallbackManager",
        "CancellationToken",
        "RunContext",
        "RunContextWrapper",
        "RunnableConfig",
        "Runtime",
        "ToolContext",
        "ToolRuntime",
    }
)
"""Annotations of parameters to which a framework passes its own state; they are not part of the tool's input."""

_INJECTED = "InjectedToolArg"
"""LangChain's mark, in an ``Annotated``, of an argument that no model supplies: the graph's state, a store, an id."""


def binder(func: Callable[..., Any]) -> Binder:
    """
    Return a function that takes the arguments of a call of *func* and returns them by name.

    ``self``, ``cls`` and parameters that a framework fills in are accepted and left out.
    Called with arguments that do not fit it raises TypeError, as *func* would.
    """
    try:
        parameters = list(inspect.signature(func).parameters.values())
    except Exception as exc:  # a builtin without a signature, or a `__signature__` that raises
        if was_raised_from_outside(exc):
            raise
        return _unnamed
    hints = _resolved(func, parameters)
    taken = {parameter.name for parameter in parameters}
    namespace: dict[str, Any] = {}
    source, shown = [], []
    previous = None
    for index, parameter in enumerate(parameters):
        kind, name = parameter.kind, parameter.name
        if kind is parameter.POSITIONAL_ONLY:  # callers cannot use its name, which may be a keyword
            name = _unused(f"_{index}", taken)
        elif previous is parameter.POSITIONAL_ONLY:
            source.append("/")
        if kind is parameter.KEYWORD_ONLY and previous not in (parameter.KEYWORD_ONLY, parameter.VAR_POSITIONAL):
            source.append("*")
        previous = kind
        source.append(_declared(parameter, name, index, namespace))
        purpose = _purpose(hints.get(parameter.name, parameter.annotation))
        is_own = index == 0 and parameter.name in ("self", "cls")
        if not is_own and purpose != "filled in":
            shown.append(f"{parameter.name!r}: {repr(MASK) if purpose == 'secret' else name}")
    if previous is inspect.Parameter.POSITIONAL_ONLY:
        source.append("/")
    try:
        exec(f"def bind({', '.join(source)}): return {{{', '.join(shown)}}}", namespace)  # as dataclasses does
    except SyntaxError:  # a name that only a `__signature__` can have, such as ``__debug__``
        return _unnamed
    bind: Binder = namespace["bind"]
    return bind


_STARS: dict[Any, str] = {inspect.Parameter.VAR_POSITIONAL: "*", inspect.Parameter.VAR_KEYWORD: "**"}


def _declared(parameter: inspect.Parameter, name: str, index: int, namespace: dict[str, Any]) -> str:
    star = _STARS.get(parameter.kind, "")
    if parameter.default is parameter.empty:
        return star + name
    namespace[f"_default_{index}"] = parameter.default
    return f"{name}=_default_{index}"


def _unused(name: str, taken: set[str]) -> str:
    while name in taken:
        name += "_"
    return name


def _purpose(annotation: Any) -> Literal["input", "secret", "filled in"]:
    """Return what a parameter with *annotation* is for."""
    try:
        if _is_filled_in(annotation):
            return "filled in"
        is_marked = is_secret(annotation) or (is_text(annotation) and "Secret]" in annotation)
    except Exception as exc:  # raised while examining an annotation that is not a type
        if was_raised_from_outside(exc):
            raise
        return "input"
    return "secret" if is_marked else "input"


def _resolved(func: Callable[..., Any], parameters: list[inspect.Parameter]) -> dict[str, Any]:
    """Return the annotations that are texts, evaluated; nothing if one of them cannot be."""
    if not any(is_text(parameter.annotation) for parameter in parameters):
        return {}
    try:
        return typing.get_type_hints(func, include_extras=True)
    except Exception as exc:  # of a name that only type checkers see, or of code in an annotation
        if was_raised_from_outside(exc):
            raise
        return {}


def _is_filled_in(annotation: Any) -> bool:
    """Return whether a framework passes the value of a parameter with *annotation*."""
    if is_text(annotation):
        return annotation.partition("[")[0].rpartition(".")[2].strip() in CONTEXT_TYPES
    origin = get_origin(annotation)
    if origin is Annotated:
        return any(map(_is_injected, annotation.__metadata__)) or _is_filled_in(annotation.__origin__)
    if origin is Union or origin is UnionType:
        return any(map(_is_filled_in, get_args(annotation)))
    return getattr(origin or annotation, "__name__", "") in CONTEXT_TYPES


def _is_injected(mark: object) -> bool:
    kind = mark if isinstance(mark, type) else type(mark)
    return any(base.__name__ == _INJECTED for base in kind.__mro__)


def _unnamed(*args: Any, **kwargs: Any) -> dict[str, Any]:
    return {"args": args, "kwargs": kwargs} if "args" in kwargs else {"args": args, **kwargs}
