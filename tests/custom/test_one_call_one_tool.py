"""One call of an Agents SDK tool is one TOOL, whatever decorators are between FluxLoop's and the SDK's."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

import pytest
from agents import function_tool
from custom.agents_aid import Calls, Says, agent_of, recorded, run, without_models

import fluxloop

Decorator = Callable[[Any], Any]


def passing(func: Any) -> Any:
    """A decorator that passes the call on, with `functools.wraps`."""
    if inspect.iscoroutinefunction(func):

        @functools.wraps(func)
        async def awaiting(*args: Any, **kwargs: Any) -> Any:
            return await func(*args, **kwargs)

        return awaiting

    @functools.wraps(func)
    def calling(*args: Any, **kwargs: Any) -> Any:
        return func(*args, **kwargs)

    return calling


def retrying(func: Any) -> Any:
    """A decorator that calls again after an error."""
    if inspect.iscoroutinefunction(func):

        @functools.wraps(func)
        async def awaiting(*args: Any, **kwargs: Any) -> Any:
            try:
                return await func(*args, **kwargs)
            except ConnectionError:
                return await func(*args, **kwargs)

        return awaiting

    @functools.wraps(func)
    def calling(*args: Any, **kwargs: Any) -> Any:
        try:
            return func(*args, **kwargs)
        except ConnectionError:
            return func(*args, **kwargs)

    return calling


def renamed(func: Any) -> Any:
    """A decorator that changes the function's name."""
    outer = passing(func)
    outer.__name__ = "renamed"
    return outer


@fluxloop.tool
def helper(city: str) -> str:
    return f"sunny in {city}"


def sync_tool(city: str) -> str:
    """Look up the weather."""
    return helper(city)


async def async_tool(city: str) -> str:
    """Look up the weather."""
    return helper(city)


ORDERS: dict[str, list[Decorator]] = {
    "ours": [fluxloop.tool],
    "passing, ours": [passing, fluxloop.tool],
    "ours, passing": [fluxloop.tool, passing],
    "passing, ours, passing": [passing, fluxloop.tool, passing],
    "passing, passing, ours": [passing, passing, fluxloop.tool],
    "retrying, ours": [retrying, fluxloop.tool],
    "ours, retrying": [fluxloop.tool, retrying],
    "renamed, ours": [renamed, fluxloop.tool],
    "ours, renamed": [fluxloop.tool, renamed],
    "named": [passing, fluxloop.tool("weather")],
}
"""Decorators between the SDK's and the function, outermost first."""

orders = pytest.mark.parametrize("order", ORDERS.values(), ids=ORDERS)
shapes = pytest.mark.parametrize("func", [sync_tool, async_tool], ids=["sync", "async"])
streamed_or_not = pytest.mark.parametrize("streamed", [False, True], ids=["plain", "streamed"])


def decorated(func: Any, order: list[Decorator]) -> Any:
    for decorator in reversed(order):
        func = decorator(func)
    return func


async def outline_of(tool: Any, streamed: bool) -> list[str]:
    """Return the lines of the outline below the agent, without model calls."""
    with recorded() as captured:
        await run(agent_of(Calls(tool.name, {"city": "Rome"}), Says("ok"), tools=[tool]), streamed=streamed)
    return without_models(captured.traces()[0]).splitlines()[1:]


@orders
@shapes
@streamed_or_not
async def test_below_the_sdks_decorator(func, order, streamed):
    """The helper called inside is a TOOL below it, and only that."""
    lines = await outline_of(function_tool(decorated(func, order)), streamed)

    assert [line.strip().partition("(")[0].split()[0] for line in lines] == ["TOOL", "TOOL"]
    assert lines[1] == "    TOOL helper({'city': 'Rome'}) -> 'sunny in Rome'"
    assert lines[0].startswith("  TOOL ")
    assert lines[0].endswith("({'city': 'Rome'}) -> 'sunny in Rome'")


@shapes
@streamed_or_not
@pytest.mark.parametrize("between", [[], [passing], [retrying, passing], [renamed]], ids=len)
async def test_above_the_sdks_decorator(func, between, streamed):
    """A recorded copy of the SDK's tool, of a function with decorators of the user's."""
    lines = await outline_of(fluxloop.tool(function_tool(decorated(func, between))), streamed)

    assert [line.split("(")[0].strip() for line in lines][1:] == ["TOOL helper"]
    assert lines[0].startswith("  TOOL ")


@shapes
@orders
async def test_on_both_sides_of_the_sdks_decorator(func, order):
    """FluxLoop's decorator above and below: still one TOOL."""
    lines = await outline_of(fluxloop.tool(function_tool(decorated(func, order))), streamed=False)

    assert [line.split("(")[0].strip() for line in lines][1:] == ["TOOL helper"]


@shapes
async def test_a_retried_function_is_one_tool_with_the_last_result(func):
    """The first attempt fails inside a decorator of the user's, which calls the function again."""
    attempts = []

    def fail_once(inner: Any) -> Any:
        if inspect.iscoroutinefunction(inner):

            @functools.wraps(inner)
            async def awaiting(*args: Any, **kwargs: Any) -> Any:
                attempts.append(1)
                if len(attempts) == 1:
                    raise ConnectionError("no route")
                return await inner(*args, **kwargs)

            return awaiting

        @functools.wraps(inner)
        def calling(*args: Any, **kwargs: Any) -> Any:
            attempts.append(1)
            if len(attempts) == 1:
                raise ConnectionError("no route")
            return inner(*args, **kwargs)

        return calling

    lines = await outline_of(function_tool(decorated(func, [retrying, fluxloop.tool, fail_once])), streamed=False)

    assert len(lines) == 2
    assert lines[0].endswith("-> 'sunny in Rome'")


@shapes
async def test_two_calls_of_one_tool_are_two_tools(func):
    """Each has its own arguments and call id."""
    tool = function_tool(decorated(func, [passing, fluxloop.tool]))
    calls = [Calls(tool.name, {"city": city}) for city in ("Rome", "Oslo")]
    with recorded() as captured:
        await run(agent_of(calls, Says("ok"), tools=[tool]))

    (trace,) = captured.traces()
    agent = next(o for o in trace.observations if o.name == "A")
    outer = [o for o in trace.observations if o.parent_id == agent.id and str(o.type) == "tool"]
    assert [o.input for o in outer] == [{"city": "Rome"}, {"city": "Oslo"}]
    assert len({o.metadata["tool_call_id"] for o in outer}) == 2
