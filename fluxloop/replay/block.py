"""
`replay`: a block, sync or async, or a decorator, whose calls are answered from a recording.
"""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import aclosing, suppress
from functools import wraps
from typing import Any, Self

from ..answering import Opened, close_seams, load_adapters, open_seams, replaying
from ..client import default
from ..errors import ReplayError, ReplayMismatch
from ..models import ObservationData, Trace
from ..report import warn_user
from ..tracing.calls import interceptors
from ..tracing.generators import drive_async_generator, drive_generator
from ..tracing.manual import on_manual_end
from ..tracing.observation import on_start
from ..tracing.propagation import current
from ..tracing.recorder import NOTHING
from . import functions
from .canonical import Normalize
from .forks import Fork, Rest, check_change, check_rest, place_at
from .live import check_live
from .matching import MODES, Match, Matching
from .recording import Place, tree_of
from .reports import ReplayReport
from .session import Session, check_pace, described
from .sources import Recorded, traces_in
from .unmasking import Secrets, check_secrets


class Block(ABC):
    """A block for ``with`` and ``async with``; as a decorator, it opens a new block for each call."""

    @abstractmethod
    def __enter__(self) -> Self: ...

    @abstractmethod
    def __exit__(self, kind: object, exc: BaseException | None, traceback: object) -> None: ...

    @abstractmethod
    def _again(self) -> Self:
        """Return another block like this one, which is not open."""

    def _around(self, body: Any) -> tuple[_Stream, Any]:
        """Open the block for the generator *body*; return what `drive_generator` needs."""
        self.__enter__()
        self._pause()
        return _Stream(self), body

    @abstractmethod
    def _pause(self) -> None:
        """Have no effect on the consumer of a generator, which runs between two items, until `_resume`."""

    @abstractmethod
    def _resume(self) -> None:
        """Have effect again, on the code of a generator."""

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(self, kind: object, exc: BaseException | None, traceback: object) -> None:
        self.__exit__(kind, exc, traceback)

    def __call__(self, func: Callable[..., Any]) -> Callable[..., Any]:
        """Return *func* with each call in a block of its own; a function of any call shape."""
        wrapper: Any
        if inspect.isasyncgenfunction(func):

            async def wrapper(*args: Any, **kwargs: Any) -> Any:
                stream = drive_async_generator(None, lambda: self._again()._around(func(*args, **kwargs)))
                async with aclosing(stream):
                    async for item in stream:
                        yield item

        elif inspect.isgeneratorfunction(func):

            def wrapper(*args: Any, **kwargs: Any) -> Any:
                return (yield from drive_generator(None, lambda: self._again()._around(func(*args, **kwargs))))

        elif inspect.iscoroutinefunction(func):

            async def wrapper(*args: Any, **kwargs: Any) -> Any:
                async with self._again():
                    return await func(*args, **kwargs)

        else:

            def wrapper(*args: Any, **kwargs: Any) -> Any:
                with self._again():
                    return func(*args, **kwargs)

        return wraps(func)(wrapper)


class _Stream:
    """A block that is open while the code of a generator runs, see `fluxloop.tracing.generators.Followed`."""

    def __init__(self, block: Block) -> None:
        self._block = block
        self._is_open = True
        self.resume, self.pause = block._resume, block._pause

    def on_item(self, item: Any) -> Any:
        return item

    def exhausted(self, value: Any, closed: bool = False) -> Any:
        self._end(GeneratorExit() if closed else None)
        return value

    def raised(self, exc: BaseException) -> None:
        self.pause()
        self._end(exc)

    failed = raised
    succeeded = exhausted

    def dropped(self) -> None:
        self._end(GeneratorExit())

    def _end(self, exc: BaseException | None) -> None:
        if self._is_open:
            self._is_open = False
            self._block.__exit__(None if exc is None else type(exc), exc, None)


