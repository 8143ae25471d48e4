"""Honest endings: success, error, cancelled, abandoned, and nothing else."""

from __future__ import annotations

import asyncio
import gc
import signal
from collections.abc import AsyncGenerator
from typing import Any, NoReturn

import pytest

import fluxloop
from fluxloop.enums import Status
from fluxloop.testing import capture
from fluxloop.tracing.outcomes import MAX_FRAMES, register_ending


def only(captured: Any) -> Any:
    (trace,) = captured.traces()
    return trace


def test_an_exception_is_an_error_with_its_class_and_traceback():
    """Message, class and traceback, without FluxLoop's frames, are stored on the observation and the trace."""

    @fluxloop.agent
    def fails() -> None:
        raise ValueError("boom")

    with capture() as captured, pytest.raises(ValueError, match="boom"):
        fails()

    trace = only(captured)
    (root,) = trace.observations
    assert (trace.status, trace.error) == (Status.ERROR, "boom")
    assert (root.status, root.level.name, root.error) == (Status.ERROR, "ERROR", "boom")
    assert root.metadata["error_type"] == "ValueError"
    assert 'raise ValueError("boom")' in root.metadata["traceback"]
    assert "wrapping.py" not in root.metadata["traceback"]


def test_of_an_exception_that_is_raised_again_and_again_a_bounded_traceback_is_told():
    """
    Each time Python adds the frames it passes, those of the latest time first; reading all would take ever longer.
    """
    always = ValueError("again")

    @fluxloop.agent
    def fails() -> None:
        raise always

    for _ in range(MAX_FRAMES):
        with pytest.raises(ValueError, match="again"):
            fails()
    with capture() as captured, pytest.raises(ValueError, match="again"):
        fails()
    text = only(captured).observations[0].metadata["traceback"]

    assert text.splitlines()[-1] == f"(traceback truncated to {MAX_FRAMES} frames)"
    assert text.count("in fails") <= MAX_FRAMES


@pytest.mark.parametrize(
    ("exc", "ending"),
    [
        (KeyboardInterrupt(), "cancelled"),
        (SystemExit(3), "cancelled: 3"),
        (asyncio.CancelledError("shutting down"), "cancelled: shutting down"),
        (
            BaseExceptionGroup("both", [KeyboardInterrupt(), asyncio.CancelledError()]),
            "cancelled: both (2 sub-exceptions)",
        ),
    ],
)
def test_interrupts_exits_and_cancellations_are_cancelled(exc, ending):
    """They are neither errors nor successes; class and text are kept."""

    @fluxloop.agent
    def stopped() -> None:
        raise exc

    with capture() as captured, pytest.raises(type(exc)):
        stopped()

    assert captured.outline() == f"AGENT stopped [{ending}]"
    assert only(captured).observations[0].level.name == "INFO"
    assert only(captured).observations[0].metadata["error_type"] == type(exc).__name__


class RustPanic(BaseException):
    """As `pyo3_runtime.PanicException` is: derived from BaseException, and not a cancellation."""


@pytest.mark.parametrize(
    "exc",
    [
        RustPanic("index out of bounds"),
        BaseExceptionGroup("several", [ValueError("bad"), KeyboardInterrupt()]),
        pytest.fail.Exception("wrong answer"),
    ],
)
def test_other_base_exceptions_are_errors(exc):
    """A failure that derives from BaseException has its class, its text and its traceback."""

    @fluxloop.agent
    def fails() -> None:
        raise exc

    with capture() as captured, pytest.raises(type(exc)):
        fails()

    root = only(captured).observations[0]
    assert (root.status, root.level.name, root.error) == (Status.ERROR, "ERROR", str(exc))
    assert root.metadata["error_type"] == type(exc).__name__
    assert "fails" in root.metadata["traceback"]


def test_a_cancelled_task_ends_its_observations_as_cancelled():
    """Task cancellation reaches every open observation of the task."""

    @fluxloop.tool
    async def wait() -> None:
        await asyncio.sleep(60)

    @fluxloop.agent
    async def agent() -> None:
        await wait()

    async def main() -> None:
        task = asyncio.create_task(agent())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    with capture() as captured:
        asyncio.run(main())

    assert captured.outline() == "AGENT agent [cancelled]\n  TOOL wait [cancelled]"


def test_a_timeout_cancels_inside_and_fails_outside():
    """What timed out was cancelled; who waited for it got an error."""

    @fluxloop.tool
    async def slow() -> None:
        await asyncio.sleep(60)

    @fluxloop.agent
    async def agent() -> None:
        async with asyncio.timeout(0.01):
            await slow()

    with capture() as captured, pytest.raises(TimeoutError):
        asyncio.run(agent())

    assert captured.outline() == "AGENT agent [error: TimeoutError]\n  TOOL slow [cancelled]"


def test_a_registered_exception_ends_as_its_framework_means_it():
    """Control flow of a framework is not an error, and neither are its subclasses."""

    class PauseError(Exception):
        pass

    class LongPauseError(PauseError):
        pass

    register_ending(PauseError, Status.INTERRUPTED)

    @fluxloop.agent
    def agent() -> None:
        raise LongPauseError("waiting for a human")

    with capture() as captured, pytest.raises(LongPauseError):
        agent()

    assert captured.outline() == "AGENT agent [interrupted]"


