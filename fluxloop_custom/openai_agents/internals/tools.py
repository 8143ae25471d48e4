"""
The user's function in a tool of the SDK, which keeps it in closures.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from types import CellType, FunctionType
from typing import Any

import agents
from agents import FunctionTool

from .parts import in_sdk, missing

_FUNCTION = "the_func"
"""The variable of `function_tool` that holds the user's function."""


def function_in(tool: Any) -> Any:
    """
    Return the user's function that *tool* calls; None if it has none, or keeps it elsewhere.

    Its variable is found by its name, or by the function, which the newest releases publish as ``__wrapped__``.
    Without it, the tool is recorded from outside: the text that the SDK makes of an error looks like a result.
    """
    wrapped = getattr(tool, "__wrapped__", None)
    for cells in _closures(tool):
        if _FUNCTION in cells:
            return cells[_FUNCTION]
        if wrapped is not None and any(content is wrapped for content in cells.values()):
            return wrapped
    return None


def functions_in(tool: Any) -> tuple[Any, ...]:
    """Return the user's functions that *tool* may call, among them the one that `function_in` would find."""
    held = [content for cells in _closures(tool) for content in cells.values()]
    return tuple(each for each in (getattr(tool, "__wrapped__", None), *held) if callable(each) and not in_sdk(each))


def invoker_of(tool: Any) -> Any:
    """
    Return the function that *tool* is invoked with: since 0.9, an attribute of an object that handles errors.

    None if the release has tools of another kind; they are then not recorded inside.
    """
    invoker = _attribute_of(tool)
    if invoker is None:
        missing("FunctionTool.on_invoke_tool", "tools are not recorded inside")
    return getattr(invoker, "_invoke_tool_impl", invoker)


def _attribute_of(tool: Any) -> Any:
    """Return what is set as ``on_invoke_tool``; while a replay is open, reading the attribute returns its answers."""
    return getattr(tool, "__dict__", {}).get("on_invoke_tool") or getattr(tool, "on_invoke_tool", None)


def runs_agent(tool: Any) -> bool:
    """Whether *tool* runs an agent; if unknown, it is recorded as another tool is, with the run inside."""
    name = str(getattr(function_in(tool) or invoker_of(tool), "__qualname__", ""))
    return bool(getattr(tool, "_is_agent_tool", False)) or name.startswith("Agent.as_tool.")


def replaced(tool: Any, old: object, new: Any) -> Any:
    """Return a copy of *tool* that calls *new* in place of *old*, its function or its invoker."""
    ours = copy.copy(tool)
    invoker = _attribute_of(ours)
    ours.on_invoke_tool = _with(invoker, old, new)
    if _attribute_of(ours) is invoker and not isinstance(invoker, FunctionType):
        ours.on_invoke_tool = handler = copy.copy(invoker)  # the object that handles errors, with the tool it is for
        for name, value in vars(invoker).items():
            setattr(handler, name, ours if isinstance(value, FunctionTool) else _with(value, old, new))
    return ours


def _with(value: Any, old: object, new: Any, depth: int = 2) -> Any:
    """Return *new* for *old*, a copy of a function of the SDK's that closes over *old*, and else *value* itself."""
    if value is old:
        return new
    cells = _cells(value) if depth else {}
    changed = {name: _with(content, old, new, depth - 1) for name, content in cells.items()}
    if all(changed[name] is content for name, content in cells.items()):
        return value
    closure = tuple(CellType(content) for content in changed.values())
    made = FunctionType(value.__code__, value.__globals__, value.__name__, value.__defaults__, closure)
    made.__kwdefaults__, made.__annotations__ = value.__kwdefaults__, value.__annotations__
    made.__qualname__, made.__doc__, made.__module__ = value.__qualname__, value.__doc__, value.__module__
    made.__dict__.update(value.__dict__)
    return made


def _closures(tool: Any) -> list[Mapping[str, Any]]:
    """Return the variables that the functions of the SDK behind *tool* close over, outer ones first."""
    invoker = _attribute_of(tool)
    outer = [_cells(function) for function in (invoker, *getattr(invoker, "__dict__", {}).values())]
    return [*outer, *(_cells(content) for cells in outer for content in cells.values())]


def _cells(value: object) -> Mapping[str, Any]:
    """Return the variables that a function of the SDK's closes over; empty for other values, or if one is unset."""
    if not isinstance(value, FunctionType) or not in_sdk(value):
        return {}
    try:
        contents = [cell.cell_contents for cell in value.__closure__ or ()]
    except ValueError:
        return {}
    return dict(zip(value.__code__.co_freevars, contents, strict=True))


INVOKER: Any = getattr(agents.tool, "_FailureHandlingFunctionToolInvoker", None)
"""The class, since 0.9, of what `function_tool` invokes; without it, a replay replaces the attribute of the tool."""
