"""Tools of any framework: the framework outermost, ours inside, in either order of writing."""

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
    """What a home-made framework makes of a function."""

    run: Callable[..., Any]
    name: str


def home_tool(func: Any = None, *, title: str | None = None) -> Any:
    """The home-made framework's decorator, bare and called."""
    if func is None:
        return lambda func: home_tool(func, title=title)
    return HomeTool(func, title or func.__name__)


@pytest.fixture(autouse=True)
def known(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget afterwards which frameworks a test has registered."""
    monkeypatch.setattr(tools, "_frameworks", list(tools._frameworks))


class Odd:
    """Something FluxLoop has never heard of."""


# observe_tool


def test_observe_tool_is_pattern_a_in_one_line():
    """Name and arguments as the seed writes them, the output as set."""

    def my_tool(param: str) -> dict[str, str]:
        with observe_tool("tool.my_tool", {"param": param}) as obs:
            obs.output = {"result": param.upper()}
            return obs.output

    with capture() as captured, fluxloop.instrument("run"):
        my_tool("x")

    assert captured.outline(inputs=True).splitlines()[1] == (
        "  TOOL tool.my_tool({'args': {'param': 'x'}}) -> {'result': 'X'}"
    )


async def test_observe_tool_stands_in_coroutine_functions_too():
    """Two at once are siblings, each with its own output."""

    async def one(number: int) -> int:
        async with observe_tool(f"tool.{number}", {"number": number}) as obs:
            await asyncio.sleep(0)
            obs.output = number * 10
            return obs.output

    with capture() as captured, fluxloop.instrument("run"):
        await asyncio.gather(one(1), one(2))

    assert captured.outline() == "SPAN run\n  TOOL tool.1 -> 10\n  TOOL tool.2 -> 20"


def test_observe_tool_records_the_exception_that_leaves_it():
    """Message and class are kept, and the exception goes on."""
    with capture() as captured, fluxloop.instrument("run"), pytest.raises(KeyError), observe_tool("tool.x"):
        raise KeyError("gone")

    tool_record = captured.traces()[0].observations[1]
    assert (tool_record.error, tool_record.metadata["error_type"]) == ("'gone'", "KeyError")


def test_observe_tool_outside_a_trace_takes_everything_and_keeps_nothing():
    """No context, no record, no error, whatever is set on the stand-in."""
    with capture() as captured:
        with observe_tool("tool.x", {"a": 1}, metadata={"b": 2}) as obs:
            obs.output = 1
            obs.metadata["c"] = 3

        assert list(captured.storage.read()) == []


def test_observe_tool_is_harmless_where_tracing_is_off():
    """Nothing is written when FluxLoop is disabled."""
    with capture(enabled=False) as captured, fluxloop.instrument("run") as ctx:
        with observe_tool("tool.x") as obs:
            obs.output = 1

        assert not ctx.is_enabled()
    assert list(captured.storage.read()) == []


# traced_tool


def test_traced_tool_keeps_the_framework_outermost():
    """What comes back is the framework's object; its function is recorded, by the framework's name."""

    @traced_tool(home_tool, title="Shouter")
    def shout(word: str) -> str:
        return word.upper()

    with capture() as captured, fluxloop.instrument("run"):
        assert shout.run("hi") == "HI"

    assert isinstance(shout, HomeTool)
    assert captured.outline(inputs=True).splitlines()[1] == "  TOOL Shouter({'word': 'hi'}) -> 'HI'"


def test_traced_tool_applies_a_bare_decorator_as_it_is():
    """Without options the framework's decorator gets the function itself."""

    @traced_tool(home_tool)
    def shout(word: str) -> str:
        return word.upper()

    with capture() as captured, fluxloop.instrument("run"):
        shout.run("hi")

    assert captured.outline().splitlines()[1] == "  TOOL shout -> 'HI'"


@pytest.mark.parametrize(("decorate", "kind"), [(tool, StructuredTool), (function_tool, type(function_tool(print)))])
def test_traced_tool_gives_the_framework_a_function_it_takes(decorate, kind):
    """LangChain and the Agents SDK make of it what they make of a plain function."""

    @traced_tool(decorate)
    def shout(word: str) -> str:
        """Say it loud."""
        return word.upper()

    assert type(shout) is kind
    assert shout.description == "Say it loud."


# instrument_tool, and decorators above the framework's


def test_a_tool_that_is_registered_and_handed_back_goes_by_the_name_among_the_options():
    """The framework keeps the name to itself, so the option that says it is asked."""
    registry: dict[str, Callable[..., Any]] = {}

    def command(*, name: str) -> Callable[..., Any]:
        return lambda func: registry.setdefault(name, func)

    @traced_tool(command, name="look-up")
    def look_up(city: str) -> str:
        return city

    with capture() as captured, fluxloop.instrument("run"):
        registry["look-up"]("Rome")

    assert captured.outline() == "SPAN run\n  TOOL look-up -> 'Rome'"


def test_an_unknown_object_is_refused_with_the_way_out():
    """The message names the type, and says which decorator goes outermost."""
    with pytest.raises(DecorationError) as caught:
        fluxloop.tool(name="x")(Odd())

    message = str(caught.value)
    assert isinstance(caught.value, TypeError)
    assert "Odd" in message
    assert "framework's decorator outermost" in message
    assert "Unknown tool type" in message


def test_instrument_tool_records_a_plain_function_too():
    """It does what `fluxloop.tool` does."""
    with capture() as captured, fluxloop.instrument("run"):
        instrument_tool(len, name="tool.len")([1, 2])

    assert captured.outline().splitlines()[1] == "  TOOL tool.len -> 2"


def test_a_registered_framework_is_reached_into_in_either_order():
    """Two functions teach FluxLoop a framework: how to know its tools, and how to put a function in."""
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


def test_a_registered_class_is_known_by_its_name():
    """No import of the framework is needed to say which objects are its tools; subclasses count."""

    class Special(HomeTool):
        pass

    name = f"{HomeTool.__module__}.{HomeTool.__qualname__}"
    register_framework(name, lambda home, recording: replace(home, run=recording(home.run, called="by name")))

    with capture() as captured, fluxloop.instrument("run"):
        instrument_tool(Special(len, "special")).run("four")

    assert captured.outline().splitlines()[1] == "  TOOL by name -> 4"


def test_what_cannot_be_registered_is_refused_at_once():
    """A slip is told where it was made, and not when some other framework's tool is met."""
    with pytest.raises(DecorationError, match="two functions"):
        register_framework(HomeTool, None)  # type: ignore[arg-type]

    register_framework(lambda target: isinstance(target, HomeTool), lambda target, recording: None)
    with pytest.raises(DecorationError, match="registered for HomeTool returned no tool"):
        instrument_tool(home_tool(len))


def test_hosted_tools_and_agents_as_tools_come_back_as_they_are():
    """What runs at the provider's has no function here; an agent's run is recorded as a run."""
    hosted = WebSearchTool()
    agent = Agent(name="Sub").as_tool("ask_sub", "Asks.")

    assert instrument_tool(hosted) is hosted
    assert fluxloop.tool(agent) is agent


def test_the_package_loads_no_framework():
    """Recognising a tool by its class's name needs no import of the framework."""
    code = (
        "import sys, fluxloop_custom; print([m for m in ('agents', 'chatkit', 'langchain_core') if m in sys.modules])"
    )

    assert _output_of(code) == "[]"


def test_the_core_finds_the_tools_by_itself():
    """`fluxloop.tool` above `function_tool` works where nobody has imported fluxloop_custom."""
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
    """Outside a trace the instrumented tool is the plain one."""

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
