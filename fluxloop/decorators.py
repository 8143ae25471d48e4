"""
What users put on their code: `agent`, `trace`, `tool`, `prompt`, `instrument`, `observe`, `event`.

Each states a type and its options; the recording itself is `fluxloop.tracing.wrapping`. They are methods of a
client; the functions of the package are those of the default client.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from types import AsyncGeneratorType, CoroutineType, GeneratorType, TracebackType
from typing import Any, Protocol, TypeVar, overload

from .context import FluxLoopContext
from .enums import LevelName, ObservationLevel, ObservationType, TypeName
from .errors import DecorationError, TypeNameError
from .llm.response_facts import read_facts
from .report import warn_user
from .tracing.arguments import Binder, binder
from .tracing.calls import Spec
from .tracing.instrumenters import instrumented
from .tracing.observation import record_event
from .tracing.recorder import NOTHING
from .tracing.scopes import UNTRACED, BlockScope, ManualScope, is_outside
from .tracing.tracer import Tracer
from .tracing.wrapping import is_function, recorded

F = TypeVar("F", bound=Callable[..., Any])


class Decorator(Protocol):
    """Takes a function of any shape and returns one of the same type."""

    def __call__(self, func: F, /) -> F: ...


class Scope(BlockScope):
    """
    A recorded block, for ``with`` and ``async with``, or the decorator that records each call of a function.

    It can be used many times, by several tasks and threads at once. The block gets the `FluxLoopContext`.
    """

    def __call__(self, func: F) -> F:
        """Return *func* with each call recorded; raises DecorationError for what is not a function."""
        decorated: F = decorate(func, self.spec)
        return decorated

    def __enter__(self) -> FluxLoopContext:
        return FluxLoopContext(self.enter())

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        self.exit(exc)

    async def __aenter__(self) -> FluxLoopContext:
        return FluxLoopContext(self.enter())

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.exit(exc)


class Instruments(Tracer):
    """The decorators and scopes of one set-up."""

    @overload
    def agent(self, name: F, /) -> F: ...
    @overload
    def agent(
        self,
        name: str | None = None,
        *,
        session_id: str | Callable[..., object] | None = None,
        metadata: Mapping[str, Any] | None = None,
        capture_input: bool = True,
        capture_output: bool = True,
    ) -> Scope: ...
    def agent(
        self,
        name: Any = None,
        *,
        session_id: str | Callable[..., object] | None = None,
        metadata: Mapping[str, Any] | None = None,
        capture_input: bool = True,
        capture_output: bool = True,
    ) -> Any:
        """
        Record each call of an agent's entry point as AGENT; opens a trace where none is open.

        Args:
            name: The observation's name; the function's by default.
            session_id: The session of the trace, or a function that takes the arguments of a call and returns it.
            metadata: Put on every observation made.
            capture_input: Whether to record the arguments, by parameter name and with defaults.
            capture_output: Whether to record what is returned or streamed.

        Raises:
            DecorationError: If an option has the wrong type, or if it is put on something that is not a function.
        """
        options = _options("agent", metadata, capture_input, capture_output)
        if session_id is not None and not callable(session_id):
            _check("agent", "session_id", session_id, str, "text or a function")
        spec = Spec(self, ObservationType.AGENT, opens_trace=True, session=session_id, **options)
        return self._decorator("agent", name, spec)

    @overload
    def trace(self, name: F, /) -> F: ...
    @overload
    def trace(
        self,
        name: str | None = None,
        *,
        observation_type: ObservationType | TypeName = ObservationType.SPAN,
        metadata: Mapping[str, Any] | None = None,
        capture_input: bool = True,
        capture_output: bool = True,
    ) -> Scope: ...
    def trace(
        self,
        name: Any = None,
        *,
        observation_type: ObservationType | TypeName = ObservationType.SPAN,
        metadata: Mapping[str, Any] | None = None,
        capture_input: bool = True,
        capture_output: bool = True,
    ) -> Any:
        """
        Record each call made inside a trace, as SPAN or the type asked for.

        Args:
            name: The observation's name; the function's by default.
            observation_type: An `ObservationType` or its name in any case.
            metadata: Put on every observation made.
            capture_input: Whether to record the arguments.
            capture_output: Whether to record what is returned or streamed.

        Raises:
            TypeNameError: If *observation_type* is not a type; the message lists them.
            DecorationError: If an option has the wrong type, or if it is put on something that is not a function.
        """
        options = _options("trace", metadata, capture_input, capture_output)
        return self._decorator("trace", name, Spec(self, observation_type_of(observation_type), **options))

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
    ) -> Scope: ...
    def tool(
        self,
        name: Any = None,
        *,
        description: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        capture_input: bool = True,
        capture_output: bool = True,
    ) -> Any:
        """
        Record each call of a tool made inside a trace, as TOOL.

        Args:
            name: The observation's name; the function's by default.
            description: What the tool is for; goes into the metadata.
            metadata: Put on every observation made.
            capture_input: Whether to record the arguments.
            capture_output: Whether to record what is returned or streamed.

        Raises:
            DecorationError: If an option has the wrong type, or if it is put on something that is not a function.
        """
        options = _options("tool", metadata, capture_input, capture_output)
        if description is not None:
            options["metadata"]["description"] = description
        return self._decorator("tool", name, Spec(self, ObservationType.TOOL, **options))

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
    ) -> Scope: ...
    def prompt(
        self,
        name: Any = None,
        *,
        model: str | None = None,
        provider: str | None = None,
        capture_tokens: bool = True,
        metadata: Mapping[str, Any] | None = None,
        capture_input: bool = True,
        capture_output: bool = True,
    ) -> Any:
        """
        Record each model call made inside a trace, as GENERATION.

        Args:
            name: The observation's name; the function's by default.
            model: The model's name; read from the result where it is not given.
            provider: The provider's name, such as ``openai``.
            capture_tokens: Whether to read token counts, model and finish reasons from the result.
            metadata: Put on every observation made.
            capture_input: Whether to record the arguments.
            capture_output: Whether to record what is returned or streamed.

        Raises:
            DecorationError: If an option has the wrong type, or if it is put on something that is not a function.
        """
        options = _options("prompt", metadata, capture_input, capture_output)
        _check("prompt", "capture_tokens", capture_tokens, bool, "True or False")
        fields = {key: value for key, value in (("model", model), ("provider", provider)) if value is not None}
        facts = read_facts if capture_tokens else None
        spec = Spec(self, ObservationType.GENERATION, fields=fields, read_facts=facts, **options)
        return self._decorator("prompt", name, spec)

    def instrument(
        self,
        name: str | None = None,
        *,
        session_id: str | None = None,
        user_id: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        tags: Iterable[str] = (),
        trace_id: str | None = None,
        observation_type: ObservationType | TypeName = ObservationType.SPAN,
    ) -> Scope:
        """
        Record a block, or each call of a function of any shape, as one observation.

        For ``with``, ``async with`` and as a decorator. Opens a trace where none is open; inside a trace it is
        a child, and gives the trace its session, user and tags. The block gets the `FluxLoopContext`.

        Args:
            name: The observation's name; the decorated function's, or ``scope``, by default.
            session_id: The conversation the trace belongs to, any string.
            user_id: The user the trace is made for.
            metadata: Put on the observation, and on the trace where it opens one.
            tags: Labels of the trace.
            trace_id: Opens a new trace of this id, also inside another one.
            observation_type: An `ObservationType` or its name in any case.

        Raises:
            TypeNameError: If *observation_type* is not a type; the message lists them.
            DecorationError: If an option has the wrong type.
        """
        if name is not None and not isinstance(name, str):
            raise DecorationError(f"instrument takes a name first, got {name!r:.100}: write @fluxloop.instrument()")
        options = _options("instrument", metadata, True, True)
        given = {"trace_id": trace_id, "session_id": session_id, "user_id": user_id}
        trace = {key: value for key, value in given.items() if value} | {"metadata": options["metadata"]}
        trace["tags"] = (tags,) if isinstance(tags, str) else tuple(tags)
        return Scope(
            Spec(
                self,
                observation_type_of(observation_type),
                name or "scope",
                is_named=name is not None,
                opens_trace=True,
                trace=trace,
                **options,
            )
        )

    def observe(
        self,
        name: str,
        observation_type: ObservationType | TypeName = ObservationType.SPAN,
        *,
        input: Any = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> ManualScope:
        """
        Record a block inside a trace: manual instrumentation in one line.

        The block gets the `ObservationData`, on which ``output`` and anything else can be set; outside a
        trace it gets a stand-in that accepts everything and keeps nothing. For ``with`` and ``async with``.

        Args:
            name: The observation's name.
            observation_type: An `ObservationType` or its name in any case; SPAN, with a warning, if it is not a type.
            input: The input, captured at once.
            metadata: Anything more about it.
        """
        return UNTRACED if is_outside() else ManualScope(self, name, observation_type, input, metadata)

    def event(
        self,
        name: str,
        *,
        input: Any = None,
        output: Any = None,
        metadata: Mapping[str, Any] | None = None,
        level: ObservationLevel | LevelName = ObservationLevel.INFO,
    ) -> None:
        """
        Record a point in time, as EVENT; outside a trace nothing happens.

        Args:
            name: The event's name.
            input: What it is about.
            output: What came of it.
            metadata: Anything more about it.
            level: Its severity: debug, info, warning or error, or a number of `logging`.
        """
        here = self.recording_here()
        if here is not None:
            try:
                level = ObservationLevel(level)
            except ValueError:
                warn_user(f"level of event {name!r} must be one of {_listed(ObservationLevel)}, got {level!r:.100}")
                level = ObservationLevel.INFO
            record_event(here, name, input=_given(input), output=_given(output), metadata=metadata, level=level)

    def _decorator(self, decorator: str, name: Any, spec: Spec) -> Any:
        """Return the decorator that *spec* describes, or decorate where *name* is the function: the bare form."""
        if name is None:
            return Scope(spec)
        if isinstance(name, str):
            return Scope(replace(spec, name=name, is_named=True))
        if isinstance(name, int | float | bytes | list | dict | tuple | set):
            raise DecorationError(f"{decorator} takes a name as text, or the function itself, got {name!r:.100}")
        return decorate(name, spec)


def decorate(target: Any, spec: Spec) -> Any:
    """
    Return *target* with each call recorded as *spec* says.

    Args:
        target: A function of any shape, a static or class method, or a framework's tool object.
        spec: Type and options; where it has no name, the function's.

    Raises:
        DecorationError: If *target* is none of these.
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
    made = instrumented(target, recording)
    if made is None:
        raise DecorationError(_not_a_function(target))
    return made


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
        raise TypeNameError(f"Invalid observation_type {word!r}. Expected one of: {_listed(ObservationType)}") from None


