"""
Measure LangGraph runs over a state with many messages: what a run costs, and the bytes of a conversation.

The runs have nodes in a row that each add a message. The figures of 1,000 and 10,000 messages are compared with those
of 10: a cost that does not grow with the history would give a ratio of one.
"""

from __future__ import annotations

import operator
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any, TypedDict

import orjson
from langchain_core.messages import AIMessage, BaseMessage
from langgraph.graph import END, START, StateGraph

import fluxloop
from fluxloop_langgraph import wrap_graph

from .growth import history
from .registry import Ways, case, report
from .results import Row, Spread, Target

NODES, TURNS = 4, 20


class State(TypedDict):
    """A conversation."""

    messages: Annotated[list[BaseMessage], operator.add]


def answer(state: State) -> Any:
    """Add a message."""
    return {"messages": [AIMessage("The 07:58 is the first with free seats. Shall I book?")]}


def _ways(folder: Path, length: int) -> Iterator[Ways]:
    builder: Any = StateGraph(State).add_sequence([(f"n{one}", answer) for one in range(NODES)]).add_edge(START, "n0")
    bare, wrapped = builder.compile(), wrap_graph(builder.compile())
    fluxloop.configure(base_path=folder)
    given: Any = {"messages": history(length)}

    def run(graph: Any) -> Any:
        return lambda calls: [graph.invoke(given) for _ in range(calls)]

    def check() -> list[str]:
        sizes = [len(trace.children(trace.roots[0])) for trace in fluxloop.read_traces(folder)]
        wrong = [size for size in sizes if size != NODES]
        return [f"{len(wrong)} of {len(sizes)} traces are wrong"] if wrong or not sizes else []

    yield Ways(bare=run(bare), ours=run(wrapped), check=check)


@case("graph-history-10", calls=10, rounds=20)
def graph_history_10(folder: Path) -> Iterator[Ways]:
    """A run of four nodes over 10 messages."""
    yield from _ways(folder, 10)


@case("graph-history-1000", calls=2, rounds=20)
def graph_history_1000(folder: Path) -> Iterator[Ways]:
    """A run of four nodes over 1,000 messages."""
    yield from _ways(folder, 1_000)


@case("graph-history-10000", calls=1, rounds=5)
def graph_history_10000(folder: Path) -> Iterator[Ways]:
    """A run of four nodes over 10,000 messages."""
    yield from _ways(folder, 10_000)


@report("turns")
def turns(is_quick: bool) -> Row:
    """Compare the bytes recorded of 20 turns over a long history with the bytes of the last state."""
    length = 100 if is_quick else 1_000

    def follows(state: State) -> str:
        return END if len(state["messages"]) >= length + TURNS else "answer"

    builder: Any = StateGraph(State).add_node("answer", answer).add_edge(START, "answer")
    graph: Any = wrap_graph(builder.add_conditional_edges("answer", follows, ["answer", END]).compile())
    given: Any = {"messages": history(length)}
    with TemporaryDirectory() as name:
        fluxloop.configure(base_path=name)
        try:
            graph.invoke(given, {"recursion_limit": 2 * TURNS})
        finally:
            fluxloop.shutdown()
            fluxloop.reset_config()
        [trace] = fluxloop.read_traces(name)
        written = sum(path.stat().st_size for path in Path(name).glob("*.jsonl"))
    messages = trace.output["messages"]
    last = len(orjson.dumps(trace.output))
    return Row(
        "turns",
        floor=last / 1e3,
        ours=written / 1e3,
        unit="kB",
        figure=Spread.of([written / last]),
        target=Target(2, "x"),
        faults=() if len(messages) == length + TURNS else (f"{length + TURNS - len(messages)} messages lost",),
        note=f"files of {TURNS} turns over {length:,} messages; floor: the last state",
    )
