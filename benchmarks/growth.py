"""
Measure how the cost of a step grows with the history that it is given: 10 to 9,000 messages.

The step is a LangChain runnable that takes a state with messages and returns it with one more, so each run records the
history twice. The figures are times, whose ratios show the growth.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage
from langchain_core.runnables import RunnableConfig, RunnableLambda

import fluxloop
from fluxloop_langchain import FluxLoopCallbackHandler

from .registry import Ways, case


def history(length: int) -> list[BaseMessage]:
    """Return a conversation with tool calls, of *length* messages."""
    found: list[BaseMessage] = []
    for turn in range(length // 4 + 1):
        search = {"name": "search", "args": {"query": f"trains {turn}"}, "id": f"call-{turn}"}
        found += [
            HumanMessage(f"Which of the trains on day {turn} still have seats?"),
            AIMessage("", tool_calls=[search]),
            ToolMessage("The 07:58 and the 09:58 do; the 08:58 is sold out.", tool_call_id=f"call-{turn}"),
            AIMessage("Two of them do: the 07:58 and the 09:58.", response_metadata={"finish_reason": "stop"}),
        ]
    return found[:length]


def _step(length: int, folder: Path) -> Iterator[Ways]:
    state = {"messages": history(length)}
    step: Any = RunnableLambda(lambda state: {"messages": [*state["messages"], AIMessage("Shall I book?")]})
    fluxloop.configure(base_path=folder)
    ours: RunnableConfig = {"callbacks": [FluxLoopCallbackHandler()]}

    def check() -> list[str]:
        traces = list(fluxloop.read_traces(folder))
        wrong = [trace for trace in traces if len(trace.output["messages"]) != length + 1]
        return [f"{len(wrong)} of {len(traces)} traces are wrong"] if wrong or not traces else []

    yield Ways(
        bare=lambda calls: [step.invoke(state) for _ in range(calls)],
        ours=lambda calls: [step.invoke(state, ours) for _ in range(calls)],
        check=check,
    )


@case("history-10", calls=20, rounds=20)
def history_10(folder: Path) -> Iterator[Ways]:
    """A step with a history of 10 messages."""
    yield from _step(10, folder)


@case("history-100", calls=10, rounds=20)
def history_100(folder: Path) -> Iterator[Ways]:
    """A step with a history of 100 messages."""
    yield from _step(100, folder)


@case("history-1000", calls=5, rounds=10)
def history_1000(folder: Path) -> Iterator[Ways]:
    """A step with a history of 1,000 messages."""
    yield from _step(1_000, folder)


@case("history-9000", calls=2, rounds=5)
def history_9000(folder: Path) -> Iterator[Ways]:
    """A step with a history of 9,000 messages, which is nearly as much as one value can hold."""
    yield from _step(9_000, folder)
