"""
Calls that are answered from a recording instead of being made: what adapters need for that.

An open replay is the value of one context variable, so it holds for a block and for what the block starts. The methods
of frameworks are replaced only while a replay is open anywhere: an adapter registers a `Seam` that replaces them and
restores them. Inside, it calls `ask` with the observation of a call, and returns what the `Answer` has.
"""

from __future__ import annotations

import re
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

import orjson

from ..encoding.typed import UntypedError, class_named, untyped
from ..enums import ObservationType, Status
from ..errors import ReplayedError, ReplayError
from ..tracing.node import Node
from ..tracing.observation import OpenObservation
from ..tracing.recorder import NOTHING
from ..tracing.trace import UncountedMarks
from .changes import UNCHANGED, Change, change_next, take_change
from .seams import ClassMethodsSeam, Seam, close_seams, load_adapters, open_seams, register_seam, seams_open

if TYPE_CHECKING:
    from ..models import ObservationData

__all__ = [
    "UNCHANGED",
    "Answer",
    "Answerer",
    "Change",
    "ClassMethodsSeam",
    "Question",
    "Seam",
    "as_recorded",
    "ask",
    "ask_for",
    "change_next",
    "close_seams",
    "exception_of",
    "load_adapters",
    "open_seams",
    "question_of",
    "register_seam",
    "replaying",
    "seams_open",
    "take_change",
]


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
    """A replay that was opened, until it is closed."""

    __slots__ = ("is_for_process", "is_open", "replay")

    def __init__(self, replay: Answerer, is_for_process: bool) -> None:
        self.replay = replay
        self.is_for_process = is_for_process
        self.is_open = True


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

    def open(self, replay: Answerer, *, is_for_process: bool = False) -> Opened:
        """Let *replay* answer the calls of this context, or of the whole process, until it is closed."""
        opened = Opened(replay, is_for_process)
        self.resume(opened)
        return opened

    def close(self, opened: Opened) -> None:
        """Let *opened* answer no more calls."""
        opened.is_open = False
        self.pause(opened)

    def resume(self, opened: Opened) -> None:
        """Let *opened* answer the calls of this context, which may be another one than before."""
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


def ask(node: Node | None, *, given: object = NOTHING) -> Answer | None:
    """
    Return the recorded answer of the call that *node* records; None if no replay is open here, or the call is to run.

    Args:
        node: The observation of the call.
        given: Its input, if the observation has none yet.

    Raises:
        ReplayMismatch: If the recording has no answer for the call.
    """
    replay = replaying.get()
    if replay is None or not isinstance(observation := getattr(node, "observation", node), OpenObservation):
        return None
    question = question_of(observation)
    if given is not NOTHING and question.input is None:
        question = replace(question, input=as_recorded(given, observation))
    return replay.ask(question)


def ask_for(observation_type: ObservationType, name: str, inputs: list[Any], parent: Node | None) -> Answer | None:
    """
    Return the recorded answer of a call whose observation starts later; see `ask`.

    Args:
        observation_type: The type of the observation.
        name: Its name.
        inputs: The input, in the forms in which it may have been recorded.
        parent: The observation around it.
    """
    replay = replaying.get()
    if replay is None:
        return None
    first, *others = (as_recorded(each, parent) for each in inputs)
    return replay.ask(Question(observation_type, name, first, parent, others=tuple(others)))


def as_recorded(value: object, node: Node | None) -> Any:
    """Return *value* as JSON, with secrets masked as in the records of the trace of *node*."""
    if node is None:
        return value
    return orjson.loads(node.trace.recorder.encode(value, UncountedMarks()))


def question_of(observation: OpenObservation) -> Question:
    """Return the question that the call of *observation* asks."""
    label = orjson.loads(f"{{{observation.label}}}")
    given = orjson.loads(b"{" + observation.input[1:] + b"}")["input"] if observation.input else None
    key = observation.trace.id, observation.id
    return Question(ObservationType(label["type"]), label["name"], given, observation.parent, key, node=observation)


