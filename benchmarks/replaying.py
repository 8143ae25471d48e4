"""
Measure replays: an agent that is answered from its recording, loading a cassette, and matching in a large one.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from time import process_time
from typing import Any

import orjson

import fluxloop
from fluxloop.replay.block import traces_in
from fluxloop.replay.recording import tree_of
from fluxloop.testing import capture

from .registry import report
from .results import Row, Spread, Target

ROUNDS, QUICK_ROUNDS = 7, 3
CALLS = 1_000
ANSWER = {"answer": "The 07:58 goes from Paris to Lyon without a change. " * 40, "score": 0.87}
"""About two kilobytes, as a page that a tool returns."""


@fluxloop.tool
def search(query: str, number: int) -> dict[str, Any]:
    """Return the same answer."""
    return {**ANSWER, "number": number}


@fluxloop.agent
def run(count: int) -> None:
    """Make *count* calls of a tool."""
    for number in range(count):
        search("trains from Paris to Lyon", number)


@report("replay")
def replay(is_quick: bool) -> Row:
    """Run a LangGraph agent with a scripted model and two tools, and replay it; figures are per run."""
    agent = _agent()
    with capture() as captured:
        agent()
    traces = captured.traces()
    rounds = []
    for _ in range(QUICK_ROUNDS if is_quick else ROUNDS * 3):
        with capture():
            bare = _seconds(agent)
        with capture(), fluxloop.replay(traces):
            rounds.append((bare, _seconds(agent)))
    return _row("replay", rounds, 1, Target(2, "x"), "LangGraph agent, scripted model; floor: running it")


@report("cassette")
def loading(is_quick: bool) -> Row:
    """Load a cassette of 1,000 calls, compared with `orjson.loads` of its lines; figures are per call."""
    with TemporaryDirectory() as name:
        path = Path(name, "case.jsonl")
        with fluxloop.cassette(path):
            run(CALLS)
        lines = path.read_bytes().splitlines()
        rounds = [
            (_seconds(lambda: [orjson.loads(line) for line in lines]), _seconds(lambda: tree_of(traces_in(path, None))))
            for _ in range(QUICK_ROUNDS if is_quick else ROUNDS)
        ]
    return _row("cassette", rounds, CALLS, Target(3, "x"), "1,000 calls; floor: orjson.loads")


@report("matching")
def matching(is_quick: bool) -> Row:
    """Answer calls from a recording of many calls, compared with one of 100; figures are per call."""
    count = CALLS if is_quick else 10 * CALLS
    small, large = _recorded(100), _recorded(count)
    rounds = [
        (_replayed(small, 100) / 100, _replayed(large, count) / count) for _ in range(QUICK_ROUNDS if is_quick else 5)
    ]
    return _row("matching", rounds, 1, Target(2, "x"), f"{count:,} calls; floor: 100 calls")


def _row(name: str, rounds: list[tuple[float, float]], calls: int, target: Target, note: str) -> Row:
    return Row(
        name,
        floor=1e6 * min(floor for floor, _ in rounds) / calls,
        ours=1e6 * min(ours for _, ours in rounds) / calls,
        figure=Spread.of([ours / floor for floor, ours in rounds]),
        target=target,
        note=note,
    )


def _seconds(work: Callable[[], object]) -> float:
    started = process_time()
    work()
    return process_time() - started


def _recorded(count: int) -> list[Any]:
    with capture() as captured:
        run(count)
    return captured.traces()


def _replayed(traces: list[Any], count: int) -> float:
    with capture(), fluxloop.replay(traces):
        return _seconds(lambda: run(count))


def _agent() -> Callable[[], object]:
    from langchain.agents import create_agent
    from langchain_core.language_models import GenericFakeChatModel
    from langchain_core.messages import AIMessage
    from langchain_core.tools import tool

    from fluxloop_langchain import FluxLoopCallbackHandler

    class Scripted(GenericFakeChatModel):
        def bind_tools(self, tools: Any, **options: Any) -> Any:
            return self

    @tool
    def look(city: str) -> str:
        """Look at the weather."""
        return f"sunny in {city}"

    asked = [{"name": "look", "args": {"city": city}, "id": city} for city in ("Rome", "Oslo")]
    handler = FluxLoopCallbackHandler()

    def work() -> object:
        model = Scripted(messages=iter([AIMessage("", tool_calls=asked), AIMessage("All is well.")]))
        return create_agent(model, [look]).invoke({"messages": [("user", "hi")]}, {"callbacks": [handler]})

    return work
