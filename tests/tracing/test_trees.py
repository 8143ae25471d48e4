"""Random programs give the right tree: tasks, threads, pushes and pops in any interleaving."""

from __future__ import annotations

import asyncio
import random
import threading
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

import fluxloop
from fluxloop.models import ObservationData
from fluxloop.testing import capture

LEAF = st.sampled_from(["tool", "event", "push", "observe"])
PLAN = st.recursive(
    st.tuples(LEAF, st.just(())),
    lambda inner: st.tuples(
        st.sampled_from(["call", "gather", "thread", "to_thread", "scope", "generator", "pushed"]),
        st.lists(inner, max_size=4),
    ),
    max_leaves=14,
)
"""What a program does: a step, and what happens inside it."""


class Program:
    """Runs a plan, and notes for each observation it makes under which other one it belongs."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.expected: dict[str, str | None] = {}
        self.lock = threading.Lock()

    def name(self, parent: str | None) -> str:
        with self.lock:
            name = f"n{len(self.expected)}"
            self.expected[name] = parent
            return name

    async def run(self, plan: Any, parent: str) -> None:
        await asyncio.sleep(self.random.choice([0, 0, 0.0005]))
        kind, inner = plan
        await getattr(self, kind)(inner, self.name(parent))

    async def every(self, plans: Any, parent: str) -> None:
        for plan in plans:
            await self.run(plan, parent)

    async def tool(self, inner: Any, name: str) -> None:
        fluxloop.tool(name)(lambda: None)()

    async def event(self, inner: Any, name: str) -> None:
        fluxloop.event(name)

    async def push(self, inner: Any, name: str) -> None:
        ctx = fluxloop.get_current_context()
        ctx.push_observation(ObservationData(type="tool", name=name))
        await asyncio.sleep(0)
        ctx.pop_observation()

    async def observe(self, inner: Any, name: str) -> None:
        with fluxloop.observe(name):
            await asyncio.sleep(0)

    async def call(self, inner: Any, name: str) -> None:
        await fluxloop.agent(name)(self.every)(inner, name)

    async def scope(self, inner: Any, name: str) -> None:
        with fluxloop.instrument(name):
            await self.every(inner, name)

    async def pushed(self, inner: Any, name: str) -> None:
        ctx = fluxloop.get_current_context()
        ctx.push_observation(ObservationData(type="span", name=name))
        await self.every(inner, name)
        ctx.pop_observation()

    async def gather(self, inner: Any, name: str) -> None:
        @fluxloop.trace(name)
        async def together() -> None:
            await asyncio.gather(*(self.run(plan, name) for plan in inner))

        await together()

    async def generator(self, inner: Any, name: str) -> None:
        @fluxloop.prompt(name)
        async def steps() -> Any:
            for plan in inner:
                await self.run(plan, name)
                yield plan

        stream = steps()
        while True:
            try:  # each step in a task of its own, as ChatKit does it
                await asyncio.ensure_future(stream.__anext__())
            except StopAsyncIteration:
                return

    async def thread(self, inner: Any, name: str) -> None:
        @fluxloop.tool(name)
        def work() -> None:
            bound = fluxloop.copy_context(lambda: asyncio.run(self.every(inner, name)))
            thread = threading.Thread(target=bound)
            thread.start()
            thread.join()

        await asyncio.to_thread(work)

    async def to_thread(self, inner: Any, name: str) -> None:
        await asyncio.to_thread(fluxloop.tool(name)(lambda: asyncio.run(self.every(inner, name))))


@settings(max_examples=60, deadline=None)
@given(plans=st.lists(PLAN, min_size=1, max_size=4), seed=st.integers(0, 1_000))
def test_any_program_gives_the_tree_of_its_calls(plans, seed):
    """
    Whatever runs at once, each observation stands under the one in whose body it began.

    A stream that is never asked for an item made no observation, and has nothing below it.
    """
    program = Program(seed)

    async def main() -> None:
        await asyncio.gather(*(program.run(plan, "root") for plan in plans))

    with capture() as captured:
        asyncio.run(fluxloop.agent("root")(main)())

    (trace,) = captured.traces()
    names = {o.id: o.name for o in trace.observations}
    got = {o.name: names.get(o.parent_id) for o in trace.observations}
    assert got == {"root": None, **program.expected}
    assert all(o.status.value == "success" for o in trace.observations)
    assert fluxloop.get_current_context() is None
