"""Exceptions raised into FluxLoop's code from outside reach the program, and leave nothing half-recorded."""

from __future__ import annotations

import ctypes
import functools
import gc
import os
import random
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import fluxloop
from fluxloop.enums import Status
from fluxloop.interruptions import was_raised_from_outside
from fluxloop.storage import MemoryStorage
from fluxloop.tracing.propagation import _current

SEED = int(os.environ.get("FLUXLOOP_TEST_SEED") or random.SystemRandom().randrange(10**9))


pytestmark = pytest.mark.usefixtures("without_coverage")


class TimeLimitError(Exception):
    """As Celery's SoftTimeLimitExceeded and RQ's JobTimeoutException are: an Exception that a worker raises."""


@fluxloop.tool
def step(value: object) -> object:
    return value


@fluxloop.agent
def plain(value: object) -> object:
    return step(value)


@fluxloop.agent
def generator(value: object) -> Any:
    yield step(value)


@fluxloop.agent
async def coroutine(value: object) -> object:
    return step(value)


@fluxloop.agent
async def async_generator(value: object) -> Any:
    yield step(value)


def _run(awaitable: Any) -> object:
    """Run what never waits, without an event loop: an exception in the loop's own code could leave that waiting."""
    try:
        awaitable.send(None)
    except StopIteration as stop:
        return stop.value
    raise AssertionError("it waits")


def _drain(value: object) -> None:
    stream = async_generator(value)
    try:
        while True:
            _run(stream.__anext__())
    except StopAsyncIteration:
        pass


def _scope(value: object) -> None:
    with fluxloop.instrument("scope"), fluxloop.observe("inside") as obs:
        obs.output = value


SHAPES: dict[str, Callable[[object], object]] = {
    "plain": plain,
    "generator": lambda value: list(generator(value)),
    "coroutine": lambda value: _run(coroutine(value)),
    "async generator": _drain,
    "scope": _scope,
}


@pytest.fixture
def memory() -> MemoryStorage:
    """Record into memory, through the encoder and redaction as usual."""
    storage = MemoryStorage()
    fluxloop.configure(storage=storage)
    return storage


@pytest.fixture(autouse=True)
def no_collection() -> Iterator[None]:
    """Collect no garbage: Python drops an exception raised in a collector's callback, such as hypothesis's."""
    gc.disable()
    yield
    gc.enable()


needs_alarm = pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs POSIX timers")


@needs_alarm
@pytest.mark.filterwarnings(
    "ignore:coroutine .* was never awaited",
    "ignore:Exception ignored in. <coroutine:pytest.PytestUnraisableExceptionWarning",
)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("error", [TimeLimitError, TimeoutError, KeyboardInterrupt])
def test_an_exception_of_a_signal_handler_reaches_the_program(memory, shape, error):
    """Of many alarms that go off at random moments, most of them in FluxLoop's own code, none vanishes."""
    rng, dropped = random.Random(SEED), fluxloop.report().dropped
    SHAPES[shape]("first")  # what is imported with the first call is not interrupted
    raised = 0

    def on_alarm(signum: int, frame: object) -> None:
        nonlocal raised
        raised += 1
        raise error("too slow")

    before = signal.signal(signal.SIGALRM, on_alarm)
    caught = 0
    try:
        for _ in range(60):
            try:
                signal.setitimer(signal.ITIMER_REAL, rng.uniform(0.0002, 0.004))
                deadline = time.monotonic() + 0.1
                while time.monotonic() < deadline:  # far longer than any alarm takes
                    SHAPES[shape]({"some": ["value"] * 20})
            except error:
                caught += 1
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)
            if shape == "scope":  # Python itself may be interrupted between a block's __enter__ and its body
                _current.set(None)
            assert _current.get() is None, f"a dead call stayed current (seed {SEED})"
    finally:
        signal.signal(signal.SIGALRM, before)

    assert caught == raised == 60, f"seed {SEED}"
    assert fluxloop.report().dropped == dropped
    ended = {record["trace_id"] for record in memory.traces()}
    lost = [o for o in memory.observations() if o["trace_id"] not in ended and o.get("parent_id") is None]
    assert lost == [], f"a root ended without its trace (seed {SEED})"


