"""Work that goes on somewhere else: overlapping entries, streams read elsewhere, futures, forked pools."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextvars
import gc
import inspect
import multiprocessing
import os
import threading
import types
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

import fluxloop
from fluxloop.testing import capture
from fluxloop.tracing.calls import interceptors


@fluxloop.tool
def look_up(n: int) -> int:
    return n


@fluxloop.prompt
def numbers(n: int = 2) -> Iterator[int]:
    for i in range(n):
        yield look_up(i)


@fluxloop.prompt
async def async_numbers(n: int = 2) -> AsyncIterator[int]:
    for i in range(n):
        yield look_up(i)


def test_one_scope_entered_by_overlapping_tasks_keeps_their_endings_apart():
    """Each entry has its own observation, ends in its own order, and has its own outcome."""
    scope = fluxloop.instrument("scope")

    async def enter(name: str, first: asyncio.Event, then: asyncio.Event, error: Exception | None) -> None:
        async with scope:
            fluxloop.event(name)
            first.set()
            await then.wait()
            if error is not None:
                raise error

    async def main() -> None:
        a, b = asyncio.Event(), asyncio.Event()
        await asyncio.gather(enter("one", a, b, None), enter("two", b, a, ValueError("bad")), return_exceptions=True)

    with capture() as captured:
        asyncio.run(main())

    endings = {trace.observations[1].name: str(trace.status) for trace in captured.traces()}
    assert endings == {"one": "success", "two": "error"}


def test_one_scope_entered_by_two_threads_keeps_their_endings_apart():
    """A thread that leaves first ends its own entry, not the other's."""
    scope = fluxloop.instrument("scope")
    inside, leave = threading.Barrier(2), threading.Event()

    def slow() -> None:
        with scope as context:
            context.add_tag("slow")
            inside.wait()
            leave.wait()

    def quick() -> None:
        def fail() -> None:
            with scope as context:
                context.add_tag("quick")
                inside.wait()
                raise KeyError("k")

        with pytest.raises(KeyError):
            fail()

    with capture() as captured:
        threads = [threading.Thread(target=slow), threading.Thread(target=quick)]
        for thread in threads:
            thread.start()
        threads[1].join()
        leave.set()
        threads[0].join()

    assert {trace.tags[0]: str(trace.status) for trace in captured.traces()} == {"slow": "success", "quick": "error"}


def test_a_generator_belongs_where_it_was_created():
    """A web framework reads a stream after its handler has returned: the handler stays its parent."""

    @fluxloop.agent
    def handler() -> list[Iterator[int]]:
        return [numbers()]

    with capture() as captured:
        (stream,) = handler()
        assert list(stream) == [0, 1]

    assert inspect.isgeneratorfunction(numbers)
    assert inspect.isasyncgenfunction(async_numbers)
    assert inspect.isgenerator(stream)
    assert "  GENERATION numbers -> [0, 1]" in captured.outline()


@pytest.mark.parametrize("how", ["thread", "context", "pool"])
def test_a_generator_read_in_another_thread_or_context_belongs_where_it_was_created(how):
    """Threads and fresh contexts have no trace of their own to put it in."""
    with capture() as captured, fluxloop.instrument("run"):
        stream = numbers()
        if how == "context":
            assert contextvars.Context().run(list, stream) == [0, 1]
        elif how == "pool":
            with concurrent.futures.ThreadPoolExecutor() as pool:
                assert pool.submit(list, stream).result() == [0, 1]
        else:
            thread = threading.Thread(target=list, args=(stream,))
            thread.start()
            thread.join()

    expected = ["SPAN run", "  GENERATION numbers -> [0, 1]", "    TOOL look_up -> 0", "    TOOL look_up -> 1"]
    assert captured.outline().splitlines() == expected


def test_an_async_generator_read_after_its_trace_belongs_where_it_was_created():
    """The same for async generators, in another task."""

    async def main() -> list[int]:
        with fluxloop.instrument("run"):
            stream = async_numbers()

        async def read() -> list[int]:
            return [item async for item in stream]

        return await asyncio.create_task(read(), context=contextvars.Context())

    with capture() as captured:
        assert asyncio.run(main()) == [0, 1]

    assert "  GENERATION async_numbers -> [0, 1]" in captured.outline()


def test_copy_context_of_a_generator_function_keeps_its_parent():
    """What it yields in another thread nests under what was current when the context was copied."""
    with capture() as captured, fluxloop.instrument("run"):
        bound = fluxloop.copy_context(numbers)
        thread = threading.Thread(target=lambda: list(bound()))
        thread.start()
        thread.join()

    assert "  GENERATION numbers -> [0, 1]" in captured.outline()


def test_copy_context_keeps_its_parent_after_the_end_in_any_thread():
    """Also where the same thread calls the function after the trace, and without effect on what follows."""
    with capture() as captured:
        with fluxloop.instrument("run"):
            call, stream, async_stream = map(fluxloop.copy_context, (look_up, numbers, async_numbers))

        async def read() -> list[int]:
            return [item async for item in async_stream()]

        assert (call(7), list(stream()), asyncio.run(read())) == (7, [0, 1], [0, 1])
        look_up(8)

    look_ups = ["    TOOL look_up -> 0", "    TOOL look_up -> 1"]
    assert captured.outline().splitlines() == [
        "SPAN run",
        "  TOOL look_up -> 7",
        "  GENERATION numbers -> [0, 1]",
        *look_ups,
        "  GENERATION async_numbers -> [0, 1]",
        *look_ups,
    ]


