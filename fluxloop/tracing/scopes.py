"""
Recorded blocks: `BlockScope`, which can open a trace, and `ManualScope`, manual instrumentation with a ``with`` block.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from types import TracebackType
from typing import TYPE_CHECKING, Any, NoReturn

from ..enums import ObservationType
from ..errors import DecorationError
from ..forks import importing
from .calls import begin
from .executions import Execution
from .manual import ManualNode, end_manually, push
from .node import Node
from .propagation import _current, needs_lookup, strand_id
from .spec import Spec
from .trace import OpenTrace

if TYPE_CHECKING:
    from ..models import ObservationData
    from .tracer import Tracer


class BlockScope:
    """
    A recorded block, which can open a trace.

    It can be entered any number of times, also concurrently. Each entry has its own observation.
    """

    def __init__(self, spec: Spec) -> None:
        self.spec = spec
        self._entries: list[tuple[tuple[int, object], Execution | None]] = []

    def enter(self) -> OpenTrace:
        """Start the observation of the block, and return its trace; if recording is off, an unrecorded trace."""
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
        except BaseException as exc:  # interrupted: Python calls no __exit__ for a block that was not entered
            self._entries.remove((strand, call))
            call.raised(exc)
            raise

    def exit(self, exc: BaseException | None) -> None:
        """End the last block entered by this strand, with the outcome of *exc*."""
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
        Remove and return the entry that the running code exits.

        It is the innermost entry that encloses the current node. If there is none, it is the last entry of this thread
        and task, which may be unrecorded. In a generator that another task closes, it is the last entry of all.
        """
        entries = self._entries
        if not entries:  # it was not entered, or exited twice
            return None
        enclosing = {id(node) for node in _enclosing(_current.get())}
        strand = strand_id()
        found = next((entry for entry in reversed(entries) if entry[1] is not None and id(entry[1]) in enclosing), None)
        found = found or next((entry for entry in reversed(entries) if entry[0] == strand), None) or entries[-1]
        entries.remove(found)
        return found[1]


def _enclosing(node: Node | None) -> Iterator[Node]:
    while node is not None:
        yield node
        node = node.previous


class StandIn:
    """Replaces an `ObservationData` outside a trace: it accepts every attribute and records nothing."""

    __slots__ = ()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return {} if name == "metadata" else None

    def __setattr__(self, name: str, value: object) -> None:
        pass


_STAND_IN: Any = StandIn()


class ManualScope:
    """A block with manual instrumentation; see `Instruments.observe`."""

    __slots__ = ("_arguments", "_observation")

    def __init__(
        self, tracer: Tracer, name: str, type: ObservationType | str, input: Any, metadata: Mapping[str, Any] | None
    ) -> None:
        self._arguments = (tracer, name, type, input, metadata)
        self._observation: ManualNode | None = None

    def __call__(self, func: object) -> NoReturn:
        """Raise an error: `observe` is not a decorator."""
        raise DecorationError(
            "observe records a block: with fluxloop.observe(name) as obs. To record each call of a function, use "
            "@fluxloop.trace(name, observation_type=...) or @fluxloop.tool"
        )

    def __enter__(self) -> ObservationData:
        tracer, name, observation_type, value, metadata = self._arguments
        here = tracer.recording_here()
        if here is None:
            stand_in: ObservationData = _STAND_IN
            return stand_in
        given: Any = {
            "type": observation_type,
            "name": name,
            "input": value,
            "metadata": {} if metadata is None else metadata,
        }
        data = _observation_class()(**given)
        self._observation = push(here.trace, data)
        return data

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        if self._observation is not None:
            end_manually(self._observation, exc)

    async def __aenter__(self) -> ObservationData:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.__exit__(kind, exc, tb)


@cache
def _observation_class() -> type[ObservationData]:
    with importing():
        from ..models import ObservationData  # imports pydantic, so only when needed

    return ObservationData


class UntracedScope(ManualScope):
    """A block outside a trace. It has no state, so one object is enough."""

    __slots__ = ()

    def __init__(self) -> None:
        """Store nothing."""

    def __enter__(self) -> ObservationData:
        stand_in: ObservationData = _STAND_IN
        return stand_in

    def __exit__(self, kind: object, exc: object, tb: object) -> None:
        """Do nothing: no observation was started."""


UNTRACED = UntracedScope()


def is_outside() -> bool:
    """Return whether certainly no trace is open here, without a lookup in adapters, and no debug line is needed."""
    return _current.get() is None and not needs_lookup
