"""
LangChain's tools, recorded inside.

In a copy of the tool, the function, the coroutine function, or ``_run`` and ``_arun`` of a subclass of `BaseTool` are
recorded. The schema does not change.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from langchain_core.tools import BaseTool, StructuredTool, Tool

from fluxloop import ObservationType
from fluxloop.bridge import Recording, is_recorded_as, was_raised_from_outside

_FRAMEWORK_ARGUMENTS = frozenset({"callbacks", "config", "run_manager"})
"""Parameters that LangChain fills with its own state."""


def instrumenter(target: Any, recording: Recording, /) -> Any:
    """Return a recorded copy of a LangChain tool; None for any other object. See `fluxloop.bridge.Instrumenter`."""
    return instrument(target, recording) if isinstance(target, BaseTool) else None


def instrument(tool: Any, recording: Recording) -> Any:
    """Return a copy of the `BaseTool` *tool*, recorded inside; see `fluxloop_custom.register_framework`."""
    parts = [part for part in ("func", "coroutine") if getattr(tool, part, None) is not None]
    parts = parts or [part for part in ("_run", "_arun") if _is_own(tool, part)]
    if any(is_recorded_as(ObservationType.TOOL, getattr(tool, part)) for part in parts):
        return tool
    omitted = _FRAMEWORK_ARGUMENTS | _injected(tool)
    copy = tool.model_copy()
    for part in parts:
        function = getattr(copy, part)
        # Not by pydantic's __setattr__, which accepts fields only: _run and _arun are methods.
        copy.__dict__[part] = recording(function, called=tool.name, bind=_bind(omitted))
    return copy


def _is_own(tool: Any, part: str) -> bool:
    """Whether *tool* or its class defines *part*; the methods of LangChain's own classes call the function."""
    defining = next(cls for cls in type(tool).__mro__ if part in vars(cls))
    return part in tool.__dict__ or defining not in (BaseTool, StructuredTool, Tool)


def _injected(tool: Any) -> frozenset[str]:
    """Return the names of the arguments that the model does not see: state, stores, call ids."""
    try:
        return frozenset(_properties(tool.get_input_schema()) - _properties(tool.tool_call_schema))
    except Exception as exc:  # a schema that JSON cannot represent: all arguments are recorded
        if was_raised_from_outside(exc):
            raise
        return frozenset()


def _properties(schema: Any) -> set[str]:
    return set(schema.get("properties", ())) if isinstance(schema, dict) else set(schema.model_fields)


def _bind(omitted: frozenset[str]) -> Callable[..., Any]:
    """Return the function that captures a call: its arguments by name, or the text of a tool with a single input."""

    def bind(*args: Any, **kwargs: Any) -> Any:
        named = {name: value for name, value in kwargs.items() if name not in omitted}
        if not args:
            return named
        return args[0] if len(args) == 1 and not named else {"args": args, **named}

    return bind
