"""Observations are under the right parent across tasks, threads, generators and nested agents."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

import fluxloop
from fluxloop.testing import capture


@fluxloop.tool
def tool(n: int) -> int:
    return n


@fluxloop.tool
async def slow(n: int) -> int:
    await asyncio.sleep(0)
    return tool(n)


def test_the_context_is_available_inside_a_trace_and_none_outside():
    """`get_current_context` and `get_current_trace` return None outside a trace."""
    assert fluxloop.get_current_context() is None
    assert fluxloop.get_current_trace() is None

    with capture(), fluxloop.instrument("x", session_id="s1", metadata={"k": 1}) as ctx:
        trace = fluxloop.get_current_trace()
        assert fluxloop.get_current_context() == ctx
        assert (trace.trace_id, trace.session_id, trace.metadata) == (ctx.trace_id, "s1", {"k": 1})
        assert trace.start_time is not None

    assert fluxloop.get_current_context() is None


def test_metadata_tags_and_user_are_written_with_the_trace():
    """Values set on the context are written with the trace."""
    with capture() as captured, fluxloop.instrument("x", session_id="s1", tags=["a", "b", "a"], user_id="u") as ctx:
        ctx.add_metadata("k", {"deep": [1]})
        ctx.add_tag("b")
        ctx.add_tag("c")
        ctx.set_user("u2")

    (trace,) = captured.traces()
    assert (trace.session_id, trace.tags, trace.user_id, trace.metadata) == (
        "s1",
        ["a", "b", "c"],
        "u2",
        {"k": {"deep": [1]}},
    )


def test_traces_of_a_process_share_a_default_session():
    """Traces without a session id share the session of their process."""

    @fluxloop.agent
    def agent() -> None: ...

    with capture() as captured:
        agent()
        agent()

    first, second = captured.traces()
    assert first.session_id == second.session_id
    assert first.trace_id != second.trace_id


def test_gathered_coroutines_are_siblings():
    """Concurrent calls have the agent as parent, and each has its own children."""

    @fluxloop.agent
    async def agent() -> list[int]:
        return await asyncio.gather(slow(1), slow(2))

    with capture() as captured:
        asyncio.run(agent())

    assert captured.outline() == (
        "AGENT agent -> [1, 2]\n  TOOL slow -> 1\n    TOOL tool -> 1\n  TOOL slow -> 2\n    TOOL tool -> 2"
    )


def test_task_groups_and_to_thread_keep_the_parent():
    """`TaskGroup` and `asyncio.to_thread` need no helper."""

    @fluxloop.agent
    async def agent() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(slow(1))
            group.create_task(asyncio.to_thread(tool, 2))

    with capture() as captured:
        asyncio.run(agent())

    (trace,) = captured.traces()
    assert {o.name for o in trace.children(trace.roots[0])} == {"slow", "tool"}


def test_the_thread_pool_carries_the_trace():
    """Jobs of a `ContextThreadPoolExecutor` are recorded under the code that submits them."""

    @fluxloop.agent
    def agent() -> list[int]:
        with fluxloop.ContextThreadPoolExecutor(2) as pool:
            return list(pool.map(tool, range(4)))

    with capture() as captured:
        assert agent() == [0, 1, 2, 3]

    (trace,) = captured.traces()
    assert [o.name for o in trace.children(trace.roots[0])] == ["tool"] * 4


def test_a_function_bound_by_copy_context_can_run_in_several_threads_at_once():
    """The function that `copy_context` returns can run concurrently."""
    barrier = threading.Barrier(3)

    @fluxloop.tool
    def together() -> None:
        barrier.wait(60)

    @fluxloop.agent
    def agent() -> None:
        bound = fluxloop.copy_context(together)
        threads = [threading.Thread(target=bound) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    with capture() as captured:
        agent()

    (trace,) = captured.traces()
    assert len(trace.children(trace.roots[0])) == 3


def test_a_thread_without_the_context_records_nothing():
    """A thread started without a helper has no trace: its tools run, but are not recorded."""

    @fluxloop.agent
    def agent() -> int:
        with ThreadPoolExecutor(1) as pool:
            return pool.submit(tool, 1).result()

    with capture() as captured:
        assert agent() == 1

    assert captured.outline() == "AGENT agent -> 1"


def test_nested_agents_and_scopes_share_a_trace():
    """An agent or a scope inside a trace becomes a child and does not open a second trace."""

    @fluxloop.agent
    def inner() -> int:
        with fluxloop.instrument("prompt.agent", observation_type="generation", tags=["t"]):
            return tool(1)

    @fluxloop.agent
    def outer() -> int:
        return inner()

    with capture() as captured:
        outer()

    assert captured.outline() == (
        "AGENT outer -> 1\n  AGENT inner -> 1\n    GENERATION prompt.agent\n      TOOL tool -> 1"
    )
    assert captured.traces()[0].tags == ["t"]


def test_a_trace_id_opens_a_new_trace_inside_a_trace():
    """`trace_id=` opens a new trace, and the outer trace continues afterwards."""
    with capture() as captured, fluxloop.instrument("outer"):
        with fluxloop.instrument("other", trace_id="my-id"):
            tool(1)
        tool(2)

    assert captured.outline() == "SPAN outer\n  TOOL tool -> 2\nSPAN other\n  TOOL tool -> 1"
    assert {trace.trace_id for trace in captured.traces()} >= {"my-id"}


def test_a_task_that_outlives_its_trace_records_into_it():
    """A task that was started inside a trace and ends after it records into that trace."""

    async def main() -> None:
        with fluxloop.instrument("request"):
            task = asyncio.create_task(asyncio.sleep(0.01, None))
            later = asyncio.create_task(after(task))
        await later

    async def after(task: asyncio.Task[None]) -> None:
        await task
        tool(1)

    with capture() as captured:
        asyncio.run(main())

    assert captured.outline() == "SPAN request\n  TOOL tool -> 1"


def test_an_agent_in_a_task_that_outlived_its_trace_opens_a_new_trace():
    """A worker started during one request does not add later work to the trace of that request."""

    @fluxloop.agent
    async def job() -> None: ...

    async def main() -> None:
        release = asyncio.Event()

        async def worker() -> None:
            await release.wait()
            await job()

        with fluxloop.instrument("request"):
            task = asyncio.create_task(worker())
        release.set()
        await task

    with capture() as captured:
        asyncio.run(main())

    assert captured.outline() == "SPAN request\nAGENT job"


async def handle(n: int = 3) -> AsyncIterator[int]:
    """Approach 2 of the guide: a scope inside an undecorated async generator."""
    with fluxloop.instrument("prompt.agent"):
        for i in range(n):
            tool(i)
            yield i


def test_breaking_out_of_a_scope_in_a_generator_restores_the_context():
    """After `break`, the consumer is outside the scope, and its later calls are not recorded in it."""

    async def main() -> None:
        async for _ in handle():
            break
        await asyncio.sleep(0.01)  # the event loop closes the generator in a separate task
        assert fluxloop.get_current_context() is None
        tool(99)

    with capture() as captured:
        asyncio.run(main())

    assert captured.outline() == "SPAN prompt.agent [abandoned]\n  TOOL tool -> 0"


def test_concurrent_handlers_have_separate_traces():
    """Two concurrent requests are recorded as separate traces."""

    async def main() -> None:
        async def request() -> list[int]:
            return [i async for i in handle(2)]

        await asyncio.gather(request(), request())

    with capture() as captured:
        asyncio.run(main())

    one = "SPAN prompt.agent\n  TOOL tool -> 0\n  TOOL tool -> 1"
    assert captured.outline() == f"{one}\n{one}"


def test_a_generator_closed_in_another_context_raises_nothing():
    """FluxLoop holds no context token across a yield, so closing in another context cannot fail."""

    @fluxloop.agent
    def counts() -> Iterator[int]:
        yield 1
        yield 2

    with capture() as captured:
        generator = counts()
        next(generator)
        contextvars.copy_context().run(generator.close)

    assert captured.outline() == "AGENT counts [abandoned] -> [1]"
    assert fluxloop.get_current_context() is None


def test_scopes_work_as_async_blocks_and_can_be_reused():
    """A scope works with `async with`, and one scope object can be entered twice."""
    scope = fluxloop.instrument("x", observation_type="retrieval")

    async def main() -> None:
        async with scope, scope:
            tool(1)

    with capture() as captured:
        asyncio.run(main())

    assert captured.outline() == "RETRIEVAL x\n  RETRIEVAL x\n    TOOL tool -> 1"


def test_a_decorated_coroutine_is_inside_its_scope_while_it_runs():
    """`@instrument` on a coroutine function records the whole execution."""

    @fluxloop.instrument("scope")
    async def work() -> int:
        await asyncio.sleep(0)
        return tool(1)

    with capture() as captured:
        asyncio.run(work())

    assert captured.outline() == "SPAN scope -> 1\n  TOOL tool -> 1"


@pytest.mark.parametrize("setting", [{"enabled": False}, {"sample_rate": 0}])
def test_nothing_is_recorded_when_disabled_or_sampled_out(setting):
    """Nothing is recorded, the context has no effect, and agents inside open no second trace."""

    @fluxloop.agent
    def agent() -> int:
        return tool(1)

    with capture(**setting) as captured:
        with fluxloop.instrument("x", tags=["a"]) as ctx:
            assert not ctx.is_enabled()
            ctx.add_tag("b")
            ctx.push_observation(fluxloop.ObservationData(type="tool", name="t"))
            assert ctx.pop_observation() is None
            fluxloop.event("e")
            with fluxloop.observe("o") as o:
                o.output = 1
            assert agent() == 1
        assert agent() == 1

    assert list(captured.storage.read()) == []


def test_disabling_affects_open_traces():
    """`configure(enabled=False)` also affects traces that are already open."""
    with fluxloop.FluxLoopClient(storage="memory") as client, client.instrument("x") as ctx:
        assert ctx.is_enabled()
        client.configure(enabled=False)
        assert not ctx.is_enabled()
        client.configure(enabled=True)
        assert ctx.is_enabled()
