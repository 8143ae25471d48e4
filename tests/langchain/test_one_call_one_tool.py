"""
One call of a tool is one TOOL, whatever decorators there are between LangChain's tool and FluxLoop's.
"""

from __future__ import annotations

import asyncio
import functools
import inspect

import pytest
from langchain_core.tools import BaseTool, StructuredTool, Tool, tool
from scripted_models import ScriptedModel, calls

import fluxloop
from fluxloop_custom import instrument_tool
from fluxloop_langchain import FluxLoopCallbackHandler


def plain(function):
    """Decorate with `functools.wraps`, for functions and coroutine functions."""
    if inspect.iscoroutinefunction(function):

        @functools.wraps(function)
        async def wrapper(*args, **kwargs):
            return await function(*args, **kwargs)
    else:

        @functools.wraps(function)
        def wrapper(*args, **kwargs):
            return function(*args, **kwargs)

    return wrapper


def renaming(function):
    """As `plain`, under another name."""
    wrapper = plain(function)
    wrapper.__name__ = "another"
    return wrapper


def retrying(function):
    """Call the function again after an error."""

    @functools.wraps(function)
    def wrapper(*args, **kwargs):
        for _ in range(2):
            try:
                return function(*args, **kwargs)
            except ConnectionError:
                continue
        raise AssertionError

    return wrapper


def without_wraps(function):
    """As `plain`, without `functools.wraps`, but with the schema that `tool` needs."""
    if inspect.iscoroutinefunction(function):

        async def wrapper(*args, **kwargs):
            return await function(*args, **kwargs)
    else:

        def wrapper(*args, **kwargs):
            return function(*args, **kwargs)

    wrapper.__doc__, wrapper.__signature__ = function.__doc__, inspect.signature(function)
    wrapper.__annotations__ = function.__annotations__
    return wrapper


class Counting:
    """A callable object with the function in an attribute."""

    def __init__(self, function):
        functools.update_wrapper(self, function)
        self.function = function
        self.count = 0

    def __call__(self, *args, **kwargs):
        self.count += 1
        return self.function(*args, **kwargs)


def add(a: int, b: int = 2) -> int:
    """Add two numbers."""
    return a + b


async def aadd(a: int, b: int = 2) -> int:
    """Add two numbers."""
    await asyncio.sleep(0)
    return a + b


traced, atraced = fluxloop.tool(add), fluxloop.tool(aadd)


class Adder(BaseTool):
    """A tool as a class, whose method is decorated."""

    name: str = "adder"
    description: str = "Adds."

    @fluxloop.tool
    def _run(self, a: int, b: int = 2) -> int:
        return a + b

    @fluxloop.tool
    async def _arun(self, a: int, b: int = 2) -> int:
        return a + b


class Between(Adder):
    """The same with a decorator of the user's between LangChain and FluxLoop."""

    @plain
    @fluxloop.tool
    def _run(self, a: int, b: int = 2) -> int:
        return a + b

    @plain
    @fluxloop.tool
    async def _arun(self, a: int, b: int = 2) -> int:
        return a + b


class Inheriting(Between):
    """The same, called through a method of a subclass."""

    def _run(self, a: int, b: int = 2) -> int:
        return super()._run(a, b)

    async def _arun(self, a: int, b: int = 2) -> int:
        return await super()._arun(a, b)


class Methods:
    """Tools made of methods."""

    @fluxloop.tool
    def add(self, a: int, b: int = 2) -> int:
        """Add two numbers."""
        return a + b


class Adding:
    """A callable object that is recorded."""

    @plain
    @fluxloop.tool
    def __call__(self, a: int, b: int = 2) -> int:
        """Add two numbers."""
        return a + b


both = StructuredTool.from_function


def tool_of(func):
    """Return the tool of a callable that is not a function."""
    return StructuredTool(name="add", description="Add two numbers.", func=func, args_schema=tool(add).args_schema)


TOOLS = {
    "no decorator between": tool(traced),
    "a decorator between": tool(plain(traced)),
    "three decorators between": tool(plain(renaming(plain(traced)))),
    "another name": tool(renaming(traced)),
    "the user's decorator inside": tool(fluxloop.tool(plain(add))),
    "decorators on both sides": tool(plain(fluxloop.tool(plain(add)))),
    "no functools.wraps": tool(without_wraps(traced)),
    "a retry": tool(retrying(traced)),
    "named by LangChain": tool("sum", description="Add.")(plain(traced)),
    "named by FluxLoop": tool(plain(fluxloop.tool(name="tool.add")(add))),
    "from_function": both(traced),
    "from_function, decorated": both(plain(traced)),
    "from_function with a coroutine": both(plain(traced), coroutine=plain(atraced)),
    "coroutine": tool(atraced),
    "decorated coroutine": tool(plain(atraced)),
    "coroutine without functools.wraps": tool(without_wraps(atraced)),
    "partial": tool_of(functools.partial(traced, b=2)),
    "partial of a decorated function": tool_of(plain(functools.partial(plain(traced), b=2))),
    "callable object": tool_of(Counting(traced)),
    "class": Adder(),
    "class with a decorator between": Between(),
    "subclass": Inheriting(),
    "bound method": both(Methods().add),
    "callable object of a class": tool_of(Adding()),
    "FluxLoop on top": fluxloop.tool(tool(add)),
    "FluxLoop on top of a decorator": fluxloop.tool(tool(plain(add))),
    "FluxLoop on top and below": fluxloop.tool(tool(plain(traced))),
    "FluxLoop on top of a class": instrument_tool(Between()),
    "FluxLoop on top of a coroutine": fluxloop.tool(tool(plain(aadd))),
}
ONLY_ASYNC = [name for name in TOOLS if "coroutine" in name and "with a coroutine" not in name]
NOT_IN_AGENTS = ("partial", "callable object of a class")
"""Newer releases of langchain raise an error for tools of callables that are not functions."""


