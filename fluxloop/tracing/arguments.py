"""
The arguments of a call, by parameter name and with defaults, as cheaply as the call itself.

For each decorated function a small function with the same parameters is compiled once, which returns
its arguments as a dict: the interpreter does the binding, ten times faster than `inspect.Signature.bind`.
"""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from ..encoding.introspection import MASK, is_secret

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
"""Annotations of parameters that a framework fills with its own state; they are not part of the tool's input."""

_INJECTED = "InjectedToolArg"
"""LangChain's mark, in an ``Annotated``, of an argument that is not the model's: the graph's state, a store, an id."""


def binder(func: Callable[..., Any]) -> Binder:
    """
    Return a function that takes the arguments of a call of *func* and returns them by name.

    ``self``, ``cls`` and parameters that a framework fills in are accepted and left out.
    Called with arguments that do not fit it raises TypeError, as *func* would.
    """
    try:
        parameters = list(inspect.signature(func).parameters.values())
    except (TypeError, ValueError):  # builtins without a signature
        return _unnamed
    namespace: dict[str, Any] = {}
    source, shown = [], []
    hints = _resolved(func, parameters)
    previous = None
    for index, parameter in enumerate(parameters):
        kind = parameter.kind
        if previous is parameter.POSITIONAL_ONLY and kind is not previous:
            source.append("/")
        if kind is parameter.KEYWORD_ONLY and previous not in (parameter.KEYWORD_ONLY, parameter.VAR_POSITIONAL):
            source.append("*")
        previous = kind
        source.append(_declared(parameter, index, namespace))
        is_own = index == 0 and parameter.name in ("self", "cls")
        annotation = hints.get(parameter.name, parameter.annotation)
        if not is_own and not _is_filled_in(annotation):
            secret = is_secret(annotation) or (isinstance(annotation, str) and "Secret]" in annotation)
            shown.append(f"{parameter.name!r}: {f'{MASK!r}' if secret else parameter.name}")
    if previous is inspect.Parameter.POSITIONAL_ONLY:
        source.append("/")
    exec(f"def bind({', '.join(source)}): return {{{', '.join(shown)}}}", namespace)  # as dataclasses does
    bind: Binder = namespace["bind"]
    return bind


_STARS: dict[Any, str] = {inspect.Parameter.VAR_POSITIONAL: "*", inspect.Parameter.VAR_KEYWORD: "**"}


def _declared(parameter: inspect.Parameter, index: int, namespace: dict[str, Any]) -> str:
    star = _STARS.get(parameter.kind, "")
    if parameter.default is parameter.empty:
        return star + parameter.name
    namespace[f"_default_{index}"] = parameter.default
    return f"{parameter.name}=_default_{index}"


def _resolved(func: Callable[..., Any], parameters: list[inspect.Parameter]) -> dict[str, Any]:
    """Return the annotations that are given as texts, evaluated; nothing where one of them cannot be."""
    if not any(isinstance(parameter.annotation, str) for parameter in parameters):
        return {}
    try:
        return typing.get_type_hints(func, include_extras=True)
    except Exception:  # a name that type checkers alone see; or whatever an annotation that is evaluated does
        return {}


def _is_filled_in(annotation: Any) -> bool:
    """Whether a framework gives the value of a parameter that is annotated so."""
    if isinstance(annotation, str):
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
    return {"args": args, **kwargs}
