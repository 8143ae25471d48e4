"""
What users put on their code: `agent`, `trace`, `tool`, `prompt`, `instrument`, `observe`, `event`.

Each states a type and its options; the recording itself is `fluxloop.tracing.wrapping`. They are methods of a
client; the functions of the package are those of the default client.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, overload

from .enums import ObservationLevel, ObservationType
from .errors import DecorationError, TypeNameError
from .tracing.arguments import Binder, binder
from .tracing.calls import Spec
from .tracing.observation import record_event
from .tracing.recorder import NOTHING
from .tracing.scopes import OUTSIDE, Observing, Scope, is_outside
from .tracing.wrapping import is_function, recorded

if TYPE_CHECKING:
    from .client import FluxLoopClient

F = TypeVar("F", bound=Callable[..., Any])


class Decorator(Protocol):
    """Takes a function of any shape and returns one of the same type."""

    def __call__(self, func: F, /) -> F: ...


class Instruments:
    """The decorators and scopes of one client."""

    _client: FluxLoopClient

    @overload
    def agent(self, name: F, /) -> F: ...
    @overload
    def agent(
        self,
        name: str | None = None,
        *,
        metadata: Mapping[str, Any] | None = None,
        capture_input: bool = True,
        capture_output: bool = True,
    ) -> Decorator: ...
    def agent(self, name: Any = None, **options: Any) -> Any:
        """
        Record each call of an agent's entry point as AGENT; opens a trace where none is open.

        Args:
            name: The observation's name; the function's by default.
            metadata: Put on every observation made.
            capture_input: Whether to record the arguments, by parameter name and with defaults.
            capture_output: Whether to record what is returned or streamed.

        Raises:
            DecorationError: If it is put on something that is no function.
        """
        return self._decorator(name, ObservationType.AGENT, opens_trace=True, **_checked("agent", options))

    @overload
    def trace(self, name: F, /) -> F: ...
    @overload
    def trace(
        self,
        name: str | None = None,
        *,
        observation_type: ObservationType | str = ObservationType.SPAN,
        metadata: Mapping[str, Any] | None = None,
        capture_input: bool = True,
        capture_output: bool = True,
    ) -> Decorator: ...
    def trace(self, name: Any = None, *, observation_type: Any = ObservationType.SPAN, **options: Any) -> Any:
        """
        Record each call made inside a trace, as SPAN or the type asked for.

        Args:
            name: The observation's name; the function's by default.
            observation_type: An `ObservationType` or its name in any case.
            metadata: Put on every observation made.
            capture_input: Whether to record the arguments.
            capture_output: Whether to record what is returned or streamed.

        Raises:
            TypeNameError: If *observation_type* is no type; the message lists them.
            DecorationError: If it is put on something that is no function.
        """
        return self._decorator(name, observation_type_of(observation_type), **_checked("trace", options))

    @overload
    def tool(self, name: F, /) -> F: ...
    @overload
    def tool(
        self,
        name: str | None = None,
        *,
        description: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        capture_input: bool = True,
        capture_output: bool = True,
    ) -> Decorator: ...
    def tool(self, name: Any = None, *, description: str | None = None, **options: Any) -> Any:
        """
        Record each call of a tool made inside a trace, as TOOL.

        Args:
            name: The observation's name; the function's by default.
            description: What the tool is for; goes into the metadata.
            metadata: Put on every observation made.
            capture_input: Whether to record the arguments.
            capture_output: Whether to record what is returned or streamed.

        Raises:
            DecorationError: If it is put on something that is no function.
        """
        options = _checked("tool", options)
        if description is not None:
            options["metadata"] = {**(options.get("metadata") or {}), "description": description}
        return self._decorator(name, ObservationType.TOOL, **options)

    @overload
    def prompt(self, name: F, /) -> F: ...
    @overload
    def prompt(
        self,
        name: str | None = None,
        *,
        model: str | None = None,
        provider: str | None = None,
        capture_tokens: bool = True,
        metadata: Mapping[str, Any] | None = None,
        capture_input: bool = True,
        capture_output: bool = True,
    ) -> Decorator: ...
    def prompt(
        self,
        name: Any = None,
        *,
        model: str | None = None,
        provider: str | None = None,
        capture_tokens: bool = True,
        **options: Any,
    ) -> Any:
        """
        Record each model call made inside a trace, as GENERATION.

        Args:
            name: The observation's name; the function's by default.
            model: The model's name; what the result says where it is not given.
            provider: The provider's name, such as ``openai``.
            capture_tokens: Whether to read token counts, model and finish reasons from the result.
            metadata: Put on every observation made.
            capture_input: Whether to record the arguments.
            capture_output: Whether to record what is returned or streamed.

        Raises:
            DecorationError: If it is put on something that is no function.
        """
        fields = {key: value for key, value in (("model", model), ("provider", provider)) if value is not None}
        options = _checked("prompt", options)
        return self._decorator(
            name, ObservationType.GENERATION, capture_tokens=capture_tokens, fields=fields, **options
        )

    def instrument(
        self,
        name: str | None = None,
        *,
        session_id: str | None = None,
        user_id: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        tags: Iterable[str] = (),
        trace_id: str | None = None,
        observation_type: ObservationType | str = ObservationType.SPAN,
    ) -> Scope:
        """
        Record a block, or each call of a function of any shape, as one observation.

        For ``with``, ``async with`` and as a decorator. Opens a trace where none is open; inside one it is
        a child, and gives the trace its session, user and tags. The block gets the `FluxLoopContext`.

        Args:
            name: The observation's name; the decorated function's, or ``scope``, by default.
            session_id: The conversation the trace belongs to, any string.
            user_id: Whom the trace is made for.
            metadata: Put on the observation, and on the trace where it opens one.
            tags: Labels of the trace.
            trace_id: Opens a new trace of this id, also inside another one.
            observation_type: An `ObservationType` or its name in any case.

        Raises:
            TypeNameError: If *observation_type* is no type; the message lists them.
        """
        if name is not None and not isinstance(name, str):
            raise DecorationError(f"instrument takes a name first, got {name!r}: write @fluxloop.instrument()")
        trace = {"trace_id": trace_id, "session_id": session_id, "user_id": user_id, "tags": tuple(tags)}
        spec = Spec(
            self._client,
            observation_type_of(observation_type),
            name or "scope",
            opens_trace=True,
            metadata=dict(metadata or {}),
            trace={**{key: value for key, value in trace.items() if value}, "metadata": dict(metadata or {})},
        )
        return Scope(spec, is_named=name is not None)

    def observe(
        self,
        name: str,
        type: ObservationType | str = ObservationType.SPAN,
        *,
        input: Any = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> Observing:
        """
        Record a block inside a trace: manual instrumentation in one line.

        The block gets the `ObservationData`, on which ``output`` and anything else can be set; outside a
        trace it gets a stand-in that takes everything and keeps nothing. For ``with`` and ``async with``.

        Args:
            name: The observation's name.
            type: An `ObservationType` or its name in any case.
            input: What goes in, captured at once.
            metadata: Anything more about it.

        Raises:
            TypeNameError: If *type* is no type; the message lists them.
        """
        kind = type if type.__class__ is ObservationType else observation_type_of(type)
        return OUTSIDE if is_outside() else Observing(self._client, name, kind, input, metadata)

    def event(
        self,
        name: str,
        *,
        input: Any = None,
        output: Any = None,
        metadata: Mapping[str, Any] | None = None,
        level: ObservationLevel | str = ObservationLevel.INFO,
    ) -> None:
        """
        Record a point in time, as EVENT; outside a trace nothing happens.

        Args:
            name: The event's name.
            input: What it is about.
            output: What came of it.
            metadata: Anything more about it.
            level: How loud it is; debug, info, warning or error.
        """
        here = self._client.recording_here()
        if here is not None:
            record_event(here, name, input=_given(input), output=_given(output), metadata=metadata, level=level)

    def _decorator(self, name: Any, kind: ObservationType, **options: Any) -> Any:
        if name is None or isinstance(name, str):
            return functools.partial(self._decorate, name=name, kind=kind, **options)
        return self._decorate(name, name=None, kind=kind, **options)

    def _decorate(self, target: Any, *, name: str | None, kind: ObservationType, **options: Any) -> Any:
        if isinstance(target, staticmethod | classmethod):
            return type(target)(self._decorate(target.__func__, name=name, kind=kind, **options))
        recording: Any = functools.partial(self._recorded, name=name, kind=kind, **options)
        if is_function(target):
            return recording(target)
        from .tracing.instrumenters import instrumented  # few programs have such objects

        tool = instrumented(target, recording)
        if tool is None:
            raise DecorationError(_no_function(target))
        return tool

    def _recorded(
        self,
        func: Any,
        *,
        name: str | None,
        kind: ObservationType,
        called: str | None = None,
        bind: Binder | None = None,
        **options: Any,
    ) -> Any:
        """See `fluxloop.tracing.instrumenters.Recording`."""
        options["metadata"] = dict(options.get("metadata") or {})
        called = called or name_of(func)
        bind = bind or binder(func)
        spec = Spec(self._client, kind, name or called, is_named=bool(name), called=called, bind=bind, **options)
        return recorded(func, spec)


def _given(value: object) -> object:
    return NOTHING if value is None else value


def observation_type_of(word: ObservationType | str) -> ObservationType:
    """
    Return the type that *word* names, in any case.

    Raises:
        TypeNameError: If it names none; the message lists those there are.
    """
    try:
        return ObservationType(word)
    except ValueError:
        known = ", ".join(kind.value for kind in ObservationType)
        raise TypeNameError(f"Invalid observation_type {word!r}. Expected one of: {known}") from None


def name_of(func: Any) -> str:
    """Return the name a function goes by, a partial's being that of its function."""
    while isinstance(func, functools.partial):
        func = func.func
    return str(getattr(func, "__name__", type(func).__name__))


def _no_function(target: object) -> str:
    return (
        f"cannot record {target!r:.200}: a {type(target).__module__}.{type(target).__qualname__} is not a function. "
        "Put the framework's decorator outermost and FluxLoop's below it, on the function itself - frameworks answer "
        '"Unknown tool type" otherwise - or say what it is: fluxloop_custom.register_framework.'
    )


_OPTIONS = ("metadata", "capture_input", "capture_output")


def _checked(decorator: str, options: dict[str, Any]) -> dict[str, Any]:
    for key in options:
        if key not in _OPTIONS:
            raise TypeError(
                f"{decorator}() got an unexpected option {key!r}; it takes {', '.join(_OPTIONS)} and its own"
            )
    return options
