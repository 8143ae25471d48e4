"""
Recorded copies of the Agents SDK's function tools.

`function_tool` keeps the user's function behind code that reads the arguments, runs plain functions in threads, and
turns exceptions into texts. In a copy of the tool, a recorded function replaces it; the code around it stays.
"""

from __future__ import annotations

import json
from typing import Any, get_args

from agents import FunctionTool, Tool

from fluxloop import ObservationType
from fluxloop.bridge import Recording, ToolMatcher, is_recorded_as

from . import internals

_PACKAGES = frozenset({"agents"})
"""The packages that call a tool's function."""

_TOOLS = tuple(getattr(kind, "__origin__", kind) for kind in get_args(Tool))


def instrumenter(target: Any, recording: Recording, /) -> Any:
    """Return a recorded copy of one of the SDK's tools; None for other objects. See `fluxloop.bridge.Instrumenter`."""
    if isinstance(target, FunctionTool):
        return instrument(target, recording)
    return target if isinstance(target, _TOOLS) else None  # the provider or an executor runs it, and no function


def instrument(tool: Any, recording: Recording) -> Any:
    """Return a recorded copy of the `FunctionTool` *tool*, or *tool* if it is recorded already or runs an agent."""
    internals.probe()
    function, invoker = internals.function_in(tool), internals.invoker_of(tool)
    if invoker is None or internals.runs_agent(tool):
        return tool
    if is_recorded_as(ObservationType.TOOL, function or invoker):
        return tool
    if function is not None:
        return internals.replaced(tool, function, recording(function, called=tool.name))

    async def invoke(context: Any, arguments: str) -> Any:
        return await invoker(context, arguments)

    return internals.replaced(tool, invoker, recording(invoke, called=tool.name, bind=_arguments))


def matcher_of(name: str, tool: Any) -> ToolMatcher:
    """Return the facts by which a TOOL inside the span of *tool*, named *name*, is recognised as the same call."""

    def functions() -> tuple[Any, ...]:
        return internals.functions_in(tool) if isinstance(tool, FunctionTool) else ()

    def names() -> set[str]:
        return {name, getattr(tool, "name", name), *(getattr(each, "__name__", name) for each in functions())}

    return ToolMatcher(names, _PACKAGES, functions)


def read_arguments(text: str | None) -> Any:
    """Return the arguments of a call as data, or the text itself if it is not JSON."""
    try:
        return json.loads(text or "{}")
    except (TypeError, ValueError):
        return text


def _arguments(_context: Any, arguments: str, *_: Any) -> Any:
    return read_arguments(arguments)
