"""
All frameworks inside each other, in two threads of eight tasks, cancelled, left and failing at random.

Whatever happens, what was begun is ended, hangs under what began it, and is not kept.
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
"""How often each task does something."""

PARENTS = {
    "fan": {"look_up", "service", None},
    "sync_step": {"fan"},
    "async_step": {"fan"},
    "ask": {"fan"},
    "by hand": {"async_step"},
    "Helper": {"async_step", "by hand", None},
    "helper": {"read"},
    "look_up": {"Desk"},
    "read": {"Desk"},
}
"""Under what each may hang; whoever goes on after a trace was cancelled may have one of its own."""


class State(TypedDict, total=False):
    """What was said."""

    said: Annotated[list[str], operator.add]


async def async_step(state: State) -> State:
    """Ask agents and a chain; sometimes fail, sometimes leave a stream."""
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
    """Ask a chain from a thread, which goes on where the graph was cancelled."""
    time.sleep(random.random() * 0.005)
    return {"said": [CHAIN.invoke("?")]}


def ask(state: State) -> State:
    """Wait for a human."""
    return {"said": [interrupt("sure?")]}


def fan() -> Any:
    """Return a wrapped graph that runs a few steps at once."""

    def send(state: State) -> list[Send]:
        return [Send(random.choice(["sync_step", "async_step"]), {"said": []}) for _ in range(4)]

    builder = StateGraph(State).add_node(sync_step).add_node(async_step).add_node(ask)
    builder.add_conditional_edges(START, send, ["sync_step", "async_step"])
    builder.add_edge("sync_step", "ask").add_edge("async_step", "ask")
    return wrap_graph(builder.compile(name="fan", checkpointer=InMemorySaver()))


FAN = fan()


def thread() -> Any:
    """Return the configuration of a conversation of its own."""
    return {"configurable": {"thread_id": str(random.random())}}


@function_tool
async def look_up(q: str) -> str:
    """Run a graph and a chain at once."""
    return str(await asyncio.gather(FAN.ainvoke({"said": [q]}, thread()), CHAIN.ainvoke(q), return_exceptions=True))


@function_tool
def read(q: str) -> str:
    """Stream a chain, in the thread the tool runs in."""
    return "".join(CHAIN.stream(helper(q)))


@fluxloop.tool
def helper(q: str) -> str:
    """What a tool uses."""
    return q.upper()


def desk() -> Any:
    """Return an agent that uses both tools."""
    turns = Calls("look_up", {"q": "a"}), Calls("read", {"q": "b"}), Says("done")
    return agent_of(*turns, name="Desk", tools=[look_up, read])


async def run_streamed() -> None:
    """Stream an agent, and leave it or call it off in the middle."""
    result = Runner.run_streamed(desk(), "?")
    async for _ in result.stream_events():
        if random.random() < 0.02:
            result.cancel()
        if random.random() < 0.02:
            break


async def resume() -> None:
    """Stream a graph, perhaps not to its end, and go on with an answer."""
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
    """Two of them at once."""
    await asyncio.gather(*(random.choice(USES)() for _ in range(2)), return_exceptions=True)


USES = [lambda: Runner.run(desk(), "?"), run_streamed, resume, watch]


async def use() -> None:
    """Do something, as long as there is time."""
    for _ in range(ROUNDS):
        try:
            async with asyncio.timeout(random.choice([0.003, 0.02, 0.1, 5])):
                await random.choice([*USES, service])()
        except (TimeoutError, ValueError):
            pass


async def use_all() -> None:
    """Eight at once."""
    await asyncio.gather(*(use() for _ in range(8)))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # what the frameworks leave behind when they are cancelled
def test_whatever_happens_is_recorded_in_its_place(tmp_path: Path) -> None:
    """
    Some hundred runs of each kind: nothing stays open, hangs in the wrong place, is dropped or kept in memory.
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
    assert (len(ledger), len(ledger.left), len(processor._runs), len(processor._ledger)) == (0, 0, 0, 0)
    assert len(traces) >= 16 * ROUNDS * 0.9
    for trace in traces:
        by_id = {one.id: one for one in trace.observations}
        assert [one.parent_id for one in trace.observations if one.parent_id not in by_id] == [None], trace
        for one in trace.observations:
            parent = by_id[one.parent_id].name if one.parent_id else None
            assert one.status is not None, f"{one.name} below {parent} stayed open"
            assert parent in PARENTS.get(one.name, {parent}), f"{one.name} below {parent}"
