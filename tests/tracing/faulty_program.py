"""
A random program that is interrupted, forked, cancelled and abandoned at random, over all call shapes.

    python tests/tracing/faulty_program.py SEED STEPS FOLDER

Every call records the way to it, such as ``["3", "block", "generator"]``: each record shows what it must be under.
The program exits with 1, and says why, if an exception was lost or a finished call stayed current.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import os
import random
import signal
import sys
import threading
import traceback
from collections.abc import AsyncIterator, Callable, Iterator

import fluxloop
from fluxloop.tracing.propagation import _current


class TimeLimitError(Exception):
    """What the alarms raise."""


class InjectedError(Exception):
    """What is injected into threads."""


@fluxloop.agent
def root(way: list[str], rng: random.Random) -> None:
    go_on(way, rng)


@fluxloop.tool
def function(way: list[str], rng: random.Random) -> None:
    go_on(way, rng)


@fluxloop.tool
def generator(way: list[str], rng: random.Random) -> Iterator[int]:
    for number in range(3):
        go_on([*way, str(number)], rng)
        yield number


@fluxloop.tool
async def coroutine(way: list[str], rng: random.Random) -> None:
    go_on(way, rng)
    await asyncio.sleep(0)


@fluxloop.tool
async def async_generator(way: list[str], rng: random.Random) -> AsyncIterator[int]:
    for number in range(3):
        go_on([*way, str(number)], rng)
        await asyncio.sleep(0)
        yield number


def block(way: list[str], rng: random.Random) -> None:
    with fluxloop.instrument("block", metadata={"way": way}), fluxloop.observe("inside", "tool", input={"way": way}):
        go_on(way, rng)


def closed_generator(way: list[str], rng: random.Random) -> None:
    items = generator(way, rng)
    next(items)
    items.close()


def dropped_generator(way: list[str], rng: random.Random) -> None:
    next(generator(way, rng))


def generator_of_a_thread(way: list[str], rng: random.Random) -> None:
    items = generator(way, rng)
    in_thread(lambda: list(items))


def in_copied_context(way: list[str], rng: random.Random) -> None:
    in_thread(fluxloop.copy_context(lambda: function(way, rng)))


def looped(way: list[str], rng: random.Random) -> None:
    """Run a coroutine, an async generator that is left, and a task that is cancelled, where no loop runs yet."""
    if asyncio._get_running_loop() is not None:
        go_on(way, rng)
        return

    async def main() -> None:
        task = asyncio.ensure_future(coroutine([*way, "cancelled"], rng))
        async for number in async_generator([*way, "left"], rng):
            if number == rng.randrange(3):
                break
        await coroutine(way, rng)
        task.cancel()

    asyncio.run(main())


def failing(way: list[str], rng: random.Random) -> None:
    try:
        fluxloop.tool(name="failing")(lambda way: 1 / 0)(way)
    except ZeroDivisionError:
        go_on(way, rng)


def in_thread(call: Callable[[], object]) -> None:
    thread = threading.Thread(target=call)
    thread.start()
    thread.join()


INNER = {
    shape.__name__: shape
    for shape in (
        *(function, block, closed_generator, dropped_generator, generator_of_a_thread),
        *(in_copied_context, looped, failing),
    )
}


PASSING_ON = ("function", "block", "closed_generator", "failing")
"""
The functions in which an exception cannot be lost without FluxLoop: event loops and `threading` lose some, and Python
drops all that are raised in a destructor.
"""


def go_on(way: list[str], rng: random.Random) -> None:
    """Do nothing, or call one or two more functions."""
    if len(way) < 8:
        for _ in range(rng.choice((0, 0, 1, 1, 2))):
            name = rng.choice(PASSING_ON if "interrupted" in way else list(INNER))
            INNER[name]([*way, name], rng)


class Alarms:
    """Raises `TimeLimitError` in the main thread, at most once for each time it is set."""

    def __init__(self) -> None:
        self.raised = 0
        self.stack: list[str] = []
        """Where the last alarm went off."""
        signal.signal(signal.SIGALRM, self._go_off)

    def _go_off(self, signum: int, frame: object) -> None:
        self.raised += 1
        self.stack = traceback.format_stack(frame)
        raise TimeLimitError

    def set(self, delay_s: float) -> None:
        signal.setitimer(signal.ITIMER_REAL, delay_s)


def interrupted_by_an_alarm(number: int, rng: random.Random, alarms: Alarms) -> None:
    before, caught = alarms.raised, 0
    try:
        try:
            alarms.set(rng.uniform(0.0001, 0.003))
            for _ in range(rng.randrange(1, 10)):
                root([str(number), "interrupted"], rng)
        finally:
            alarms.set(0)
    except TimeLimitError:
        caught = 1
    assert alarms.raised - before == caught, f"an alarm was lost in\n{''.join(alarms.stack[-12:])}"


def interrupted_by_injection(number: int, rng: random.Random, alarms: Alarms) -> None:
    outcome: list[str] = []
    started = threading.Event()

    def work() -> None:
        try:
            started.set()
            for _ in range(2_000):
                root([str(number), "interrupted"], rng)
        except InjectedError:
            outcome.append("caught")

    thread = threading.Thread(target=work)
    thread.start()
    started.wait()
    threading.Event().wait(rng.uniform(0, 0.003))
    injected = ctypes.pythonapi.PyThreadState_SetAsyncExc(
        ctypes.c_ulong(thread.ident or 0), ctypes.py_object(InjectedError)
    )
    thread.join(30)
    assert not thread.is_alive(), "a thread hangs"
    assert len(outcome) == injected, f"{injected} exceptions injected, {outcome} caught"


def forked(number: int, rng: random.Random, alarms: Alarms) -> None:
    """Fork while threads record, and inside a trace; the child records traces of its own, and of the one it is in."""
    stop = threading.Event()

    def work() -> None:
        own = random.Random(number)
        while not stop.is_set():
            root([str(number), "beside"], own)

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        with fluxloop.instrument("around", metadata={"way": [str(number)]}):
            child = os.fork()
            if child == 0:
                signal.alarm(20)
                function([str(number), "child"], rng)
                os._exit(0)
            function([str(number), "parent"], rng)
            status = os.waitpid(child, 0)[1]
    finally:
        stop.set()
        for thread in threads:
            thread.join(30)
    assert status == 0, f"a forked child ended with {status}"


def undisturbed(number: int, rng: random.Random, alarms: Alarms) -> None:
    root([str(number)], rng)


FAULTS = (undisturbed, undisturbed, interrupted_by_an_alarm, interrupted_by_injection, forked)


def main(seed: int, steps: int, folder: str) -> None:
    fluxloop.configure(base_path=folder)
    rng, alarms = random.Random(seed), Alarms()
    undisturbed(0, rng, alarms)  # what is imported with the first call is not interrupted
    gc.disable()  # Python drops an exception that is raised in a destructor
    for number in range(1, steps + 1):
        fault = rng.choice(FAULTS)
        try:
            fault(number, rng, alarms)
            assert fault is interrupted_by_an_alarm or _current.get() is None, "a finished call stayed current"
        except AssertionError as problem:
            sys.exit(f"step {number}, {fault.__name__}: {problem}")
        _current.set(None)  # Python itself may be interrupted between the start of a block and its body
        gc.collect()
    report = fluxloop.report()
    assert not report.failed, report
    assert not report.dropped, report


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