@pytest.mark.parametrize("replayable", [False, True])
@pytest.mark.parametrize("ending", ["success", "error", "cancelled"])
def test_a_generator_that_can_be_awaited_stays_awaitable(ending, replayable):
    """A function of `types.coroutine` is a generator function and its result is awaited, decorated or returned."""

    @types.coroutine
    def work() -> Any:
        yield from asyncio.sleep(0).__await__()
        if ending == "error":
            raise ValueError("bad")
        yield from asyncio.sleep(10 if ending == "cancelled" else 0).__await__()
        return look_up(7)

    decorated = fluxloop.tool("decorated")(work)
    returned = fluxloop.tool("returned")(lambda: work())

    async def main() -> None:
        with fluxloop.instrument("run"):
            for function in decorated, returned:
                try:
                    async with asyncio.timeout(0.01 if ending == "cancelled" else 10):
                        assert await function() == 7
                except ValueError:
                    assert ending == "error"
                except TimeoutError:
                    assert ending == "cancelled"

    with capture(replayable=replayable) as captured:
        asyncio.run(main())

    assert inspect.isgeneratorfunction(decorated)
    lines = {
        "success": ["  TOOL {} -> 7", "    TOOL look_up -> 7"],
        "error": ["  TOOL {} [error: bad]"],
        "cancelled": ["  TOOL {} [cancelled]"],
    }[ending]
    expected = [line.format(name) for name in ("decorated", "returned") for line in lines]
    assert captured.outline().splitlines()[1:] == expected


@pytest.mark.parametrize("ending", ["success", "error", "cancelled"])
def test_a_task_that_a_function_returns_ends_its_observation(ending):
    """The task itself is returned, and its result, failure or cancellation is the observation's."""

    async def work() -> int:
        await asyncio.sleep(0)
        if ending == "error":
            raise ValueError("bad")
        return 7

    @fluxloop.tool
    def start(loop: Any) -> Any:
        return loop.create_task(work())

    async def main() -> None:
        with fluxloop.instrument("run"):
            task = start(asyncio.get_running_loop())
            assert type(task) is asyncio.Task
            if ending == "cancelled":
                task.cancel()
            await asyncio.wait([task])
            if ending == "error":
                assert isinstance(task.exception(), ValueError)

    with capture() as captured:
        asyncio.run(main())

    line = {"success": "start -> 7", "error": "start [error: bad]", "cancelled": "start [cancelled]"}[ending]
    assert captured.outline().splitlines()[1] == f"  TOOL {line}"


def test_a_future_of_a_pool_ends_its_observation():
    """A `concurrent.futures.Future` comes back as it is; the observation holds its result."""
    with concurrent.futures.ThreadPoolExecutor() as pool:
        release = threading.Event()

        @fluxloop.tool
        def submit() -> Any:
            return pool.submit(lambda: release.wait() and 7)

        with capture() as captured, fluxloop.instrument("run"):
            future = submit()
            release.set()
            assert future.result() == 7
            concurrent.futures.wait([future])

    assert [o.output for t in captured.traces() for o in t.observations][1] == 7


def _work_in_pool(n: int) -> str:
    here = fluxloop.get_current_context()
    return "outside" if here is None else here.trace_id


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize("kind", ["executor", "pool"])
def test_a_forked_pool_worker_starts_outside_any_trace(kind):
    """A pool outlives the request that happened to create it; later requests must not hang under that one's trace."""
    context = multiprocessing.get_context("fork")
    with capture(), fluxloop.instrument("first request"):
        if kind == "executor":
            with concurrent.futures.ProcessPoolExecutor(1, mp_context=context) as pool:
                found = pool.submit(_work_in_pool, 1).result()
        else:
            with context.Pool(1) as pool:
                found = pool.apply(_work_in_pool, (1,))

    assert found == "outside"


def test_a_recorded_call_can_be_answered_instead_of_made():
    """An interceptor returns a function that runs in place of the called one; the call is recorded as usual."""
    asked = []

    def answer(call: Any, func: Any) -> Any:
        asked.append((call.spec.name, func.__name__))
        return (lambda n: 99) if call.spec.name == "look_up" else func

    interceptors.append(answer)
    try:
        with capture() as captured, fluxloop.instrument("run"):
            assert look_up(1) == 99
            assert list(numbers(1)) == [99]
    finally:
        interceptors.remove(answer)

    assert asked == [("look_up", "look_up"), ("numbers", "numbers"), ("look_up", "look_up")]
    assert "TOOL look_up -> 99" in captured.outline()


async def _three() -> AsyncIterator[str]:
    for text in "abc":
        yield text


@pytest.mark.parametrize("read", [False, True])
@pytest.mark.parametrize("kind", ["coroutine", "awaitable generator"])
def test_a_coroutine_whose_result_is_a_stream_ends_with_that_stream(kind, read):
    """A plain function that returns ``client.create(stream=True)`` of an asynchronous client."""

    async def create() -> AsyncIterator[str]:
        await asyncio.sleep(0)
        return _three()

    @types.coroutine
    def create_from_generator() -> Any:
        return (yield from create().__await__())

    @fluxloop.prompt
    def ask() -> Any:
        return create() if kind == "coroutine" else create_from_generator()

    async def main() -> None:
        with fluxloop.instrument("run"):
            stream = await ask()
            gc.collect()
            if read:
                assert [item async for item in stream] == ["a", "b", "c"]

    with capture() as captured:
        asyncio.run(main())
        gc.collect()

    assert captured.outline().splitlines()[1] == f"  GENERATION ask{' -> ' + repr('abc') if read else ' [abandoned]'}"
