"""Helpers for the tests of the Agents SDK: scripted agents, tools, and outlines without model calls."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from agents import Agent, Runner, function_tool, set_trace_processors

from fluxloop.models import ObservationData, ObservationType, Trace
from fluxloop.testing import Captured, capture, outline
from fluxloop_custom import openai_agents
from fluxloop_custom.testing import Calls, Says, ScriptedModel

__all__ = [
    "Calls",
    "Says",
    "ScriptedModel",
    "add",
    "agent_of",
    "recorded",
    "run",
    "tool_of",
    "tools_in",
    "until",
    "without_models",
]


def agent_of(*turns: Any, name: str = "A", usage: bool = True, delay_s: float = 0.0, **options: Any) -> Agent[Any]:
    """Return an agent whose model is scripted."""
    return Agent(name=name, model=ScriptedModel(*turns, usage=usage, delay_s=delay_s), **options)


@function_tool
def add(a: int, b: int = 2) -> int:
    """
    Add two numbers.

    Args:
        a: The first.
        b: The second.
    """
    if a < 0:
        raise ValueError(f"{a} is negative")
    return a + b


async def run(agent: Agent[Any], *, streamed: bool = False, question: str = "hi", **options: Any) -> Any:
    """Run *agent* to its end, plain or streamed, and return its final output."""
    if not streamed:
        return (await Runner.run(agent, question, **options)).final_output
    result = Runner.run_streamed(agent, question, **options)
    async for _ in result.stream_events():
        pass
    return result.final_output


@contextmanager
def recorded(**options: Any) -> Iterator[Captured]:
    """Record the SDK's runs for a block, with FluxLoop's processor only."""
    settings = {key: options.pop(key) for key in list(options) if key != "show_all"}
    set_trace_processors([])
    openai_agents.install(**options)
    try:
        with capture(**settings) as captured:
            yield captured
    finally:
        openai_agents.uninstall()


async def until(holds: Callable[[], object]) -> None:
    """Run other tasks until *holds* returns true, for ten seconds at most."""
    for _ in range(1_000):
        if holds():
            return
        await asyncio.sleep(0.01)


def without_models(trace: Trace) -> str:
    """Return the outline of *trace* below its workflow, without model calls."""
    kept = [o for o in trace.observations if o.type is not ObservationType.GENERATION and o.parent_id is not None]
    return outline(trace.model_copy(update={"observations": kept}), inputs=True)


def tool_of(trace: Trace) -> ObservationData:
    """Return the only TOOL of *trace*."""
    (tool,) = tools_in(trace)
    return tool


def tools_in(trace: Trace) -> list[ObservationData]:
    """Return the TOOLs of *trace*, in the order in which they started."""
    return [o for o in trace.observations if o.type is ObservationType.TOOL]
