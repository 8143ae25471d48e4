"""
Graphs for the tests of `fluxloop_langgraph`: small, each with one feature of LangGraph.
"""

from __future__ import annotations

import operator
import re
from typing import Annotated, Any, TypedDict

from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.func import entrypoint, task
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import Command, RetryPolicy, Send, interrupt

THREAD = {"configurable": {"thread_id": "t-1"}}


class State(TypedDict, total=False):
    """The state of most graphs: a list that grows, and a number that is replaced."""

    seen: Annotated[list[str], operator.add]
    n: int


def steps(*, count: int = 2, **options: Any) -> Any:
    """Nodes in sequence."""
    builder = StateGraph(State)
    for number in range(count):
        builder.add_node(f"step_{number}", _step(number))
        builder.add_edge(f"step_{number - 1}" if number else START, f"step_{number}")
    return builder.compile(**options)


def _step(number: int) -> Any:
    def step(state: State) -> State:
        return {"seen": [f"step_{number}"], "n": number}

    return step


def loop(**options: Any) -> Any:
    """One node that runs until it has counted to three."""
    builder = StateGraph(State)

    def count(state: State) -> State:
        return {"seen": ["count"], "n": state.get("n", 0) + 1}

    def again(state: State) -> str:
        return "count" if state["n"] < 3 else "__end__"

    builder.add_node("count", count)
    builder.add_edge(START, "count")
    builder.add_conditional_edges("count", again, ["count", "__end__"])
    return builder.compile(**options)


def fan_out(width: int, **options: Any) -> Any:
    """A node that sends *width* others an input each."""
    builder = StateGraph(State)

    def plan(state: State) -> State:
        return {"n": width}

    def work(state: State) -> State:
        return {"seen": [str(state["n"])]}

    def send(state: State) -> list[Send]:
        return [Send("work", {"n": number}) for number in range(width)]

    builder.add_node("plan", plan)
    builder.add_node("work", work)
    builder.add_edge(START, "plan")
    builder.add_conditional_edges("plan", send, ["work"])
    return builder.compile(**options)


def nested(inner: Any = None, **options: Any) -> Any:
    """A graph with a subgraph."""
    builder = StateGraph(State)
    builder.add_node("before", _step(0))
    builder.add_node("inner", inner if inner is not None else steps(count=1))
    builder.add_edge(START, "before")
    builder.add_edge("before", "inner")
    return builder.compile(**options)


def asking(**options: Any) -> Any:
    """A node that asks a human, and a node after it."""
    builder = StateGraph(State)

    def ask(state: State) -> State:
        return {"seen": [interrupt({"question": "go on?"})]}

    builder.add_node("ask", ask)
    builder.add_node("after", _step(1))
    builder.add_edge(START, "ask")
    builder.add_edge("ask", "after")
    return builder.compile(**{"checkpointer": InMemorySaver(), **options})


def asking_inside(**options: Any) -> Any:
    """A graph whose subgraph asks a human."""
    return nested(asking(checkpointer=None), **{"checkpointer": InMemorySaver(), **options})


def failing(error: BaseException | None = None, **options: Any) -> Any:
    """A node that fails."""
    builder = StateGraph(State)

    def fail(state: State) -> State:
        raise error or ValueError("no such page")

    builder.add_node("fail", fail)
    builder.add_edge(START, "fail")
    return builder.compile(**options)


def flaky(failures: int = 2, **options: Any) -> Any:
    """A node that fails *failures* times before it succeeds."""
    builder = StateGraph(State)
    tries: list[int] = []

    def fetch(state: State) -> State:
        tries.append(1)
        if len(tries) <= failures:
            raise ConnectionError("busy")
        return {"n": len(tries)}

    policy = RetryPolicy(initial_interval=0.0, jitter=False, max_attempts=4)
    builder.add_node("fetch", fetch, retry_policy=policy)
    builder.add_edge(START, "fetch")
    return builder.compile(**options)


def handing_over(**options: Any) -> Any:
    """A subgraph that sends a command to its parent graph."""
    builder = StateGraph(State)

    def hand_over(state: State) -> Command[Any]:
        return Command(graph=Command.PARENT, goto="after", update={"seen": ["handed over"]})

    builder.add_node("hand_over", hand_over)
    builder.add_edge(START, "hand_over")
    outer = StateGraph(State)
    outer.add_node("inner", builder.compile())
    outer.add_node("after", _step(1))
    outer.add_edge(START, "inner")
    return outer.compile(**options)


def chat(model: Any = None, **options: Any) -> Any:
    """A node that calls a streaming chat model."""
    builder = StateGraph(MessagesState)
    replies = iter([AIMessage(content="good morning", id=f"m-{n}") for n in range(50)])
    model = model or GenericFakeChatModel(messages=replies)

    def talk(state: MessagesState) -> dict[str, Any]:
        return {"messages": [model.invoke(state["messages"])]}

    builder.add_node("talk", talk)
    builder.add_edge(START, "talk")
    return builder.compile(**options)


def functional(**options: Any) -> Any:
    """The functional API: an entrypoint that calls a task twice."""

    @task
    def double(n: int) -> int:
        return 2 * n

    @entrypoint(**{"checkpointer": InMemorySaver(), **options})
    def workflow(n: int) -> int:
        return double(double(n).result()).result()

    return workflow


def only(recorded: Any, name: str) -> list[Any]:
    """Return the recorded observations named *name*, in order."""
    return [one for trace in recorded.traces() for one in trace.observations if one.name == name]


_SAME = re.compile(
    r"(?P<uuid>[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})|(?P<id>\b[0-9a-f]{32}\b)"
    r"|(?P<time>\d{4}-\d\d-\d\dT[\d:.]+(?:\+00:00|Z)?)|(?P<at> at 0x[0-9a-f]+)|(?P<ts>\b1[67]\d{11}\b)"
)


def story(value: object) -> str:
    """Return *value* as text with ids and times replaced by numbers, so that two runs of a program compare equal."""
    names: dict[str, str] = {}

    def renamed(match: re.Match[str]) -> str:
        if match.lastgroup in ("at", "time", "ts"):
            return f"<{match.lastgroup}>"
        return names.setdefault(match[0], f"<{match.lastgroup} {len(names)}>")

    return _SAME.sub(renamed, repr(value))
