"""
Blocks that are recorded: `BlockScope`, which may open a trace, and `ManualScope`, manual instrumentation in one line.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from types import TracebackType
from typing import TYPE_CHECKING, Any, NoReturn

from ..enums import ObservationType
from ..errors import DecorationError
from ..forks import importing
from .calls import Execution, Spec, begin
from .manual import ManualNode, leave, push
from .node import Node
from .propagation import _current, needs_lookup, strand_id
from .trace import OpenTrace

if TYPE_CHECKING:
    from ..models import ObservationData
    from .tracer import Tracer


class BlockScope:
    """
    One recorded block, which may open a trace.

    It can be entered many times, by several tasks and threads at once: each entry has its own observation.
    """

    def __init__(self, spec: Spec) -> None:
        self.spec = spec
        self._entries: list[tuple[tuple[int, object], Execution | None]] = []

    def enter(self) -> OpenTrace:
        """Begin the block's observation, and return its trace; one that records nothing where tracing is off."""
        call = begin(self.spec, (), {})
        strand = strand_id()
        self._entries.append((strand, call))
        if call is None:
            return OpenTrace.unrecorded(self.spec.tracer.recorder, self.spec.name)
        try:
            if call.parent is not None:
                call.trace.adopt(**self.spec.trace)
            call.owner = strand
            call.enter()
            trace: OpenTrace = call.trace
            return trace
        except BaseException as exc:  # interrupted: a block that is not entered is not left either
            self._entries.remove((strand, call))
            call.raised(exc)
            raise

    def exit(self, exc: BaseException | None) -> None:
        """End the block that this strand entered last, with the outcome of *exc*."""
        call = self._last_entry()
        if call is None:
            return
        if exc is None:
            call.leave()
            call.end()
        else:
            call.raised(exc)

    def _last_entry(self) -> Execution | None:
        """
        Remove and return the entry that an exit in the running code belongs to.

        It is the innermost one that this context has as current; else the last one of this thread and task, which
        may have recorded nothing; else, in a generator that another task closes, the last one of all.
        """
        entries = self._entries
        inside = {id(node) for node in _outwards(_current.get())}
        strand = strand_id()
        found = next((entry for entry in reversed(entries) if entry[1] is not None and id(entry[1]) in inside), None)
        found = found or next((entry for entry in reversed(entries) if entry[0] == strand), None) or entries[-1]
        entries.remove(found)
        return found[1]


def _outwards(node: Node | None) -> Iterator[Node]:
    while node is not None:
        yield node
        node = node.previous


class StandIn:
    """Replaces an `ObservationData` where nothing is recorded: it accepts everything and keeps nothing."""

    __slots__ = ()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return {} if name == "metadata" else None

    def __setattr__(self, name: str, value: object) -> None:
        pass


_STAND_IN: Any = StandIn()


class ManualScope:
    """A block recorded by hand; see `Instruments.observe`."""

    __slots__ = ("_arguments", "_observation")

    def __init__(
        self, tracer: Tracer, name: str, type: ObservationType | str, input: Any, metadata: Mapping[str, Any] | None
    ) -> None:
        self._arguments = (tracer, name, type, input, metadata)
        self._observation: ManualNode | None = None

    def __call__(self, func: object) -> NoReturn:
        """Refuse to decorate a function."""
        raise DecorationError(
            "observe records a block: with fluxloop.observe(name) as obs. To record each call of a function, use "
            "@fluxloop.trace(name, observation_type=...) or @fluxloop.tool"
        )

    def __enter__(self) -> ObservationData:
        tracer, name, kind, value, metadata = self._arguments
        here = tracer.recording_here()
        if here is None:
            stand_in: ObservationData = _STAND_IN
            return stand_in
        given: Any = {"type": kind, "name": name, "input": value, "metadata": {} if metadata is None else metadata}
        data = _observation_class()(**given)
        self._observation = push(here.trace, data)
        return data

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        if self._observation is not None:
            leave(self._observation, exc)

    async def __aenter__(self) -> ObservationData:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.__exit__(kind, exc, tb)


@cache
def _observation_class() -> type[ObservationData]:
    with importing():
        from ..models import ObservationData  # with pydantic, which few programs need while they run

    return ObservationData


class UntracedScope(ManualScope):
    """A block outside a trace: one for all, as it keeps nothing."""

    __slots__ = ()

    def __init__(self) -> None:
        """Nothing was given."""

    def __enter__(self) -> ObservationData:
        stand_in: ObservationData = _STAND_IN
        return stand_in

    def __exit__(self, kind: object, exc: object, tb: object) -> None:
        """Nothing was begun."""


UNTRACED = UntracedScope()


def is_outside() -> bool:
    """Whether no trace is open here, for certain: no adapter could have one, and nothing is to be logged."""
    return _current.get() is None and not needs_lookup