def test_an_exception_injected_into_a_thread_reaches_it(memory):
    """`PyThreadState_SetAsyncExc`, as RQ's timeouts use it, is not taken for a failure of FluxLoop's."""
    outcome: list[str] = []
    started, dropped = threading.Event(), fluxloop.report().dropped

    def work() -> None:
        try:
            started.set()
            deadline = time.monotonic() + 2
            while time.monotonic() < deadline:
                plain(["value"] * 50)
        except TimeLimitError:
            outcome.append("caught")

    for number in range(20):
        thread = threading.Thread(target=work)
        started.clear()
        thread.start()
        started.wait()
        time.sleep(random.Random(SEED + number).uniform(0, 0.003))
        assert ctypes.pythonapi.PyThreadState_SetAsyncExc(
            ctypes.c_ulong(thread.ident or 0), ctypes.py_object(TimeLimitError)
        )
        thread.join(10)
        assert not thread.is_alive(), f"the exception was swallowed (seed {SEED})"

    assert outcome == ["caught"] * 20
    assert fluxloop.report().dropped == dropped


def test_failures_of_what_fluxloop_calls_are_not_from_outside():
    """A redaction hook or a storage of the user's that fails stays a counted failure."""

    class Broken(MemoryStorage):
        def write(self, records: Any) -> None:
            raise NotImplementedError

    fluxloop.configure(storage=Broken())
    before = fluxloop.report().failed
    assert plain(1) == 1

    assert fluxloop.report().failed - before == 3


@pytest.mark.parametrize("make", [ValueError, lambda: KeyError("k"), lambda: OSError(28, "full")])
def test_ordinary_failures_are_told_apart(make):
    """An exception raised in user code, without arguments too, is not one from outside."""
    with pytest.raises(Exception) as raised:  # noqa: PT011 - whatever it is
        raise make()

    assert not was_raised_from_outside(raised.value)


@needs_alarm
def test_a_handler_that_is_a_method_or_a_partial_is_recognised():
    """Whatever callable is installed as the handler, its frame marks the exception."""

    class Limit:
        def on_alarm(self, signum: int, frame: object) -> None:
            raise TimeLimitError("method")

        def __call__(self, signum: int, frame: object) -> None:
            raise TimeLimitError("callable")

    import functools

    recognised: list[bool] = []
    for handler in (Limit().on_alarm, Limit(), functools.partial(Limit.on_alarm, Limit())):
        before = signal.signal(signal.SIGUSR1, handler)
        try:
            os.kill(os.getpid(), signal.SIGUSR1)
            pytest.fail("the handler did not run")
        except TimeLimitError as exc:
            recognised.append(was_raised_from_outside(exc))
        finally:
            signal.signal(signal.SIGUSR1, before)

    assert recognised == [True] * 3


def test_an_interrupted_end_is_still_written(memory, monkeypatch):
    """Ctrl-C while a record is being written: the record is there, and the exception goes on."""
    original = memory.write
    calls = []

    def interrupted(records: Any) -> None:
        calls.append(records)
        if len(calls) == 1:
            raise KeyboardInterrupt
        original(records)

    monkeypatch.setattr(memory, "write", interrupted)
    with pytest.raises(KeyboardInterrupt), fluxloop.instrument("run"):
        step(1)

    assert [record["name"] for record in memory.observations()] == ["step", "run"]
    assert [record["status"] for record in memory.traces()] == [Status.CANCELLED.value]
    assert sys.exc_info() == (None, None, None)


def test_an_exception_injected_into_generated_code_comes_from_outside():
    """The functions that bind arguments, named tuples and dataclasses consist of generated code without a file."""
    inject = functools.partial(
        ctypes.pythonapi.PyThreadState_SetAsyncExc,
        ctypes.c_ulong(threading.get_ident()),
        ctypes.py_object(TimeLimitError),
    )
    namespace: dict[str, Any] = {"inject": inject}
    exec("def bind():\n    inject()\n    return 1", namespace)

    with pytest.raises(TimeLimitError) as caught:
        namespace["bind"]()

    assert caught.traceback[-1].frame.code.raw.co_filename == "<string>"
    assert was_raised_from_outside(caught.value)
