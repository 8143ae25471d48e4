"""
LangChain's tools, recorded inside.

A copy of the tool gets its function, its coroutine function, or - where a subclass of `BaseTool` defines what
runs - its ``_run`` and ``_arun`` recorded. The schema is read from elsewhere, and stays.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from langchain_core.tools import BaseTool

from fluxloop import ObservationType
from fluxloop.bridge import Recording, is_recorded_as

_FILLED_IN = frozenset({"callbacks", "config", "run_manager"})
"""Parameters that LangChain fills with its own running state."""


def instrumenter(target: Any, recording: Recording, /) -> Any:
    """Return a recorded copy of a LangChain tool; None for any other object. See `fluxloop.bridge.Instrumenter`."""
    return instrument(target, recording) if isinstance(target, BaseTool) else None


def instrument(tool: Any, recording: Recording) -> Any:
    """Return a copy of the `BaseTool` *tool*, recorded inside; see `fluxloop_custom.register_framework`."""
    parts = [part for part in ("func", "coroutine") if getattr(tool, part, None) is not None]
    if not parts:
        parts = [part for part in ("_run", "_arun") if _is_own(tool, part)]
    if any(is_recorded_as(ObservationType.TOOL, getattr(tool, part)) for part in parts):
        return tool
    left_out = _FILLED_IN | _injected(tool)
    ours = tool.model_copy()
    for part in parts:
        function = getattr(ours, part)
        # Past pydantic's __setattr__, which knows fields only: _run and _arun are methods.
        ours.__dict__[part] = recording(function, called=tool.name, bind=_bind(left_out))
    return ours


def _is_own(tool: Any, part: str) -> bool:
    """Whether the tool's class defines *part*, or the instance does; the base's hands over to the other one."""
    defined_by = next(kind for kind in type(tool).__mro__ if part in vars(kind))
    return part in tool.__dict__ or not defined_by.__module__.startswith("langchain_core.tools.")


def _injected(tool: Any) -> frozenset[str]:
    """Return the names of the arguments the model does not see: state, stores, call ids."""
    try:
        return frozenset(_properties(tool.get_input_schema()) - _properties(tool.tool_call_schema))
    except Exception:  # a schema that cannot be made as JSON: the arguments are then recorded as they come
        return frozenset()


def _properties(schema: Any) -> set[str]:
    return set(schema.get("properties", ())) if isinstance(schema, dict) else set(schema.model_fields)


def _bind(left_out: frozenset[str]) -> Callable[..., Any]:
    """Return what captures a call: the arguments by name, or the one text a single-input tool takes."""

    def bind(*args: Any, **kwargs: Any) -> Any:
        named = {name: value for name, value in kwargs.items() if name not in left_out}
        if not args:
            return named
        return args[0] if len(args) == 1 and not named else {"args": args, **named}

    return bind