CANCELLED_S = 1.0
"""How much longer than recorded a cancelled call waits to be cancelled, in seconds; then it raises CancelledError."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The recorded outcome of a call."""

    recorded: ObservationData
    pace: float | None = None
    """The share of the recorded time that the answer takes; None for no time."""
    events: tuple[ObservationData, ...] = ()
    """The points in time recorded in the call, such as interrupts."""
    given: Any = NOTHING
    """The outcome that a fork gives the call in place of the recorded one; an exception is raised."""

    @property
    def is_given(self) -> bool:
        """Whether a fork gives the outcome."""
        return self.given is not NOTHING

    @property
    def whole(self) -> Any:
        """What ``replayable=True`` recorded beside the output; empty without it."""
        found = self.recorded.metadata.get("replay")
        return found if isinstance(found, dict) else {}

    @property
    def stream(self) -> dict[str, Any]:
        """The metadata of the recorded stream; empty if the call did not stream."""
        found = self.recorded.metadata.get("stream")
        return found if isinstance(found, dict) else {}

    @property
    def is_stream(self) -> bool:
        """Whether the recorded call streamed."""
        return bool(self.stream) or "items" in self.whole

    def error(self) -> BaseException | None:
        """Return the recorded exception, of the same class where that can be imported; None if there was none."""
        if self.is_given:
            return self.given if isinstance(self.given, BaseException) else None
        recorded = self.recorded
        if recorded.status in (Status.SUCCESS, Status.ABANDONED, Status.INTERRUPTED) or (
            recorded.error is None and recorded.status is not Status.CANCELLED
        ):
            return None
        name = recorded.metadata.get("error_type")
        if recorded.status is Status.CANCELLED and name in (None, "CancelledError"):
            from asyncio import CancelledError

            return CancelledError(recorded.error or "")
        path = _path_in(recorded.metadata.get("traceback"), str(name or ""))
        return exception_of(str(name or ""), recorded.error or "", path)

    def value(self) -> Any:
        """
        Return the output as a value of its type, as far as it was recorded.

        Raises:
            ReplayError: If its class cannot be used.
        """
        if self.is_given:
            return self.given
        whole = self.whole
        return self._built(whole["value"]) if "value" in whole else self.recorded.output

    def items(self) -> list[Any]:
        """Return the items of the recorded stream."""
        if self.is_given:
            return list(self.given) if isinstance(self.given, list | tuple) else [self.given]
        whole = self.whole
        if isinstance(whole.get("items"), list):
            return [self._built(item) for item in whole["items"]]
        items = self.stream.get("items")
        if items is None and isinstance(self.recorded.output, list):
            items = self.recorded.output
        if items is None and self.recorded.output is not None:
            items = [self.recorded.output]
        return items or []

    def offsets_s(self, count: int) -> Iterator[float]:
        """Yield when each of *count* items is due after the start, in seconds; zero without a pace."""
        found = self.stream.get("offsets_ms")
        offsets = found if self.pace and isinstance(found, list) else []
        for index in range(count):
            offset = offsets[index] if index < len(offsets) else None
            yield offset / 1_000 * (self.pace or 0) if isinstance(offset, int | float) else 0.0

    def wait(self) -> None:
        """Wait as long as the recorded call took, times the pace."""
        if self.pace and self.recorded.duration_ms:
            time.sleep(self.recorded.duration_ms / 1_000 * self.pace)

    async def await_(self) -> None:
        """
        Wait as long as the recorded call took, times the pace.

        A call that was cancelled waits until it is cancelled again, as by a timeout of the program.
        """
        from asyncio import sleep

        if self.recorded.status is Status.CANCELLED and not self.is_given:
            await sleep((self.recorded.duration_ms or 0) / 1_000 * 1.5 + CANCELLED_S)
        elif self.pace and self.recorded.duration_ms:
            await sleep(self.recorded.duration_ms / 1_000 * self.pace)

    def play(self, items: list[Any]) -> Iterator[Any]:
        """Yield *items* at their pace; then raise the recorded error, if there is one."""
        started = time.perf_counter()
        for item, due in zip(items, self.offsets_s(len(items)), strict=True):
            if (left := started + due - time.perf_counter()) > 0 and due:
                time.sleep(left)
            yield item
        if (error := self.error()) is not None:
            raise error

    async def aplay(self, items: list[Any]) -> AsyncIterator[Any]:
        """As `play`, for async streams."""
        from asyncio import sleep

        started = time.perf_counter()
        for item, due in zip(items, self.offsets_s(len(items)), strict=True):
            if (left := started + due - time.perf_counter()) > 0 and due:
                await sleep(left)
            yield item
        if (error := self.error()) is not None:
            raise error

    def _built(self, encoded: Any) -> Any:
        try:
            return untyped(encoded)
        except UntypedError as missing:
            raise ReplayError(
                f"the answer of {self.recorded.type.name} {self.recorded.name!r} is an object of {missing}, which "
                "cannot be built here: install the package that has the class, or record the call again"
            ) from None


def exception_of(name: str, text: str, path: str | None = None) -> BaseException:
    """
    Return an exception of the class *name* with *text*; a `ReplayedError` if the class is not found.

    Args:
        name: The name of the class.
        text: The text of the exception.
        path: ``module.Name`` of the class, if it is known. It is looked up only if its package is loaded.
    """
    module, _, last = (path or f"builtins.{name}").rpartition(".")
    for candidate in (f"{module or 'builtins'}:{last}", f"builtins:{name}", f"__main__:{name}"):
        if candidate.partition(".")[0].partition(":")[0] not in sys.modules:
            continue  # a text must not decide which packages are imported
        try:
            kind = class_named(candidate)
        except Exception:  # the module has no such class, or cannot be imported
            continue
        if issubclass(kind, BaseException) and (found := _instance(kind, text)) is not None:
            error: BaseException = found
            return error
    return ReplayedError(text, name)


def _path_in(traceback: object, name: str) -> str | None:
    """Return ``module.Name`` of the exception *name* from the text of its traceback; None if it is not there."""
    found = re.findall(rf"^([\w.]*\b{re.escape(name)})(?::|$)", str(traceback or ""), re.MULTILINE) if name else []
    return found[-1] if found else None


def _instance(kind: Any, text: str) -> Any:
    """Return an exception of *kind* with *text*; without running its constructor if that wants other arguments."""
    message = text.removeprefix(f"{kind.__name__}: ")
    try:
        made = kind(message)
        if str(made) == message:
            return made
    except Exception:
        made = None
    try:
        made = BaseException.__new__(kind, message)
        made.args = (message,)
        made.__dict__.setdefault("message", message)
        return made if str(made) is not None else None
    except Exception:
        return None
