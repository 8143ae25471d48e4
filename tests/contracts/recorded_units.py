"""
Everything that FluxLoop records while code of the user's runs: call shapes, blocks, and runs of frameworks.

Each unit takes a function of one argument, runs it inside the recorded unit and returns its result. A new call shape or
adapter is added here, and has to pass test_recording_contract.py.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypedDict

from agents import Agent, RunConfig, Runner, function_tool
from langchain_core.runnables import RunnableLambda
from langchain_core.tools import tool as langchain_tool
from langgraph.graph import END, START, StateGraph

import fluxloop
from fluxloop_custom import instrument_tool
from fluxloop_custom.testing import Calls, Says, ScriptedModel
from fluxloop_langchain import FluxLoopCallbackHandler
from fluxloop_langgraph import wrap_graph

Body = Callable[[str], str]


@dataclass(frozen=True)
class Unit:
    """One way to run a function while it is recorded."""

    run: Callable[[Body, str], str]
    type: str = "TOOL"
    """The type of the observation that the function runs in."""
    has_arguments: bool = True
    """Whether the input is captured from the call."""
    has_output: bool = True
    """Whether the output is captured from the call."""
    passes_errors: bool = True
    """Whether an exception reaches the caller as it is; False if the framework makes another of it."""
    handles_cancellation: bool = False
    """Whether the framework makes something else of a cancellation by the user's code itself."""


# Call shapes


def function(body: Body, value: str) -> str:
    @fluxloop.tool(name="unit")
    def unit(value: str) -> str:
        return body(value)

    return unit(value)


def method(body: Body, value: str) -> str:
    class Box:
        @fluxloop.tool(name="unit")
        def unit(self, value: str) -> str:
            return body(value)

    return Box().unit(value)


def class_method(body: Body, value: str) -> str:
    class Box:
        @classmethod
        @fluxloop.tool(name="unit")
        def unit(cls, value: str) -> str:
            return body(value)

    return Box.unit(value)


def static_method(body: Body, value: str) -> str:
    class Box:
        @fluxloop.tool(name="unit")
        @staticmethod
        def unit(value: str) -> str:
            return body(value)

    return Box.unit(value)


def partial_function(body: Body, value: str) -> str:
    def unit(body: Body, value: str) -> str:
        return body(value)

    return fluxloop.tool(functools.partial(unit, body))(value)


def under_a_decorator(body: Body, value: str) -> str:
    def decorated(func: Callable[[str], str]) -> Callable[[str], str]:
        @functools.wraps(func)
        def inner(value: str) -> str:
            return func(value)

        return inner

    @fluxloop.tool(name="unit")
    @decorated
    def unit(value: str) -> str:
        return body(value)

    return unit(value)


def coroutine(body: Body, value: str) -> str:
    @fluxloop.tool(name="unit")
    async def unit(value: str) -> str:
        await asyncio.sleep(0)
        return body(value)

    return asyncio.run(unit(value))


def returned_coroutine(body: Body, value: str) -> str:
    async def work(value: str) -> str:
        await asyncio.sleep(0)
        return body(value)

    @fluxloop.tool(name="unit")
    def unit(value: str) -> Any:
        return work(value)

    async def main() -> str:
        return await unit(value)

    return asyncio.run(main())


def returned_task(body: Body, value: str) -> str:
    async def work(value: str) -> str:
        await asyncio.sleep(0)
        return body(value)

    @fluxloop.tool(name="unit")
    def unit(value: str) -> Any:
        return asyncio.ensure_future(work(value))

    async def main() -> str:
        return await unit(value)

    return asyncio.run(main())


def generator(body: Body, value: str) -> str:
    @fluxloop.tool(name="unit")
    def unit(value: str) -> Iterator[str]:
        yield body(value)

    return "".join(unit(value))


def returned_generator(body: Body, value: str) -> str:
    def work(value: str) -> Iterator[str]:
        yield body(value)

    @fluxloop.tool(name="unit")
    def unit(value: str) -> Any:
        return work(value)

    return "".join(unit(value))


def async_generator(body: Body, value: str) -> str:
    @fluxloop.tool(name="unit")
    async def unit(value: str) -> AsyncIterator[str]:
        yield body(value)

    async def main() -> str:
        return "".join([item async for item in unit(value)])

    return asyncio.run(main())


# Blocks


def block(body: Body, value: str) -> str:
    with fluxloop.instrument("unit", observation_type="tool"):
        return body(value)


def async_block(body: Body, value: str) -> str:
    async def main() -> str:
        async with fluxloop.instrument("unit", observation_type="tool"):
            return body(value)

    return asyncio.run(main())


def decorating_block(body: Body, value: str) -> str:
    @fluxloop.instrument("unit", observation_type="tool")
    def unit(value: str) -> str:
        return body(value)

    return unit(value)


