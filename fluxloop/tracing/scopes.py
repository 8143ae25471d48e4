"""
Blocks that are recorded: `Scope`, which may open a trace, and `Observing`, manual instrumentation in one line.
"""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

from ..context import FluxLoopContext
from .calls import Call, Spec, begin
from .propagation import _current, needs_lookup, strand_id
from .trace import OpenTrace

if TYPE_CHECKING:
    from ..client import FluxLoopClient
    from ..models import ObservationData
    from .manual import ManualObservation

F = TypeVar("F", bound=Callable[..., Any])


class Scope:
    """One recorded block, or the decorator that makes each call of a function one; can be used again."""

    def __init__(self, spec: Spec, *, is_named: bool) -> None:
        self._spec = spec
        self._is_named = is_named
        self._open: list[Call | None] = []

    def __call__(self, func: F) -> F:
        """Return *func* with each call recorded as this scope."""
        spec = self._spec
        decorate = spec.client._decorate
        decorated: F = decorate(
            func,
            name=spec.name if self._is_named else None,
            kind=spec.type,
            opens_trace=True,
            metadata=spec.metadata,
            trace=spec.trace,
        )
        return decorated

    def __enter__(self) -> FluxLoopContext:
        call = begin(self._spec, (), {})
        self._open.append(call)
        if call is None:
            return FluxLoopContext(OpenTrace.unrecorded(self._spec.client.recorder, self._spec.name))
        if call.parent is not None:
            call.trace.adopt(**self._spec.trace)
        call.owner = strand_id()
        call.enter()
        return call.trace.context

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        call = self._open.pop()
        if call is None:
            return
        if exc is None:
            call.leave()
            call.end()
        else:
            call.raised(exc)

    async def __aenter__(self) -> FluxLoopContext:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.__exit__(kind, exc, tb)


class StandIn:
    """Takes the place of an `ObservationData` where nothing is recorded: takes everything, keeps nothing."""

    __slots__ = ()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return {} if name == "metadata" else None

    def __setattr__(self, name: str, value: object) -> None:
        pass


_STAND_IN: Any = StandIn()


class Observing:
    """A block recorded by hand; see `Instruments.observe`."""

    __slots__ = ("_given", "_observation")

    def __init__(self, client: FluxLoopClient, *given: Any) -> None:
        self._given = (client, *given)
        self._observation: ManualObservation | None = None

    def __enter__(self) -> ObservationData:
        client, name, kind, value, metadata = self._given
        here = client.recording_here()
        if here is None:
            stand_in: ObservationData = _STAND_IN
            return stand_in
        from ..models import ObservationData
        from .manual import push

        data = ObservationData(type=kind, name=name, input=value, metadata=dict(metadata or {}))
        self._observation = push(here.trace, data)
        return data

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        if self._observation is not None:
            from .manual import leave

            leave(self._observation, exc)

    async def __aenter__(self) -> ObservationData:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.__exit__(kind, exc, tb)


class Outside(Observing):
    """A block outside a trace: one for all, as it keeps nothing."""

    __slots__ = ()

    def __init__(self) -> None:
        """Nothing was given."""

    def __enter__(self) -> ObservationData:
        stand_in: ObservationData = _STAND_IN
        return stand_in

    def __exit__(self, kind: object, exc: object, tb: object) -> None:
        """Nothing was begun."""


OUTSIDE = Outside()


def is_outside() -> bool:
    """Whether no trace is open here, for certain: no adapter could know of one, and nobody wants to hear about it."""
    return _current.get() is None and not needs_lookup