class Replay(Block):
    """
    A block whose calls are answered from a recording; see `replay`.

    It can be entered once with ``with`` or ``async with``. As a decorator, it opens a new block for each call.
    """

    _is_entered = False

    def __init__(self, traces: Sequence[Trace], options: dict[str, Any], match: Match) -> None:
        self._traces = traces
        self._options = options
        self._match = match
        self._session: Session | None = None
        self._opened: Opened | None = None
        self.warns = True
        """Whether it warns at its end of what it did not see."""

    def __enter__(self) -> Self:
        if self._session is not None:
            raise ReplayError("a replay can be opened once: call fluxloop.replay again for another block")
        if not default.switch.on:
            raise ReplayError("nothing is recorded here (enabled is False), so no call can be answered: enable it")
        tree = tree_of(self._traces)
        self._session = Session(
            Matching(tree, self._match, self._options["normalize"], current()),
            live=self._options["live"],
            pace=self._options["pace"],
            is_open_ended=self._options.get("is_open_ended", False),
            fork=self._fork(tree),
            secrets=self._options.get("secrets") or {},
        )
        load_adapters()
        try:
            self._is_entered = True
            open_seams(self)
            for callbacks, own in _CALLBACKS:
                if own not in callbacks:
                    callbacks.append(own)
            is_for_process = self._options.get("everywhere", False)
            self._opened = Opened(self._session, self, is_for_process=is_for_process)
            replaying.resume(self._opened)
        except BaseException:  # a signal handler raised
            self._close()
            raise
        return self

    def __exit__(self, kind: object, exc: BaseException | None, traceback: object) -> None:
        assert self._session is not None
        try:
            self._close()
        except BaseException:  # a signal handler raised
            self._close()
            raise
        misses = self._session.misses
        if exc is None and not misses and self.warns:
            self._report_unseen()
        if misses and not isinstance(exc, ReplayMismatch) and (exc is None or isinstance(exc, Exception)):
            raise misses[0] from exc
        fork = self._session.fork
        if exc is None and fork is not None and not fork.is_reached:
            step = described(fork.at.observation)
            raise ReplayMismatch(
                f"the run did not reach the step of the fork: {step}. Replay without fork_at to see why"
            )
        if exc is None and self._match == "strict" and not self._session.is_open_ended and (left := self.unused):
            raise ReplayMismatch(_unused_message(left))

    def __del__(self) -> None:
        if self._is_entered:  # a signal handler has raised just before `__exit__` began
            self._close()

    def _close(self) -> None:
        try:
            if self._opened is not None:
                replaying.close(self._opened)
        finally:
            close_seams(self)
            _forget_callbacks()
            self._is_entered = False

    def _pause(self) -> None:
        if self._opened is not None:
            replaying.pause(self._opened)

    def _resume(self) -> None:
        if self._opened is not None:
            replaying.resume(self._opened)

    def _report_unseen(self) -> None:
        """Warn of names in ``live`` that no call has, and if no call was seen: the calls may have run for real."""
        session = self.session
        if unknown := session.unknown_live():
            warn_user(f"replay: {unknown}")
        if not (session.hits or session.ran_live) and self._match != "strict" and (left := self.unused):
            warn_user(
                f"replay: no call was seen, and {len(left)} recorded answers were not used: if the program made its "
                "calls, they ran for real. Open a trace, and install the adapter of the framework, see fluxloop.install"
            )

    def _fork(self, tree: Place) -> Fork | None:
        step = self._options.get("fork_at")
        if step is None:
            return None
        at, trace_id = place_at(tree, step)
        return Fork(at, trace_id, self._options["output"], self._options["change"], self._options["rest"])

    def _again(self) -> Self:
        return type(self)(self._traces, self._options, self._match)

    @property
    def traces(self) -> Sequence[Trace]:
        """The recorded traces."""
        return self._traces

    @property
    def session(self) -> Session:
        """The state of the block."""
        if self._session is None:
            raise ReplayError("the replay is not open: use it in a with statement")
        return self._session

    @property
    def unused(self) -> list[ObservationData]:
        """The recorded calls that nothing asked for so far."""
        return self.session.unused()

    @property
    def misses(self) -> list[ReplayMismatch]:
        """The calls that had no answer so far, also those whose error a framework swallowed."""
        return list(self.session.misses)

    def report(self) -> ReplayReport:
        """Return hits, misses, live calls, unused answers, the first divergence and the digest so far."""
        return self.session.report()


