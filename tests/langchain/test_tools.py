"""LangChain's tools, recorded inside: the same type, schema and results, in either order of decorators."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
from langchain_core.tools import BaseTool, StructuredTool, tool

import fluxloop
from fluxloop.testing import capture
from fluxloop_custom import instrument_tool


async def test_a_langchain_tool_can_have_our_decorator_on_top():
    """Type, schema and description are the same; sync and async calls are recorded with the name of the tool."""

    @tool
    def plain(a: int, b: int = 2) -> int:
        """Add two numbers."""
        return a + b

    ours = fluxloop.tool(plain)

    with capture() as captured, fluxloop.instrument("run"):
        assert (ours.invoke({"a": 1}), await ours.ainvoke({"a": 2, "b": 3})) == (3, 5)

    assert type(ours) is StructuredTool
    assert ours.tool_call_schema.model_json_schema() == plain.tool_call_schema.model_json_schema()
    assert [o.name for o in captured.traces()[0].observations[1:]] == ["plain", "plain"]
    assert plain.func is not None
    assert not hasattr(plain.func, "__wrapped__")


def test_a_langchain_tool_over_ours_keeps_schema_and_signature():
    """The schema and the signature are those of the plain function."""

    def add(a: int, b: int = 2) -> int:
        """Add two numbers."""
        return a + b

    plain, ours = tool(add), tool(fluxloop.tool(name="tool.add")(add))

    assert ours.tool_call_schema.model_json_schema() == plain.tool_call_schema.model_json_schema()
    assert inspect.signature(ours.func) == inspect.signature(add)


def test_a_subclass_of_langchains_base_tool_is_recorded_inside():
    """The recorded function is a method; the class and the original tool do not change."""

    class Doubler(BaseTool):
        name: str = "doubler"
        description: str = "Doubles."

        def _run(self, word: str, run_manager: Any = None) -> str:
            if not word:
                raise ValueError("nothing to double")
            return word * 2

    plain = Doubler(handle_tool_error=True)
    ours = instrument_tool(plain)

    with capture() as captured, fluxloop.instrument("run"):
        assert ours.invoke({"word": "ab"}) == plain.invoke({"word": "ab"}) == "abab"
        with pytest.raises(ValueError, match="nothing"):
            ours.invoke({"word": ""})

    assert type(ours) is Doubler
    assert ours == plain
    assert captured.outline(inputs=True).splitlines()[1:] == [
        "  TOOL doubler({'word': 'ab'}) -> 'abab'",
        "  TOOL doubler({'word': ''}) [error: nothing to double]",
    ]


def test_a_tool_is_recorded_once_however_often_it_is_instrumented():
    """A decorator above and below LangChain's, and another instrumentation, record one TOOL per call."""

    @fluxloop.tool
    @tool
    @fluxloop.tool(name="tool.add")
    def add(a: int) -> int:
        """Add."""
        return a + 1

    with capture() as captured, fluxloop.instrument("run"):
        instrument_tool(add).invoke({"a": 1})

    assert captured.outline() == "SPAN run\n  TOOL tool.add -> 2"
