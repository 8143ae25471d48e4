"""
Answers: the recorded outcomes of calls, as values, streams and exceptions.
"""

from __future__ import annotations

import re
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..encoding.typed import NotImportedError, UntypedError, class_named, is_cut, untyped
from ..encoding.typed_errors import built_error
from ..enums import Status
from ..errors import ReplayedError, ReplayError, ReplayMismatch
from ..tracing.recorder import NOTHING

if TYPE_CHECKING:
    from ..models import ObservationData


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
    fail: Callable[[str], Exception] = ReplayMismatch
    """Notes that the recording lacks what is asked for, and returns the error to raise."""
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
        if "error" in self.whole and not is_cut(self.whole["error"]):
            with suppress(UntypedError):
                return built_error(self.whole["error"])
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

    @property
    def is_partial(self) -> bool:
        """Whether the recorded program closed the stream before its end."""
        return self.recorded.status is Status.ABANDONED and not self.is_given

    def _check_end(self, count: int) -> None:
        """Raise what the recorded stream raised after *count* items, or if the recorded program read no more."""
        if (error := self.error()) is not None:
            raise error
        if self.is_partial:
            raise self._no_more(count, "was closed by the program")

    def _no_more(self, count: int, end: str) -> Exception:
        what = f"the stream of {self.recorded.type.name} {self.recorded.name!r}"
        return self.fail(
            f"{what} {end} after {count} items when it was recorded, so the items after them are not known. Record the "
            "run again"
        )

    def play(self, items: list[Any]) -> Iterator[Any]:
        """Yield *items* at their pace; then raise the recorded error, if there is one."""
        started = time.perf_counter()
        for item, due in zip(items, self.offsets_s(len(items)), strict=True):
            if (left := started + due - time.perf_counter()) > 0 and due:
                time.sleep(left)
            yield item
        self._check_end(len(items))

    async def aplay(self, items: list[Any]) -> AsyncIterator[Any]:
        """As `play`, for async streams."""
        from asyncio import sleep

        started = time.perf_counter()
        for item, due in zip(items, self.offsets_s(len(items)), strict=True):
            if (left := started + due - time.perf_counter()) > 0 and due:
                await sleep(left)
            yield item
        if self.recorded.status is Status.CANCELLED and not self.is_given:
            await self.await_()
            raise self._no_more(len(items), "was cancelled")
        self._check_end(len(items))

    def _built(self, encoded: Any) -> Any:
        try:
            return untyped(encoded)
        except UntypedError as missing:
            is_there = isinstance(missing, NotImportedError)
            raise ReplayError(
                f"the answer of {self.recorded.type.name} {self.recorded.name!r} is an object of {missing}, "
                f"{'whose module is not imported' if is_there else 'which cannot be built here'}: "
                f"{_IMPORT_IT if is_there else 'install the package that has the class, or record the call again'}"
            ) from None


_IMPORT_IT = "import it before the replay, as a recording imports no module of the program"


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