def test_the_message_of_a_hostile_exception_is_its_class():
    """An exception whose `__str__` raises is recorded, and raised."""

    class HostileError(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no text for you")

    @fluxloop.agent
    def agent() -> None:
        raise HostileError

    with capture() as captured, pytest.raises(HostileError):
        agent()

    assert captured.outline() == "AGENT agent [error: HostileError]"


def test_an_unawaited_coroutine_records_nothing_and_a_closed_one_is_abandoned():
    """What never ran did not happen; what was closed half-way was abandoned."""

    @fluxloop.agent
    async def agent() -> None:
        await asyncio.sleep(0)

    with capture() as captured:
        never = agent()
        never.close()
        half = agent()
        half.send(None)
        half.close()
        del never, half
        gc.collect()

    assert captured.outline() == "AGENT agent [abandoned]"


def test_an_outline_has_a_line_per_observation_also_where_an_error_has_several():
    """Of a message of several lines the outline shows the first, and that there is more."""

    @fluxloop.agent
    def fails() -> None:
        raise ValueError("one\ntwo")

    with capture() as captured, pytest.raises(ValueError, match="one"):
        fails()

    assert captured.outline() == "AGENT fails [error: one …]"


async def test_a_stream_whose_source_was_closed_first_is_abandoned_all_the_same():
    """A loop that shuts down closes every generator there is, in any order; what is closed twice says nothing."""

    async def words() -> AsyncGenerator[str]:
        for word in ("Hel", "lo"):
            yield word

    source = words()

    @fluxloop.agent
    def answer() -> AsyncGenerator[str]:
        return source

    with capture() as captured:
        stream = answer()
        await anext(stream)
        await source.aclose()
        await stream.aclose()

    assert captured.outline() == "AGENT answer [abandoned] -> 'Hel'"


def test_a_recorded_traceback_has_no_markers():
    """Python underlines expressions in a traceback by code that drops the exceptions of signal handlers."""
    with capture() as captured, pytest.raises(ZeroDivisionError), fluxloop.instrument("run"):
        (1 + 2) / (3 - 3)

    text = captured.traces()[0].observations[0].metadata["traceback"]
    assert "(1 + 2) / (3 - 3)" in text
    assert "^" not in text


def hostile_error(base: type, name: str, raised: BaseException) -> Any:
    """Return a class of exceptions whose attribute or method *name*, or attribute of a metaclass, raises *raised*."""

    def fail(*_: object) -> NoReturn:
        raise raised

    if name.startswith("metaclass "):
        meta: Any = type("Meta", (type(base),), {name.removeprefix("metaclass "): property(fail)})
        return meta("HostileError", (base,), {})
    is_method = name in ("__str__", "__repr__", "__getattribute__", "__getattr__", "__bool__", "__eq__")
    return type("HostileError", (base,), {name: fail if is_method else property(fail)})


@pytest.mark.parametrize("raised", [SystemExit(3), KeyboardInterrupt(), asyncio.CancelledError(), ZeroDivisionError()])
@pytest.mark.parametrize(
    "name",
    [
        *("__str__", "__repr__", "__getattribute__", "__getattr__", "__bool__", "__eq__", "__class__", "args"),
        *("__notes__", "__cause__", "__context__", "__suppress_context__", "__traceback__", "__module__", "exceptions"),
        *("metaclass __name__", "metaclass __module__", "metaclass __mro__"),
    ],
)
def test_the_exception_of_the_program_reaches_the_program_whatever_its_class_does(name, raised):
    """Code of an exception's class may raise anything: the caller gets the same exception, recorded as its own."""
    errors = [
        base.__new__(hostile_error(base, name, raised), *args)
        for base, args in ((ValueError, ("a",)), (OSError, ("a",)), (ExceptionGroup, ("a", [ValueError("b")])))
    ]

    def call() -> None:
        raise error

    def stream() -> Any:
        yield 1
        raise error

    async def wait() -> None:
        raise error

    def scope() -> None:
        with fluxloop.observe("scope"):
            raise error

    runs: list[Any] = [
        fluxloop.agent(call),
        lambda: list(fluxloop.agent(stream)()),
        lambda: fluxloop.agent(wait)().send(None),
        fluxloop.agent(scope),
    ]
    with capture(replayable=True) as captured:
        for error in errors:
            for run in runs:
                with pytest.raises(BaseException) as reached:  # noqa: PT011  # the same object, not only its class
                    run()
                assert reached.value is error

    traces = captured.traces()
    assert len(traces) == len(errors) * len(runs)
    assert {trace.status for trace in traces} == {Status.ERROR}


def test_an_exception_from_outside_reaches_the_program_while_a_text_is_read():
    """An exception of a signal handler that interrupts ``__str__`` is meant for the program."""

    class SlowError(Exception):
        def __str__(self) -> str:
            signal.raise_signal(signal.SIGUSR1)
            return "slow"

    def stop(*_: object) -> NoReturn:
        raise KeyboardInterrupt("stop")

    @fluxloop.agent
    def fails() -> None:
        raise SlowError

    before = signal.signal(signal.SIGUSR1, stop)
    try:
        with capture(), pytest.raises(KeyboardInterrupt, match="stop"):
            fails()
    finally:
        signal.signal(signal.SIGUSR1, before)