def replay(
    source: Recorded,
    *,
    trace_id: str | None = None,
    match: Match = "strict",
    live: str | Sequence[str] = (),
    pace: str | float | None = None,
    normalize: Normalize | None = None,
    secrets: Secrets | None = None,
    fork_at: str | None = None,
    output: Any = NOTHING,
    input: Any = NOTHING,
    model: Any = None,
    rest: Rest = "live",
) -> Replay:
    """
    Answer the model and tool calls of a block from a recording: with ``with``, ``async with``, or as a decorator.

    The block is its own context and what it starts there: tasks, and threads that carry the context. Other code of the
    process is not affected. A call without an answer raises `ReplayMismatch`, also at the end of the block if a
    framework swallowed it; it never runs for real.

    Args:
        source: A record file, a folder, the address of a server, a `Trace`, or several traces.
        trace_id: The trace to replay, or the beginning or end of its id; by default all traces of *source*.
        match: ``strict``: the same calls with the same inputs, in the same order under each parent. ``fifo``: calls of
            one name in the recorded order, whatever their inputs. ``loose``: the most similar input among calls of one
            name, in any order.
        live: Names of calls that run for real, or ``tools``, ``models``.
        pace: ``"recorded"``, or a factor of the recorded time, for the timing of answers and of items of streams.
        normalize: A function that is applied to the input of each call before inputs are compared.
        secrets: Secrets that are put back into answers in which they were masked, by the name of the member that has
            the mask, or by the name of the call; for its whole answer. The recording stays masked.
        fork_at: The id of a recorded call, or its beginning or end. The calls before it are answered; it gets one of
            the changes below, or runs again without a change; the run continues as *rest* says. The resulting trace
            has ``forked_from`` in its metadata.
        output: The outcome of the step of the fork: a value, or an exception to raise.
        input: The input with which it runs for real: as recorded, or a mapping of the arguments to change.
        model: The model with which it runs for real: a name, a model object of its framework, or a function with the
            same arguments.
        rest: The calls after a fork. ``live``: they run for real. ``recorded``: those that the recording has with the
            same input are answered, others run for real. ``offline``: as recorded, but other calls raise
            `ReplayMismatch`.

    Raises:
        ReadError: If *source* cannot be read.
        ReplayError: If the trace was not found, or an option has an invalid value; when the block is entered, if
            the step does not exist.
    """
    if match not in MODES:
        raise ReplayError(f"match must be one of {', '.join(MODES)}, got {match!r:.100}")
    change = check_change(fork_at, output, input, model)
    options: dict[str, Any] = {"live": check_live(live), "pace": check_pace(pace), "normalize": normalize}
    options |= {"secrets": check_secrets(secrets)}
    options |= {"fork_at": fork_at, "output": output, "change": change, "rest": check_rest(rest)}
    return Replay(traces_in(source, trace_id), options, match)


_CALLBACKS: tuple[tuple[list[Any], Any], ...] = (
    (interceptors, functions.answer),
    (on_start, functions.note_start),
    (on_manual_end, functions.note_manual),
)
"""What replays add to the recorder while one is open, and where."""


def _forget_callbacks() -> None:
    from ..answering import seams_open

    if not seams_open():
        for callbacks, own in _CALLBACKS:
            with suppress(ValueError):  # a signal handler raised before it was added, or another thread removed it
                callbacks.remove(own)


def _unused_message(left: list[ObservationData]) -> str:
    shown = "\n".join(f"  {described(one)}" for one in left[:5])
    more = f"\n  … {len(left) - 5} more" if len(left) > 5 else ""
    return f"{len(left)} recorded calls were not made:\n{shown}{more}\n  With match='fifo' or 'loose' they are allowed"
