"""
The OpenAI Agents SDK's function tools, recorded inside.

`function_tool` keeps the user's function in a closure, behind the code that reads the arguments, runs plain
functions in threads, and makes texts of exceptions. A copy of the tool gets a copy of that closure, in which the
function is ours; everything around it stays the SDK's.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Set
from types import CellType, FunctionType
from typing import Any

from agents import FunctionTool

from fluxloop import ObservationType
from fluxloop.bridge import Recording, is_recorded_as

from ..warned import warn_once

_THE_FUNCTION = "the_func"
"""What `function_tool` calls the user's function; unchanged from its first release to 0.24."""


def instrumenter(target: Any, recording: Recording, /) -> Any:
    """Return a recorded copy of one of the SDK's tools; None for other objects. See `fluxloop.bridge.Instrumenter`."""
    if isinstance(target, FunctionTool):
        return instrument(target, recording)
    return target if is_hosted(target) else None


def is_hosted(target: object) -> bool:
    """Whether *target* is a tool that runs at the provider's, or by an executor of the SDK's, and not by a function."""
    return any(kind.__module__ == "agents.tool" and kind.__name__.endswith("Tool") for kind in type(target).__mro__)


def instrument(tool: Any, recording: Recording) -> Any:
    """Return a copy of the `FunctionTool` *tool*, recorded inside; see `fluxloop_custom.register_framework`."""
    if not callable(getattr(tool, "on_invoke_tool", None)):
        warn_once(
            "its tools",
            "openai-agents %s has tools of a kind that is not known; they are not recorded inside",
            _release(),
        )
        return tool
    if _is_agent(tool):
        return tool
    ours = copy.copy(tool)
    invoker = ours.on_invoke_tool
    inner = getattr(invoker, "_invoke_tool_impl", None)  # since 0.9 an object handles the errors
    invoked = invoker if inner is None else inner
    function = _find(invoked)
    if is_recorded_as(ObservationType.TOOL, function or invoked):
        return tool
    if function is not None:
        instrumented: Any = _replaced(invoked, recording(function, called=tool.name))
    else:
        _say_where_it_is_not_found(invoked)
        instrumented = recording(invoked, called=tool.name, bind=_arguments)
    if inner is not None:
        invoker = copy.copy(invoker)
        invoker._invoke_tool_impl, invoker._function_tool = instrumented, ours
        instrumented = invoker
    ours.on_invoke_tool = instrumented
    return ours


def has_timed_out(tool: Any, said: object) -> bool:
    """Whether *said*, in the place of what *tool* returns, is the SDK's own notice that it took too long."""
    limit_s = getattr(tool, "timeout_seconds", None)
    return limit_s is not None and said == f"Tool '{tool.name}' timed out after {limit_s:g} seconds."


def names_of(tool: Any) -> Set[str]:
    """Return the names that a tool and its function go by; empty for None."""
    return frozenset() if tool is None else {tool.name, *(getattr(one, "__name__", "") for one in functions_of(tool))}


def functions_of(tool: Any) -> tuple[Any, ...]:
    """Return the function that *tool* calls, in a tuple; empty if it is unknown."""
    function = tool and _find(getattr(tool.on_invoke_tool, "_invoke_tool_impl", tool.on_invoke_tool))
    return () if function is None else (function,)


def _is_agent(tool: Any) -> bool:
    """Whether *tool* runs an agent; early releases make these by `function_tool`, of a function of their own."""
    if getattr(tool, "_is_agent_tool", False):
        return True
    function = _find(tool.on_invoke_tool)
    return getattr(function, "__qualname__", "").startswith("Agent.as_tool.")


def _cells(invoked: object) -> dict[str, CellType]:
    """Return the variables a function of the SDK's closes over; nothing of others' functions is looked at."""
    if not isinstance(invoked, FunctionType) or not str(invoked.__module__).startswith("agents."):
        return {}
    return dict(zip(invoked.__code__.co_freevars, invoked.__closure__ or (), strict=True))


def _find(invoked: object) -> Any:
    """Return the user's function that *invoked* ends up calling, None where there is none to be found."""
    cells = _cells(invoked)
    below = cells if _THE_FUNCTION in cells else _one_below(cells)
    return below[_THE_FUNCTION].cell_contents if below else None


def _one_below(cells: dict[str, CellType]) -> dict[str, CellType]:
    """Return the variables of the one function among *cells* that closes over the user's, as in early releases."""
    below = (_cells(cell.cell_contents) for cell in cells.values())
    return next((each for each in below if _THE_FUNCTION in each), {})


def _replaced(invoked: Any, function: Any) -> Any:
    """Return a copy of *invoked*, in which `_find` found a function, that calls *function* instead."""
    cells = _cells(invoked)
    for name, cell in cells.items():
        if name == _THE_FUNCTION:
            return _with_cell(invoked, name, function)
        if _THE_FUNCTION not in cells and _THE_FUNCTION in _cells(cell.cell_contents):
            return _with_cell(invoked, name, _with_cell(cell.cell_contents, _THE_FUNCTION, function))
    return invoked


def _with_cell(func: FunctionType, name: str, value: Any) -> FunctionType:
    """Return a copy of *func* in which the variable *name* that it closes over is *value*."""
    closure = tuple(CellType(value) if known == name else cell for known, cell in _cells(func).items())
    made = FunctionType(func.__code__, func.__globals__, func.__name__, func.__defaults__, closure)
    made.__kwdefaults__, made.__annotations__ = func.__kwdefaults__, func.__annotations__
    made.__qualname__, made.__doc__, made.__module__ = func.__qualname__, func.__doc__, func.__module__
    made.__dict__.update(func.__dict__)
    return made


def _arguments(_context: Any, arguments: str, *_: Any) -> Any:
    """Return what the model called the tool with; the text itself where it is no JSON."""
    try:
        return json.loads(arguments or "{}")
    except ValueError:
        return arguments


def _say_where_it_is_not_found(invoked: object) -> None:
    """Warn once, where a tool was made by `function_tool` and yet its function is not where it used to be."""
    made_by = str(getattr(invoked, "__qualname__", ""))
    if made_by.startswith("function_tool."):
        warn_once(
            made_by,
            "openai-agents %s keeps a tool's function where it is not looked for; tools are recorded from outside, "
            "and errors that the SDK turns into texts look like results",
            _release(),
        )


def _release() -> str:
    from importlib.metadata import version  # takes longer to import than all of this package

    return version("openai-agents")
