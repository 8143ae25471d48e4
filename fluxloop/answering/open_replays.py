"""
The replay that is open, in a context or in the whole process, and the questions that it is asked.
"""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol
from weakref import ref

if TYPE_CHECKING:
    from ..enums import ObservationType
    from ..tracing.node import Node
    from ..tracing.observation import OpenObservation
    from .answers import Answer


@dataclass(frozen=True, slots=True)
class Question:
    """A call that wants an answer."""

    type: ObservationType
    name: str
    input: Any
    """The input as JSON, as it is recorded."""
    parent: Node | None
    """The observation around it."""
    key: tuple[str, str] | None = None
    """The trace and the id of its own observation; None if it has none yet."""
    others: tuple[Any, ...] = ()
    """Other forms in which the input may be recorded."""
    node: OpenObservation | None = None
    """Its own observation; None if it has none yet."""

    @property
    def inputs(self) -> tuple[Any, ...]:
        """All forms of the input."""
        return (self.input, *self.others)


class Answerer(Protocol):
    """An open replay."""

    def ask(self, question: Question) -> Answer | None:
        """Return the recorded answer; None if the call is to run. Raises `fluxloop.errors.ReplayMismatch`."""

    def knows(self, observation_type: ObservationType, name: str) -> bool:
        """Whether a call of this type and name was recorded."""

    def runs_live(self, observation_type: ObservationType, name: str, node: Node | None) -> bool:
        """Whether a call that is not recorded runs for real: it is live, or inside *node*, a call that runs."""

    def fail(self, message: str) -> Exception:
        """Note that a call cannot be answered, and return the error to raise."""


class Opened:
    """
    A replay that was opened, until it is closed, or its block is collected.

    Args:
        replay: Answers the calls.
        block: The block that is open.
        is_for_process: Whether it answers the calls of the whole process, and not only those of a context.
    """

    __slots__ = ("_block", "_is_closed", "is_for_process", "replay")

    def __init__(self, replay: Answerer, block: object, *, is_for_process: bool = False) -> None:
        self.replay = replay
        self.is_for_process = is_for_process
        self._block = ref(block)
        self._is_closed = False

    @property
    def is_open(self) -> bool:
        """Whether it answers calls."""
        return not self._is_closed and self._block() is not None

    def close(self) -> None:
        """Answer no more calls."""
        self._is_closed = True


Chain = tuple[Opened, "Chain | None"]
"""The replay that has effect, and the one that has effect again when it is closed."""


class OpenReplay:
    """
    The replay that is open: in this context, or in the whole process.

    A replay that was closed has no effect anywhere: not in a task that it started and that runs on, and not where
    replays are closed in another order than they were opened in.
    """

    def __init__(self) -> None:
        self._here: ContextVar[Chain | None] = ContextVar("fluxloop_replay", default=None)
        self._everywhere: Chain | None = None
        """Answers calls outside the context of any other replay, such as those of threads that a test starts."""

    def get(self) -> Answerer | None:
        """Return the replay that answers the calls of this context."""
        here = self._here.get()
        if here is None and self._everywhere is None:
            return None
        found = _still_open(here) or _still_open(self._everywhere)
        return found[0].replay if found is not None else None

    def close(self, opened: Opened) -> None:
        """Let *opened* answer no more calls."""
        opened.close()
        self.pause(opened)

    def resume(self, opened: Opened) -> None:
        """Let *opened* answer the calls of this context, which may be another one than before, or of the process."""
        if opened.is_for_process:
            self._everywhere = opened, _still_open(self._everywhere)
        else:
            self._here.set((opened, _still_open(self._here.get())))

    def pause(self, opened: Opened) -> None:
        """Let *opened* answer no calls of this context until `resume`."""
        if opened.is_for_process:
            if self._everywhere is not None and self._everywhere[0] is opened:
                self._everywhere = _still_open(self._everywhere[1])
        elif (here := self._here.get()) is not None and here[0] is opened:
            self._here.set(_still_open(here[1]))


def _still_open(chain: Chain | None) -> Chain | None:
    while chain is not None and not chain[0].is_open:
        chain = chain[1]
    return chain


replaying = OpenReplay()
"""The open replay."""
