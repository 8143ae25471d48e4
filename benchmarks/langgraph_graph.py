"""
Measure what wrapping a graph adds to its runs: ten nodes in a row, and a node that sends a hundred others an input.

The wrapped and the bare graph run in turns. The targets are a quarter of the time of ten bare nodes, and three
tenths of that of the fan-out; `check` reads back every tree. Run as a program, this module prints both ratios.

    python -m benchmarks.langgraph_graph
"""

from __future__ import annotations

import operator
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, TypedDict

from langchain_core.callbacks import BaseCallbackHandler
from langgraph.graph import START, StateGraph
from langgraph.types import Send

import fluxloop
from fluxloop_langgraph import wrap_graph

from .registry import Ways, case
from .results import Target

NODES, WIDTH = 10, 100
GIVEN: Any = {"seen": []}


class State(TypedDict, total=False):
    """A list that grows, and a number that is replaced."""

    seen: Annotated[list[int], operator.add]
    n: int


def row() -> Any:
    """Return a graph of nodes in a row."""

    def node(number: int) -> Any:
        return lambda state: {"seen": [number], "n": number}

    return StateGraph(State).add_sequence([(f"n{one}", node(one)) for one in range(NODES)]).add_edge(START, "n0")


def fan() -> Any:
    """Return a graph whose first node sends many others an input each."""

    def send(state: State) -> list[Send]:
        return [Send("work", {"n": number}) for number in range(WIDTH)]

    builder = StateGraph(State).add_node("plan", lambda state: {"n": WIDTH})
    builder.add_node("work", lambda state: {"seen": [state["n"]]})
    return builder.add_edge(START, "plan").add_conditional_edges("plan", send, ["work"])


def _ways(folder: Path, builder: Any, nodes: int) -> Iterator[Ways]:
    bare, wrapped = builder.compile(), wrap_graph(builder.compile())
    fluxloop.configure(base_path=folder)

    def run(graph: Any) -> Any:
        return lambda calls: [graph.invoke(GIVEN) for _ in range(calls)]

    nothing = {"callbacks": [BaseCallbackHandler()]}
    yield Ways(
        bare=run(bare),
        floor=lambda calls: [bare.invoke(GIVEN, nothing) for _ in range(calls)],
        ours=run(wrapped),
        check=lambda: wrong(folder, nodes),
    )


def wrong(folder: Path, nodes: int) -> list[str]:
    """Return the errors in the trees recorded in *folder*."""
    found = []
    for trace in fluxloop.read_traces(folder):
        children = trace.children(trace.roots[0])
        if len(trace.roots) != 1 or len(children) != nodes:
            found.append(f"{len(trace.roots)} roots with {len(children)} of {nodes} nodes")
    return found


@case("langgraph-nodes", calls=10, target=Target(500_000, "ns"))
def ten_nodes(folder: Path) -> Iterator[Ways]:
    """A graph of ten nodes in a row."""
    yield from _ways(folder, row(), NODES)


@case("langgraph-fan-out", calls=2, rounds=30, target=Target(6_000_000, "ns"))
def fan_out(folder: Path) -> Iterator[Ways]:
    """A graph that runs a hundred nodes in parallel."""
    yield from _ways(folder, fan(), WIDTH + 1)


def compared(ways: Ways, calls: int, rounds: int) -> tuple[float, float]:
    """Return the milliseconds per call, bare and wrapped: the medians of *rounds* that alternate."""
    took: dict[Any, list[float]] = {ways.bare: [], ways.ours: []}
    for _ in range(rounds):
        for way, times in took.items():
            begun = time.perf_counter()
            way(calls)
            times.append((time.perf_counter() - begun) / calls * 1e3)
    return statistics.median(took[ways.bare]), statistics.median(took[ways.ours])


if __name__ == "__main__":
    for name, one, target in (("ten nodes", ten_nodes, 0.25), ("fan-out of 100", fan_out, 0.3)):
        with tempfile.TemporaryDirectory() as where, one.open(Path(where)) as ways:
            bare_ms, ours_ms = compared(ways, one.calls, one.rounds)
            wrong_trees = len(ways.check()) if ways.check else 0
            print(f"{name:16} bare {bare_ms:6.2f} ms, adds {ours_ms - bare_ms:5.2f} ms")
            print(f"{'':16} {(ours_ms - bare_ms) / bare_ms:.2f} of it (target {target}), {wrong_trees} wrong trees")
