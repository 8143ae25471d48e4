"""A type checker finds the same types in decorated code as in plain code."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import assert_type

import fluxloop
from fluxloop.models import ObservationData


@fluxloop.agent
def bare(a: int, *, b: str = "") -> list[str]:
    return [b] * a


@fluxloop.tool(name="t", description="d")
async def called(a: int) -> dict[str, int]:
    return {"a": a}


@fluxloop.prompt(model="m")
async def stream(text: str) -> AsyncIterator[str]:
    yield text


@fluxloop.trace(observation_type="retrieval")
def generator(n: int) -> Iterator[int]:
    yield n


@fluxloop.instrument("scope", tags=["a"])
def scoped(n: int) -> float:
    return n / 2


class Agent:
    @fluxloop.agent
    def method(self, n: int) -> str:
        return str(n)

    @classmethod
    @fluxloop.agent()
    def of_class(cls, n: int) -> str:
        return str(n)


async def use() -> None:
    assert_type(bare(1, b="x"), list[str])
    assert_type(await called(1), dict[str, int])
    assert_type(stream("x"), AsyncIterator[str])
    assert_type(generator(1), Iterator[int])
    assert_type(scoped(1), float)
    assert_type(Agent().method(1), str)
    assert_type(Agent.of_class(1), str)
    takes: Callable[[int], Awaitable[dict[str, int]]] = called
    await takes(1)
    with fluxloop.observe("x", "tool") as obs:
        assert_type(obs, ObservationData)
    with fluxloop.instrument("x") as ctx:
        assert_type(ctx, fluxloop.FluxLoopContext)
    async with fluxloop.instrument("x") as ctx:
        assert_type(ctx.tags, list[str])
    assert_type(fluxloop.copy_context(bare)(1), list[str])
    assert_type(fluxloop.get_current_context(), fluxloop.FluxLoopContext | None)


def settings() -> None:
    fluxloop.configure(storage=["file", fluxloop.storage.MemoryStorage()], base_path="traces", redact_keys={"pin"})
    fluxloop.FluxLoopClient(storage="memory", sample_rate=0.5).configure(redact_hook=None)
    with fluxloop.testing.capture(redact=False, max_depth=3) as captured:
        assert_type(captured.outline(), str)


def by_hand() -> None:
    observation = ObservationData(type="tool", name="search", level="warning", input={"q": 1}, usage={"input": 3})
    assert_type(observation.type, fluxloop.ObservationType)
    ObservationData(type="generation", name="ask", parent_observation_id=observation.id, prompt_tokens=3)
    fluxloop.event("note", level="error")


def misuse() -> None:
    fluxloop.configure(sample_rat=0.5)  # type: ignore[call-arg]
    fluxloop.configure(sample_rate="half")  # type: ignore[arg-type]
    fluxloop.FluxLoopClient(storage="fiel")  # type: ignore[arg-type]
    ObservationData(type="tol", name="search")  # type: ignore[arg-type]
    fluxloop.observe("x", "tol")  # type: ignore[arg-type]
    bare("no number")  # type: ignore[arg-type]
    generator(n="x")  # type: ignore[arg-type]
    fluxloop.agent(42)  # type: ignore[call-overload]
    fluxloop.tool(colour="red")  # type: ignore[call-overload]
