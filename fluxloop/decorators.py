"""
The decorators and scopes: `agent`, `trace`, `tool`, `prompt`, `instrument`, `observe` and `event`.

They are methods of a client; the functions of the package are methods of the default client. They read the options;
`fluxloop.tracing` records.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from types import TracebackType
from typing import Any, Protocol, TypeVar, overload

from .context import FluxLoopContext
from .enums import LevelName, ObservationLevel, ObservationType, TypeName
from .errors import DecorationError
from .llm.response_facts import read_facts
from .report import warn_user
from .tracing.decoration import decorate
from .tracing.events import record_event
from .tracing.recorder import NOTHING
from .tracing.scopes import UNTRACED, BlockScope, ManualScope, is_outside
from .tracing.spec import Spec, check_option, checked_options, listed, observation_type_of
from .tracing.tracer import Tracer

F = TypeVar("F", bound=Callable[..., Any])


class Decorator(Protocol):
    """A decorator that accepts functions of any call shape and keeps their type."""

    def __call__(self, func: F, /) -> F: ...


class Scope(BlockScope):
    """
    Records a block, with ``with`` or ``async with``, or each call of a function, as a decorator.

    It can be used any number of times, also concurrently. ``as`` binds the `FluxLoopContext`.
    """

    def __call__(self, func: F) -> F:
        """Return *func* with each call recorded; raise DecorationError if it is not a function."""
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
    """The decorators and scopes of a client."""

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
        Record each call of an agent's entry point as AGENT; open a trace if none is open.

        Args:
            name: The name of the observation; by default the name of the function.
            session_id: The session of the trace, or a function that takes the arguments of a call and returns it.
            metadata: The metadata of each observation.
            capture_input: Whether to record the arguments, by parameter name and with defaults.
            capture_output: Whether to record the returned value or the items of the stream.

        Raises:
            DecorationError: If an option has the wrong type, or if the decorated object is not a function.
        """
        options = checked_options("agent", metadata, capture_input, capture_output)
        if session_id is not None and not callable(session_id):
            check_option("agent", "session_id", session_id, str, "text or a function")
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
        Record each call inside a trace, as SPAN by default.

        Args:
            name: The name of the observation; by default the name of the function.
            observation_type: An `ObservationType` or its name in any case.
            metadata: The metadata of each observation.
            capture_input: Whether to record the arguments.
            capture_output: Whether to record the returned value or the items of the stream.

        Raises:
            TypeNameError: If *observation_type* is not an observation type; the message lists the types.
            DecorationError: If an option has the wrong type, or if the decorated object is not a function.
        """
        options = checked_options("trace", metadata, capture_input, capture_output)
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
        Record each call of a tool inside a trace, as TOOL.

        Args:
            name: The name of the observation; by default the name of the function.
            description: A description of the tool, recorded in the metadata.
            metadata: The metadata of each observation.
            capture_input: Whether to record the arguments.
            capture_output: Whether to record the returned value or the items of the stream.

        Raises:
            DecorationError: If an option has the wrong type, or if the decorated object is not a function.
        """
        options = checked_options("tool", metadata, capture_input, capture_output)
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
        Record each model call inside a trace, as GENERATION.

        Args:
            name: The name of the observation; by default the name of the function.
            model: The name of the model; by default read from the result.
            provider: The name of the provider, such as ``openai``; by default read from the result.
            capture_tokens: Whether to read token counts, model and finish reasons from the result.
            metadata: The metadata of each observation.
            capture_input: Whether to record the arguments.
            capture_output: Whether to record the returned value or the items of the stream.

        Raises:
            DecorationError: If an option has the wrong type, or if the decorated object is not a function.
        """
        options = checked_options("prompt", metadata, capture_input, capture_output)
        check_option("prompt", "capture_tokens", capture_tokens, bool, "True or False")
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
        Record a block, or each call of a function, as one observation.

        Use it with ``with`` or ``async with``, or as a decorator. It opens a trace if none is open. Inside a trace it
        records a child, and sets the session, user and tags of that trace. ``as`` binds the `FluxLoopContext`.

        Args:
            name: The name of the observation; by default the name of the decorated function, or ``scope``.
            session_id: The session of the trace, any string.
            user_id: The user of the trace.
            metadata: The metadata of the observation, and of the trace if one is opened.
            tags: Tags to add to the trace.
            trace_id: The id of a new trace, which is opened even inside another trace.
            observation_type: An `ObservationType` or its name in any case.

        Raises:
            TypeNameError: If *observation_type* is not an observation type; the message lists the types.
            DecorationError: If an option has the wrong type.
        """
        if name is not None and not isinstance(name, str):
            raise DecorationError(f"instrument takes a name first, got {name!r:.100}: write @fluxloop.instrument()")
        options = checked_options("instrument", metadata, True, True)
        given = {"trace_id": trace_id, "session_id": session_id, "user_id": user_id}
        trace = {key: value for key, value in given.items() if value} | {"metadata": options["metadata"]}
        check_option("instrument", "tags", tags, (Iterable, type(None)), "a list of texts")
        trace["tags"] = (tags,) if isinstance(tags, str) else tuple(tags or ())
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
        Record a block inside a trace as one observation, with ``with`` or ``async with``.

        ``as`` binds the `ObservationData`, whose ``output`` and other fields can be set. Outside a trace it binds a
        stand-in that accepts every attribute and records nothing.

        Args:
            name: The name of the observation.
            observation_type: An `ObservationType` or its name in any case. Another name warns and becomes SPAN.
            input: The input, captured immediately.
            metadata: The metadata of the observation.
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
        Record a point in time as EVENT. Outside a trace, do nothing.

        Args:
            name: The name of the event.
            input: The input, if any.
            output: The output, if any.
            metadata: The metadata of the event.
            level: Its severity: debug, info, warning or error, or a level of `logging`.
        """
        here = self.recording_here()
        if here is not None:
            if metadata is not None and not isinstance(metadata, Mapping):
                warn_user(f"metadata of event {name!r:.100} must be a dict, got {metadata!r:.100}")
                metadata = {"rejected": {"metadata": metadata}}
            try:
                level = ObservationLevel(level)
            except ValueError:
                warn_user(f"level of event {name!r} must be one of {listed(ObservationLevel)}, got {level!r:.100}")
                level = ObservationLevel.INFO
            record_event(here, name, input=_given(input), output=_given(output), metadata=metadata, level=level)

    def _decorator(self, decorator: str, name: Any, spec: Spec) -> Any:
        """Return the decorator for *spec*; used without parentheses, *name* is the function, and is decorated."""
        if name is None:
            return Scope(spec)
        if isinstance(name, str):
            return Scope(replace(spec, name=name, is_named=True))
        if isinstance(name, int | float | bytes | list | dict | tuple | set):
            raise DecorationError(f"{decorator} takes a name as text, or the function itself, got {name!r:.100}")
        return decorate(name, spec)


def _given(value: object) -> object:
    return NOTHING if value is None else value