def manual_block(body: Body, value: str) -> str:
    with fluxloop.observe("unit", "tool", input=value) as observation:
        observation.output = result = body(value)
        return result


# Frameworks


class State(TypedDict):
    """The state of the graph."""

    value: str


def chain(body: Body, value: str) -> str:
    return RunnableLambda(body, name="unit").invoke(value, {"callbacks": [FluxLoopCallbackHandler()]})


def async_chain(body: Body, value: str) -> str:
    async def unit(value: str) -> str:
        return body(value)

    runnable = RunnableLambda(unit, name="unit")
    return asyncio.run(runnable.ainvoke(value, {"callbacks": [FluxLoopCallbackHandler()]}))


def streamed_chain(body: Body, value: str) -> str:
    runnable = RunnableLambda(body, name="unit")
    return "".join(runnable.stream(value, {"callbacks": [FluxLoopCallbackHandler()]}))


def chain_tool(body: Body, value: str) -> str:
    @langchain_tool
    def unit(value: str) -> str:
        """Do the work."""
        return body(value)

    return unit.invoke({"value": value}, {"callbacks": [FluxLoopCallbackHandler()]})  # type: ignore[no-any-return]


def decorated_chain_tool(body: Body, value: str) -> str:
    @langchain_tool
    @fluxloop.tool
    def unit(value: str) -> str:
        """Do the work."""
        return body(value)

    return unit.invoke({"value": value}, {"callbacks": [FluxLoopCallbackHandler()]})  # type: ignore[no-any-return]


def _graph(node: Any) -> Any:
    builder = StateGraph(State)
    builder.add_node("unit", node)
    builder.add_edge(START, "unit")
    builder.add_edge("unit", END)
    return wrap_graph(builder.compile())


def graph(body: Body, value: str) -> str:
    return _graph(lambda state: {"value": body(state["value"])}).invoke({"value": value})["value"]  # type: ignore[no-any-return]


def async_graph(body: Body, value: str) -> str:
    async def node(state: State) -> State:
        return {"value": body(state["value"])}

    return asyncio.run(_graph(node).ainvoke({"value": value}))["value"]  # type: ignore[no-any-return]


def streamed_graph(body: Body, value: str) -> str:
    runs = _graph(lambda state: {"value": body(state["value"])})
    return [*runs.stream({"value": value}, stream_mode="values")][-1]["value"]  # type: ignore[no-any-return]


def sdk_tool(body: Body, value: str) -> str:
    """The model's answer comes after the tool's; the result is the tool's."""
    results = []

    @function_tool(failure_error_function=None)
    def unit(value: str) -> str:
        results.append(body(value))
        return results[-1]

    agent = Agent(name="A", model=ScriptedModel(Calls("unit", {"value": value}), Says("done")), tools=[unit])
    asyncio.run(Runner.run(agent, "hi", run_config=RunConfig()))
    return results[0]


def instrumented_tool(body: Body, value: str) -> str:
    @langchain_tool
    def unit(value: str) -> str:
        """Do the work."""
        return body(value)

    return instrument_tool(unit).invoke({"value": value})  # type: ignore[no-any-return]


UNITS: dict[str, Unit] = {
    "function": Unit(function),
    "method": Unit(method),
    "class method": Unit(class_method),
    "static method": Unit(static_method),
    "partial": Unit(partial_function),
    "under a decorator": Unit(under_a_decorator),
    "coroutine": Unit(coroutine),
    "returned coroutine": Unit(returned_coroutine),
    "returned task": Unit(returned_task),
    "generator": Unit(generator),
    "returned generator": Unit(returned_generator),
    "async generator": Unit(async_generator),
    "block": Unit(block, has_arguments=False, has_output=False),
    "async block": Unit(async_block, has_arguments=False, has_output=False),
    "decorating block": Unit(decorating_block),
    "manual block": Unit(manual_block),
    "LangChain chain": Unit(chain, "CHAIN"),
    "LangChain async chain": Unit(async_chain, "CHAIN"),
    "LangChain streamed chain": Unit(streamed_chain, "CHAIN"),
    "LangChain tool": Unit(chain_tool),
    "LangChain tool, decorated": Unit(decorated_chain_tool),
    "LangGraph graph": Unit(graph, "CHAIN", handles_cancellation=True),
    "LangGraph async graph": Unit(async_graph, "CHAIN", handles_cancellation=True),
    "LangGraph streamed graph": Unit(streamed_graph, "CHAIN", handles_cancellation=True),
    "Agents SDK tool": Unit(sdk_tool, passes_errors=False, handles_cancellation=True),
    "instrumented tool": Unit(instrumented_tool),
}