def call(made, is_async, config, **args):
    message = {"name": made.name, "args": args, "id": "c", "type": "tool_call"}
    return asyncio.run(made.ainvoke(message, config)) if is_async else made.invoke(message, config)


@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
@pytest.mark.parametrize("name", TOOLS)
def test_one_call_is_one_tool(captured, config, name, is_async):
    """The record has the arguments and the value of the function."""
    if name in ONLY_ASYNC and not is_async:
        pytest.skip("a coroutine function")
    assert call(TOOLS[name], is_async, config, a=1, b=2).content == "3"
    (trace,) = captured.traces()
    (observation,) = trace.observations

    assert (observation.type.name, observation.output) == ("TOOL", 3)
    assert {key: item for key, item in observation.input.items() if key in "ab"} == {"a": 1, "b": 2}
    assert observation.metadata["tool_call_id"] == "c"


@pytest.mark.parametrize("name", [name for name in TOOLS if name not in (*ONLY_ASYNC, *NOT_IN_AGENTS)])
def test_one_call_of_an_agent_is_one_tool(captured, config, name):
    """LangGraph calls the tools of an agent in threads."""
    agents = pytest.importorskip("langchain.agents")
    made = TOOLS[name]
    model = ScriptedModel(replies=[calls(made.name, {"a": 1, "b": 2}), "three"])
    agents.create_agent(model, [made]).invoke({"messages": [("user", "1 + 2?")]}, config)

    assert [one.output for one in captured.traces()[0].observations if one.type.name == "TOOL"] == [3]


@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
@pytest.mark.parametrize("helper_is_wrapped", [False, True])
def test_another_tool_that_a_tool_calls_is_a_tool_of_its_own(captured, config, helper_is_wrapped, is_async):
    """Also if it is a decorated function that is called directly, and has the same name."""
    helper = plain(traced) if helper_is_wrapped else traced

    def sum_up(a: int) -> int:
        """Add up."""
        return helper(a)

    call(tool("add")(plain(sum_up)), is_async, config, a=1)

    assert captured.outline() == "TOOL add -> '3'\n  TOOL add -> 3"


def test_a_recursive_tool_is_one_tool_per_call(captured, config):
    """The calls inside are tools of their own, whose parents are the calls around them."""

    @fluxloop.tool
    def count(n: int) -> int:
        """Count down."""
        return n and plain(count)(n - 1)

    call(tool(plain(count)), False, config, n=2)

    assert captured.outline() == "TOOL count -> 0\n  TOOL count -> 0\n    TOOL count -> 0"


def test_attempts_of_a_retried_function_are_one_tool(captured, config):
    """A decorator that calls the function again is inside one call of the tool."""
    failures = [ConnectionError("busy")]

    @fluxloop.tool
    def fetch(url: str) -> str:
        """Fetch."""
        if failures:
            raise failures.pop()
        return "page"

    assert call(tool(retrying(fetch)), False, config, url="x").content == "page"
    assert captured.outline() == "TOOL fetch -> 'page'"


def test_parallel_calls_of_one_decorated_tool_are_one_tool_each(captured, config):
    """Ten calls at once, in threads, each with its own arguments and value."""

    async def call_all():
        made = tool(plain(traced))
        await asyncio.gather(*(made.ainvoke({"a": number}, config) for number in range(10)))

    asyncio.run(call_all())

    assert sorted(captured.outline().splitlines()) == sorted(f"TOOL add -> {number + 2}" for number in range(10))


def test_a_tool_of_langchain_s_older_class_is_one_tool(captured, config):
    """`Tool` has a single argument, which is a text."""

    @fluxloop.tool
    def look_up(term: str) -> str:
        """Look up."""
        return f"about {term}"

    made = Tool("look_up", plain(look_up), "Look up.")

    assert made.invoke("cats", config) == "about cats"
    assert captured.outline() == "TOOL look_up -> 'about cats'"


def test_a_decorated_tool_is_one_tool_without_langchain_s_events(captured):
    """Inside an observation, and no handler is attached."""
    with fluxloop.instrument("run"):
        call(tool(plain(traced)), False, None, a=1)

    assert captured.outline() == "SPAN run\n  TOOL add -> 3"
    assert FluxLoopCallbackHandler().ledger.entries == {}
