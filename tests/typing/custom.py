"""What a type checker must find in tools that are instrumented: the framework's own types (thread 50)."""

from __future__ import annotations

from typing import assert_type

from agents import FunctionTool, function_tool

import fluxloop
from fluxloop_custom import instrument_tool, observe_tool


def add(a: int, b: int) -> int:
    with observe_tool("tool.add", {"a": a, "b": b}) as obs:
        obs.output = a + b
        return a + b


tool = function_tool(add)

assert_type(tool, FunctionTool)
assert_type(instrument_tool(tool), FunctionTool)
assert_type(function_tool(fluxloop.tool(add)), FunctionTool)
