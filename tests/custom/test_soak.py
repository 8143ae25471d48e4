"""
All frameworks nested, in two threads of eight tasks, with random cancellations, early closes and failures.

Every observation ends, has the right parent, and leaves nothing in memory.
"""

from __future__ import annotations

import asyncio
import gc
import operator
import random
import threading
import time
from pathlib import Path
from typing import Annotated, Any, TypedDict

import pytest
from agents import Runner, function_tool, set_trace_processors
from custom.agents_aid import Calls, Says, agent_of
from langchain_core.output_parsers import StrOutputParser
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, StateGraph
from langgraph.types import Command, Send, interrupt
from scripted_models import ScriptedModel

import fluxloop
import fluxloop_langchain
from fluxloop.bridge import default
from fluxloop_custom import openai_agents
from fluxloop_langchain.orphan_runs import ledger_of
from fluxloop_langgraph import wrap_graph

CHAIN = ScriptedModel(replies=["yes"]) | StrOutputParser()
ROUNDS = 40
"""The number of steps per task."""

PARENTS = {
    "fan": {"look_up", "service", None},
    "sync_step": {"fan"},
    "async_step": {"fan"},
    "ask": {"fan"},
    "by hand": {"async_step"},
    "Helper": {"async_step", "by hand", "Agent workflow", None},
    "Agent workflow": {None},
    "helper": {"read"},
    "look_up": {"Desk"},
    "read": {"Desk"},
}
"""The possible parents of each; a thread or task that continues after its trace has ended may open a trace."""


class State(TypedDict, total=False):
    """Return the text of the model's input."""

    said: Annotated[list[str], operator.add]


async def async_step(state: State) -> State:
    """Call agents and a chain; sometimes fail, sometimes close a stream early."""
    await asyncio.sleep(random.random() * 0.01)
    await Runner.run(agent_of(Says("ok"), name="Helper"), "?")
    with fluxloop.observe("by hand"):
        async for _ in Runner.run_streamed(agent_of(Says("ok"), name="Helper"), "?").stream_events():
            if random.random() < 0.05:
                break
    if random.random() < 0.1:
        raise ValueError("tired")
    return {"said": [await CHAIN.ainvoke("?")]}


def sync_step(state: State) -> State:
    """Call a chain from a thread, which continues after the graph was cancelled."""
    time.sleep(random.random() * 0.005)
    return {"said": [CHAIN.invoke("?")]}


def ask(state: State) -> State:
    """Wait for an answer."""
    return {"said": [interrupt("sure?")]}


def fan() -> Any:
    """Return a wrapped graph with concurrent steps."""

    def send(state: State) -> list[Send]:
        return [Send(random.choice(["sync_step", "async_step"]), {"said": []}) for _ in range(4)]

    builder = StateGraph(State).add_node(sync_step).add_node(async_step).add_node(ask)
    builder.add_conditional_edges(START, send, ["sync_step", "async_step"])
    builder.add_edge("sync_step", "ask").add_edge("async_step", "ask")
    return wrap_graph(builder.compile(name="fan", checkpointer=InMemorySaver()))


FAN = fan()


def thread() -> Any:
    """Return the configuration of a new conversation."""
    return {"configurable": {"thread_id": str(random.random())}}


@function_tool
async def look_up(q: str) -> str:
    """Run a graph and a chain concurrently."""
    return str(await asyncio.gather(FAN.ainvoke({"said": [q]}, thread()), CHAIN.ainvoke(q), return_exceptions=True))


@function_tool
def read(q: str) -> str:
    """Stream a chain, in the thread the tool runs in."""
    return "".join(CHAIN.stream(helper(q)))


@fluxloop.tool
def helper(q: str) -> str:
    """A helper of a tool."""
    return q.upper()


def desk() -> Any:
    """Return an agent that uses both tools."""
    turns = Calls("look_up", {"q": "a"}), Calls("read", {"q": "b"}), Says("done")
    return agent_of(*turns, name="Desk", tools=[look_up, read])


async def run_streamed() -> None:
    """Stream an agent, and close or cancel it early."""
    result = Runner.run_streamed(desk(), "?")
    async for _ in result.stream_events():
        if random.random() < 0.02:
            result.cancel()
        if random.random() < 0.02:
            break


async def resume() -> None:
    """Stream a graph, perhaps not to its end, and resume it with an answer."""
    config = thread()
    async for _ in FAN.astream({"said": []}, config, stream_mode=["updates", "messages"]):
        if random.random() < 0.05:
            break
    await FAN.ainvoke(Command(resume="yes"), config)


async def watch() -> None:
    """Read the events of a graph, perhaps not to their end."""
    async for _ in FAN.astream_events({"said": []}, thread(), version="v2"):
        if random.random() < 0.01:
            break


@fluxloop.agent
async def service() -> None:
    """Run two of them concurrently."""
    await asyncio.gather(*(random.choice(USES)() for _ in range(2)), return_exceptions=True)


USES = [lambda: Runner.run(desk(), "?"), run_streamed, resume, watch]


async def use() -> None:
    """Run random actions until the time is over."""
    for _ in range(ROUNDS):
        try:
            async with asyncio.timeout(random.choice([0.003, 0.02, 0.1, 5])):
                await random.choice([*USES, service])()
        except (TimeoutError, ValueError):
            pass


async def use_all() -> None:
    """Run eight tasks concurrently."""
    await asyncio.gather(*(use() for _ in range(8)))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # cancelled frameworks leave coroutines and streams unclosed
def test_random_concurrent_runs_have_the_right_parents(tmp_path: Path) -> None:
    """
    Several hundred runs of each kind: no observation stays open, has a wrong parent, is dropped or stays in memory.
    """
    set_trace_processors([])
    processor = openai_agents.install()
    fluxloop_langchain.install()
    try:
        fluxloop.configure(base_path=tmp_path)
        before = fluxloop.report()
        threads = [threading.Thread(target=asyncio.run, args=(use_all(),)) for _ in range(2)]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
        gc.collect()
        after, ledger = fluxloop.report(), ledger_of(default)
        traces = list(fluxloop.read_traces(tmp_path))
    finally:
        fluxloop_langchain.uninstall()
        openai_agents.uninstall()

    assert (after.failed, after.dropped, after.problems) == (before.failed, before.dropped, before.problems)
    assert (len(ledger), len(ledger.ended_early), len(processor._spans), len(processor._ledger)) == (0, 0, 0, 0)
    assert len(traces) >= 16 * ROUNDS * 0.9
    for trace in traces:
        by_id = {one.id: one for one in trace.observations}
        assert [one.parent_id for one in trace.observations if one.parent_id not in by_id] == [None], trace
        for one in trace.observations:
            parent = by_id[one.parent_id].name if one.parent_id else None
            assert one.status is not None, f"{one.name} below {parent} stayed open"
            assert parent in PARENTS.get(one.name, {parent}), f"{one.name} below {parent}"
