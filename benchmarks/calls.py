"""
Compare calls recorded by FluxLoop with calls recorded by hand: small, large, concurrent, streamed and disabled.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import fluxloop

from . import floor
from .payloads import ANSWER, QUERY, documents, messages
from .registry import Way, Ways, case
from .results import Target

NOTHING_RECORDED = Target(150, "ns")
"""The most that a decorated call may add if nothing is recorded."""


def _repeated(call: Callable[[Any], Any], query: Any) -> Callable[[int], None]:
    def run(calls: int) -> None:
        for _ in range(calls):
            call(query)

    return run


def _in_a_trace(run: Callable[[int], None]) -> Callable[[int], None]:
    return fluxloop.agent(name="run", capture_input=False)(run)


def _compared(folder: Path, query: Any, answer: Any, **settings: Any) -> Iterator[Ways]:
    """Yield the variants of a tool that is called with *query* in an open trace and returns *answer*."""

    def search(query: Any, limit: int = 10) -> Any:
        return answer

    fluxloop.configure(base_path=folder, **settings)
    with floor.opened(folder) as fd:
        yield Ways(
            bare=_repeated(search, query),
            floor=_repeated(floor.function(fd, search), query),
            ours=_in_a_trace(_repeated(fluxloop.tool(search), query)),
        )


@case("small", target=Target(2.5, "x"))
def small(folder: Path) -> Iterator[Ways]:
    """Tool calls with about 100 bytes of input and output, with default settings."""
    yield from _compared(folder, QUERY, ANSWER)


@case("large", calls=50, target=Target(1.5, "x"))
def large(folder: Path) -> Iterator[Ways]:
    """Tool calls with 20 kB of input and of output, without redaction."""
    yield from _compared(folder, messages(1), documents(2), redact=False)


@case("large-redacted", calls=50, target=Target(2, "x"))
def large_redacted(folder: Path) -> Iterator[Ways]:
    """Tool calls with 20 kB of input and of output, with redaction and without secrets."""
    yield from _compared(folder, messages(1), documents(2))


@case("large-secret", calls=20, rounds=20)
def large_secret(folder: Path) -> Iterator[Ways]:
    """Tool calls with 20 kB of input and of output, with redaction and one secret in the output."""
    key = f"sk-proj-{'a1B2c3D4' * 6}"
    yield from _compared(folder, messages(1), [*documents(2), {"id": "doc-0", "text": f"The key is {key}, keep it."}])


TASKS, EACH = 100, 10
"""The number of concurrent tasks, and of the calls that each makes."""


@case("tasks", calls=TASKS * EACH, rounds=30, target=Target(3, "x"))
def tasks(folder: Path) -> Iterator[Ways]:
    """A hundred concurrent asyncio tasks, each a recorded call that makes ten more recorded calls."""

    async def search(query: Any, limit: int = 10) -> Any:
        await asyncio.sleep(0)
        return ANSWER

    made: list[int] = []
    agent = fluxloop.agent(name="run", capture_input=False)(_crowd(fluxloop.trace(_worker(fluxloop.tool(search)))))

    def ours(calls: int) -> None:
        made.append(calls)
        asyncio.run(agent(calls))

    fluxloop.configure(base_path=folder)
    with floor.opened(folder) as fd:
        bare = _crowd(_worker(search))
        by_hand = _crowd(floor.coroutine(fd, _worker(floor.coroutine(fd, search))))
        yield Ways(
            bare=lambda calls: asyncio.run(bare(calls)),
            floor=lambda calls: asyncio.run(by_hand(calls)),
            ours=ours,
            check=lambda: _faults(folder, made),
        )


def _threaded(folder: Path, threads: int) -> Iterator[Ways]:
    """Yield the variants of the calls of `small`, made by *threads* threads at once."""

    def search(query: Any, limit: int = 10) -> Any:
        return ANSWER

    def spread(call: Callable[[Any], Any]) -> Callable[[int], None]:
        def run(calls: int) -> None:
            with fluxloop.ContextThreadPoolExecutor(threads) as pool:
                list(pool.map(_repeated(call, QUERY), [calls // threads] * threads))

        return run

    fluxloop.configure(base_path=folder)
    with floor.opened(folder) as fd:
        yield Ways(
            bare=spread(search),
            floor=spread(floor.function(fd, search)),
            ours=_in_a_trace(spread(fluxloop.tool(search))),
        )


@case("threads-1", calls=1_600, rounds=20)
def threads_1(folder: Path) -> Iterator[Ways]:
    """The calls of `small`, made by one thread of a pool."""
    yield from _threaded(folder, 1)


@case("threads-4", calls=1_600, rounds=20)
def threads_4(folder: Path) -> Iterator[Ways]:
    """The calls of `small`, made by four threads at once."""
    yield from _threaded(folder, 4)


@case("threads-16", calls=1_600, rounds=20)
def threads_16(folder: Path) -> Iterator[Ways]:
    """The calls of `small`, made by sixteen threads at once."""
    yield from _threaded(folder, 16)


Async = Callable[..., Awaitable[Any]]


def _worker(search: Async) -> Async:
    async def worker(query: Any, limit: int = 10) -> None:
        for _ in range(limit):
            await search(query)

    return worker


def _crowd(worker: Async) -> Callable[[int], Coroutine[Any, Any, None]]:
    async def run(calls: int) -> None:
        await asyncio.gather(*(worker(number, calls // TASKS) for number in range(TASKS)))

    return run


def _faults(folder: Path, made: list[int]) -> list[str]:
    """Read the traces back, and return which calls are missing or under a wrong parent."""
    lost = sum(1 + TASKS + calls for calls in made)
    misplaced = 0
    for trace in fluxloop.read_traces(folder):
        by_id = {observation.id: observation for observation in trace.observations}
        lost -= len(by_id)
        for observation in by_id.values():
            parent = by_id.get(observation.parent_id or "")
            if observation.name == "search":
                right = parent is not None and parent.name == "worker" and _query(parent) == _query(observation)
            elif observation.name == "worker":
                right = parent is not None and parent.name == "run"
            else:
                right = observation.parent_id is None
            misplaced += not right
    return [f"{lost} lost"] * bool(lost) + [f"{misplaced} under a wrong parent"] * bool(misplaced)


def _query(observation: fluxloop.ObservationData) -> Any:
    return observation.input["query"]


ITEMS = 200
"""The number of items of one stream."""


@case("stream", calls=1_000, target=None)
def stream(folder: Path) -> Iterator[Ways]:
    """A generator of 200 items, read to its end; the figures are per item."""

    def stream_words(query: Any, limit: int = 10) -> Iterator[str]:
        for number in range(limit):
            yield WORDS[number % len(WORDS)]

    def read(stream: Callable[..., Iterator[str]]) -> Callable[[int], None]:
        def run(items: int) -> None:
            for _ in range(items // ITEMS):
                for _item in stream(QUERY, ITEMS):
                    pass

        return run

    fluxloop.configure(base_path=folder)
    with floor.opened(folder) as fd:
        yield Ways(
            bare=read(stream_words),
            floor=read(floor.generator(fd, stream_words)),
            ours=_in_a_trace(read(fluxloop.tool(stream_words))),
        )


WORDS = ["The ", "train ", "leaves ", "at ", "two ", "minutes ", "to ", "eight, ", "platform ", "five. "]


@case("off", calls=10_000, target=NOTHING_RECORDED)
def off(folder: Path) -> Iterator[Ways]:
    """A decorated function while tracing is disabled."""
    fluxloop.configure(base_path=folder, enabled=False)
    yield _passed(_in_a_trace(_repeated(fluxloop.tool(_search), QUERY)))


@case("no-trace", calls=10_000, target=NOTHING_RECORDED)
def no_trace(folder: Path) -> Iterator[Ways]:
    """A decorated function while no trace is open."""
    fluxloop.configure(base_path=folder)
    yield _passed(_repeated(fluxloop.tool(_search), QUERY))


def _passed(ours: Way) -> Ways:
    """Return the variants of calls that are not recorded; the floor is a decorator that only passes them on."""

    @functools.wraps(_search)
    def passing(*args: Any, **kwargs: Any) -> Any:
        return _search(*args, **kwargs)

    return Ways(bare=_repeated(_search, QUERY), floor=_repeated(passing, QUERY), ours=ours)


def _search(query: Any, limit: int = 10) -> Any:
    return ANSWER
