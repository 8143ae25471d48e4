"""Tools of any framework are recorded inside and keep their type, in either order of decorators."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest
from agents import Agent, Runner, WebSearchTool, function_tool
from langchain_core.tools import StructuredTool, tool

import fluxloop
from fluxloop.errors import DecorationError
from fluxloop.testing import capture
from fluxloop_custom import instrument_tool, observe_tool, register_framework, tools, traced_tool


@dataclass(frozen=True)
class HomeTool:
    """The tool object of a framework that the program defines."""

    run: Callable[..., Any]
    name: str


def home_tool(func: Any = None, *, title: str | None = None) -> Any:
    """The decorator of that framework, bare and called."""
    if func is None:
        return lambda func: home_tool(func, title=title)
    return HomeTool(func, title or func.__name__)


@pytest.fixture(autouse=True)
def known(monkeypatch: pytest.MonkeyPatch) -> None:
    """Restore the registered frameworks afterwards."""
    monkeypatch.setattr(tools, "_frameworks", list(tools._frameworks))


class Odd:
    """An object that FluxLoop has no instrumenter for."""


# observe_tool


def test_observe_tool_is_pattern_a_in_one_line():
    """Name, arguments and output are those of the manual pattern."""

    def my_tool(param: str) -> dict[str, str]:
        with observe_tool("tool.my_tool", {"param": param}) as obs:
            obs.output = {"result": param.upper()}
            return obs.output

    with capture() as captured, fluxloop.instrument("run"):
        my_tool("x")

    assert captured.outline(inputs=True).splitlines()[1] == (
        "  TOOL tool.my_tool({'args': {'param': 'x'}}) -> {'result': 'X'}"
    )


async def test_observe_tool_works_in_coroutine_functions():
    """Two concurrent tools are siblings, each with its own output."""

    async def one(number: int) -> int:
        async with observe_tool(f"tool.{number}", {"number": number}) as obs:
            await asyncio.sleep(0)
            obs.output = number * 10
            return obs.output

    with capture() as captured, fluxloop.instrument("run"):
        await asyncio.gather(one(1), one(2))

    assert captured.outline() == "SPAN run\n  TOOL tool.1 -> 10\n  TOOL tool.2 -> 20"


def test_observe_tool_records_the_exception_that_leaves_it():
    """Message and class are recorded, and the exception propagates."""
    with capture() as captured, fluxloop.instrument("run"), pytest.raises(KeyError), observe_tool("tool.x"):
        raise KeyError("gone")

    tool_record = captured.traces()[0].observations[1]
    assert (tool_record.error, tool_record.metadata["error_type"]) == ("'gone'", "KeyError")


def test_observe_tool_outside_a_trace_accepts_attributes_and_records_nothing():
    """There is no context, no record and no error, whatever attribute is set."""
    with capture() as captured:
        with observe_tool("tool.x", {"a": 1}, metadata={"b": 2}) as obs:
            obs.output = 1
            obs.metadata["c"] = 3

        assert list(captured.storage.read()) == []


def test_observe_tool_does_nothing_if_fluxloop_is_disabled():
    """Nothing is written."""
    with capture(enabled=False) as captured, fluxloop.instrument("run") as ctx:
        with observe_tool("tool.x") as obs:
            obs.output = 1

        assert not ctx.is_enabled()
    assert list(captured.storage.read()) == []


# traced_tool


def test_traced_tool_keeps_the_framework_outermost():
    """It returns the framework's object; its function is recorded under the framework's name."""

    @traced_tool(home_tool, title="Shouter")
    def shout(word: str) -> str:
        return word.upper()

    with capture() as captured, fluxloop.instrument("run"):
        assert shout.run("hi") == "HI"

    assert isinstance(shout, HomeTool)
    assert captured.outline(inputs=True).splitlines()[1] == "  TOOL Shouter({'word': 'hi'}) -> 'HI'"


def test_traced_tool_applies_a_bare_decorator_as_it_is():
    """Without options the framework's decorator receives the function."""

    @traced_tool(home_tool)
    def shout(word: str) -> str:
        return word.upper()

    with capture() as captured, fluxloop.instrument("run"):
        shout.run("hi")

    assert captured.outline().splitlines()[1] == "  TOOL shout -> 'HI'"


@pytest.mark.parametrize(("decorate", "kind"), [(tool, StructuredTool), (function_tool, type(function_tool(print)))])
def test_traced_tool_gives_the_framework_a_function_it_takes(decorate, kind):
    """LangChain and the Agents SDK make the same tool of it as of a plain function."""

    @traced_tool(decorate)
    def shout(word: str) -> str:
        """Return the text in capitals."""
        return word.upper()

    assert type(shout) is kind
    assert shout.description == "Return the text in capitals."


