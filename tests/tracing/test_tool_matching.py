"""Which TOOL inside a framework's tool event is that very call, and which a helper."""

from __future__ import annotations

import asyncio
import sys
from concurrent.futures import ThreadPoolExecutor
from types import ModuleType
from typing import Any

import pytest

import fluxloop
from fluxloop.bridge import Ledger, ToolMatcher, default
from fluxloop.testing import capture
from fluxloop.tracing.propagation import copy_context, current_is

FRAMEWORK = """
async def call_async(function, *args):
    return await function(*args)

def call(function, *args):
    return function(*args)
"""


@pytest.fixture
def framework() -> Any:
    """A framework: a module of its own, which calls tools."""
    module = ModuleType("some_framework.tools")
    exec(FRAMEWORK, module.__dict__)
    return module


@fluxloop.tool
def lookup(x: int) -> int:
    return x + 1


@fluxloop.tool
async def lookup_async(x: int) -> int:
    return x + 1


def by_hand(x: int) -> int:
    with fluxloop.observe("tool.by_hand", "tool", input={"args": {"x": x}}) as obs:
        obs.output = lookup(x)
    return x


def uses_helpers(x: int) -> int:
    return lookup(x) + lookup(x)


async def gathers(x: int) -> int:
    return sum(await asyncio.gather(lookup_async(x), asyncio.to_thread(lookup, x)))


def outlined(tool_name: str, call: Any, *, packages: frozenset[str] = frozenset({"some_framework"})) -> str:
    """Call inside a framework's tool event of that name, and return the outline."""
    ledger = Ledger(default)
    with capture() as captured, fluxloop.instrument("run"):
        event = ledger.start("1", fluxloop.ObservationType.TOOL, tool_name)
        assert event is not None
        event.tool_matcher = ToolMatcher(lambda: {tool_name}, packages)
        with current_is(event):
            call()
        ledger.finish("1", output="from the framework")
    return captured.outline().removeprefix("SPAN run\n")


def test_the_function_a_framework_calls_is_the_tool(framework):
    """Its own output is the record's, and there is one TOOL."""
    assert outlined("any name", lambda: framework.call(lookup, 1)) == "  TOOL any name -> 2"
    assert outlined("any name", lambda: asyncio.run(framework.call_async(lookup_async, 1))) == "  TOOL any name -> 2"


def test_what_a_tool_pushes_by_hand_is_the_tool(framework):
    """The body that the framework calls says what the call is; what it calls nests inside."""
    assert outlined("x", lambda: framework.call(by_hand, 1)) == "  TOOL tool.by_hand -> 2\n    TOOL lookup -> 2"


def test_a_helper_is_not_the_tool(framework):
    """What the tool calls are its children, and the framework's output stays."""
    assert outlined("x", lambda: framework.call(uses_helpers, 1)) == (
        "  TOOL x -> 'from the framework'\n    TOOL lookup -> 2\n    TOOL lookup -> 2"
    )


def test_a_helper_in_a_task_or_a_thread_is_not_the_tool(framework):
    """Where the caller cannot be seen, the name decides."""
    lines = outlined("x", lambda: asyncio.run(framework.call_async(gathers, 1))).splitlines()

    assert lines[0] == "  TOOL x -> 'from the framework'"
    assert sorted(lines[1:]) == ["    TOOL lookup -> 2", "    TOOL lookup_async -> 2"]


def test_the_tool_in_a_thread_is_known_by_its_name():
    """If a framework runs a plain function in a thread, only the thread's frame is above it."""

    def in_thread() -> None:
        with ThreadPoolExecutor() as pool:
            pool.submit(copy_context(lookup), 1).result()

    assert outlined("lookup", in_thread) == "  TOOL lookup -> 2"


def test_without_packages_the_first_tool_inside_is_it():
    """An adapter that knows nothing of its callers merges with whatever comes first."""
    assert outlined("x", lambda: uses_helpers(1), packages=frozenset()) == "  TOOL x -> 2\n    TOOL lookup -> 2"


def test_only_tools_claim(framework):
    """A SPAN the framework calls directly is a child like any other."""
    spanned = fluxloop.trace(lambda x: x)

    assert outlined("x", lambda: framework.call(spanned, 1)).splitlines()[0] == "  TOOL x -> 'from the framework'"
    assert "some_framework" not in sys.modules