def _listed(words: Any) -> str:
    return ", ".join(word.value for word in words)


def name_of(func: Any) -> str:
    """Return the name of a function; a partial has that of its function."""
    while isinstance(func, functools.partial):
        func = func.func
    return str(getattr(func, "__name__", type(func).__name__))


def _options(
    decorator: str, metadata: Mapping[str, Any] | None, capture_input: bool, capture_output: bool
) -> dict[str, Any]:
    """Return the options all decorators share, checked."""
    _check(decorator, "metadata", metadata, (Mapping, type(None)), "a dict")
    _check(decorator, "capture_input", capture_input, bool, "True or False")
    _check(decorator, "capture_output", capture_output, bool, "True or False")
    return {"metadata": dict(metadata or {}), "capture_input": capture_input, "capture_output": capture_output}


def _check(decorator: str, option: str, value: object, kind: Any, accepted: str) -> None:
    if not isinstance(value, kind):
        raise DecorationError(f"{option} of fluxloop.{decorator} must be {accepted}, got {value!r:.100}")


def _not_a_function(target: Any) -> str:
    """Return why *target* cannot be recorded, and what can."""
    what = f"cannot record {target!r:.200}: "
    kind = f"{type(target).__module__}.{type(target).__qualname__}"
    if inspect.isclass(target):
        return f"{what}it is a class. Put the decorator on the method that does the work."
    if isinstance(target, property | functools.cached_property):
        return f"{what}it is a property. Put the decorator below @{type(target).__name__}, on the function."
    if isinstance(target, CoroutineType | GeneratorType | AsyncGeneratorType):
        return f"{what}it is a {type(target).__name__}, the result of a call. Pass the function itself."
    if callable(target) and not hasattr(target, "name"):
        return f"{what}a {kind} is callable, but not a function. Decorate its __call__ method."
    return (
        f"{what}a {kind} is not a function. Put the framework's decorator outermost and FluxLoop's below it, on the "
        'function itself - frameworks answer "Unknown tool type" otherwise - or describe its class with '
        "fluxloop_custom.register_framework."
    )