# instrument_tool, and decorators above the framework's


def test_a_function_that_a_framework_registers_is_named_after_the_option_name():
    """The framework returns the function without a name, so the option decides."""
    registry: dict[str, Callable[..., Any]] = {}

    def command(*, name: str) -> Callable[..., Any]:
        return lambda func: registry.setdefault(name, func)

    @traced_tool(command, name="look-up")
    def look_up(city: str) -> str:
        return city

    with capture() as captured, fluxloop.instrument("run"):
        registry["look-up"]("Rome")

    assert captured.outline() == "SPAN run\n  TOOL look-up -> 'Rome'"


def test_an_unknown_object_raises_an_error_with_the_next_step():
    """The message has the type, and the order of the decorators."""
    with pytest.raises(DecorationError) as caught:
        fluxloop.tool(name="x")(Odd())

    message = str(caught.value)
    assert isinstance(caught.value, TypeError)
    assert "Odd" in message
    assert "framework's decorator outermost" in message
    assert "Unknown tool type" in message


def test_instrument_tool_records_a_plain_function_too():
    """The result is that of `fluxloop.tool`."""
    with capture() as captured, fluxloop.instrument("run"):
        instrument_tool(len, name="tool.len")([1, 2])

    assert captured.outline().splitlines()[1] == "  TOOL tool.len -> 2"


def test_tools_of_a_registered_framework_are_recorded_in_either_order():
    """Two functions describe a framework: one recognises its tools, one replaces the function in a tool."""
    register_framework(
        lambda target: type(target) is HomeTool,
        lambda home, recording: replace(home, run=recording(home.run, called=home.name)),
    )

    @fluxloop.tool
    @home_tool(title="Shouter")
    def shout(word: str) -> str:
        return word.upper()

    with capture() as captured, fluxloop.instrument("run"):
        shout.run("hi")

    assert isinstance(shout, HomeTool)
    assert captured.outline().splitlines()[1] == "  TOOL Shouter -> 'HI'"


def test_a_registered_class_is_recognised_by_its_name():
    """The framework is not imported; subclasses count."""

    class Special(HomeTool):
        pass

    name = f"{HomeTool.__module__}.{HomeTool.__qualname__}"
    register_framework(name, lambda home, recording: replace(home, run=recording(home.run, called="by name")))

    with capture() as captured, fluxloop.instrument("run"):
        instrument_tool(Special(len, "special")).run("four")

    assert captured.outline().splitlines()[1] == "  TOOL by name -> 4"


def test_registering_something_that_is_not_a_function_raises():
    """The error is raised by `register_framework`, and not at the next unknown tool."""
    with pytest.raises(DecorationError, match="two functions"):
        register_framework(HomeTool, None)  # type: ignore[arg-type]

    register_framework(lambda target: isinstance(target, HomeTool), lambda target, recording: None)
    with pytest.raises(DecorationError, match="registered for HomeTool must return a tool"):
        instrument_tool(home_tool(len))


def test_hosted_tools_and_agents_as_tools_are_returned_unchanged():
    """A tool that the provider runs has no function; the run of an agent is recorded already."""
    hosted = WebSearchTool()
    agent = Agent(name="Sub").as_tool("ask_sub", "Asks.")

    assert instrument_tool(hosted) is hosted
    assert fluxloop.tool(agent) is agent


def test_the_package_loads_no_framework():
    """A tool is recognised by the name of its class."""
    code = (
        "import sys, fluxloop_custom; print([m for m in ('agents', 'chatkit', 'langchain_core') if m in sys.modules])"
    )

    assert _output_of(code) == "[]"


def test_the_core_imports_fluxloop_custom_when_it_is_needed():
    """`fluxloop.tool` on top of `function_tool` works without an import of fluxloop_custom."""
    code = (
        "import fluxloop, agents\n"
        "@fluxloop.tool\n@agents.function_tool\n"
        "def add(a: int) -> int: return a\n"
        "print(type(add).__name__)"
    )

    assert _output_of(code) == "FunctionTool"


def _output_of(code: str) -> str:
    import subprocess
    import sys

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


async def test_an_agents_tool_runs_the_same_whether_or_not_a_trace_is_open():
    """The result is the same inside and outside a trace."""

    @fluxloop.tool
    @function_tool
    def shout(word: str) -> str:
        return word.upper()

    from fluxloop_custom.testing import Calls, Says, ScriptedModel

    model = ScriptedModel(Calls("shout", {"word": "hi"}), Says("done"))
    with capture() as captured:
        result = await Runner.run(Agent(name="A", model=model, tools=[shout]), "hi")

    assert [item.output for item in result.new_items if item.type == "tool_call_output_item"] == ["HI"]
    assert list(captured.storage.read()) == []
