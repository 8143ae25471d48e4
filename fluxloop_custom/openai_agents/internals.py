"""
What the Agents SDK tells nobody: what its running functions hold, and which processors it has.

A processor is called from inside the function that works under the span, so that what this function holds can be
read from the frames below the processor's. Where a release keeps it elsewhere, nothing is found and nothing is said.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from types import FrameType
from typing import Any

from agents import tracing

from fluxloop.bridge import note_missing

_FRAMES = 12
"""Frames to look through; what is looked for lies about six above the processor's."""

_THE_TOOL = "func_tool"
"""What the SDK calls a tool where it runs one; in 0.3 as in 0.24."""

_THE_RESULT = "result"
"""What it calls, in the same place, what came of it."""

_RUNS_ANY_TOOL = "with_tool_function_span"
"""What the SDK calls the function that runs tools which are not functions: shells, editors, computers."""


def tool_called() -> Any:
    """Return the tool whose span the SDK begins right now; None where it is not found."""
    frame = _found(sys._getframe(1), _runs_a_tool)
    return frame.f_locals.get(_THE_TOOL) if frame is not None else None


def is_waiting() -> bool:
    """Whether the tool whose span the SDK ends right now, and which has no output, waits for an approval."""
    frame = _found(sys._getframe(1), _runs_a_tool)
    if frame is None:  # a shell, an editor: these always have an output once they were run
        around = _around()
        return around is not None and around.f_code.co_name == _RUNS_ANY_TOOL
    result = frame.f_locals.get(_THE_RESULT, frame)
    # Releases before 0.9 leave the frame at once, later ones put what they ask for in the result's place.
    return result is frame or type(getattr(result, "run_item", None)).__name__ == "ToolApprovalItem"


@dataclass(frozen=True, slots=True)
class ModelCall:
    """A model's call, by the arguments that the SDK's interface for models gives it."""

    model: Any
    instructions: Any
    given: Any
    includes_data: bool
    """Whether what is asked and said, and why it failed, may be told."""


def model_called() -> ModelCall | None:
    """Return the call of a model whose span ends right now; None where it is not found."""
    frame = _around()
    if frame is None or frame.f_code.co_name not in ("get_response", "stream_response"):
        return None
    known = frame.f_locals
    includes_data = getattr(known.get("tracing"), "include_data", None)
    if includes_data is None:
        return None
    return ModelCall(known.get("self"), known.get("system_instructions"), known.get("input"), bool(includes_data()))


def ends_by_itself() -> bool:
    """Whether the trace that ends right now is one the SDK opened for a run, and not one of the program's."""
    frame = _around()
    return frame is not None and _module(frame).startswith("agents.")


def _around() -> FrameType | None:
    """Return the function that ends the span, or the trace, that ends right now: whose ``with`` block it mostly is."""
    frame = _found(sys._getframe(2), _is_of_tracing)
    while frame is not None and (_is_of_tracing(frame) or _module(frame) == "contextlib"):
        frame = frame.f_back
    return frame


def _found(frame: FrameType | None, is_it: Callable[[FrameType], bool]) -> FrameType | None:
    """Return the first of *frame* and those it was called from that *is_it*; None where none of them is."""
    for _ in range(_FRAMES):
        if frame is None or is_it(frame):
            return frame
        frame = frame.f_back
    return None


def _runs_a_tool(frame: FrameType) -> bool:
    return _THE_TOOL in frame.f_code.co_varnames or _THE_TOOL in frame.f_code.co_cellvars


def _is_of_tracing(frame: FrameType) -> bool:
    return _module(frame).startswith("agents.tracing.")


def _module(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__"))


def processors() -> tuple[Any, ...] | None:
    """Return the SDK's processors; None where a release keeps them elsewhere, so that only FluxLoop's can be set."""
    multi = getattr(tracing.get_trace_provider(), "_multi_processor", None)
    found = getattr(multi, "_processors", None)
    if found is None:
        note_missing(_ADAPTER, "TraceProvider._multi_processor", "install() replaces the processors of others as well")
    return tuple(found) if found is not None else None


def exports(processor: object) -> bool:
    """
    Whether *processor* may send what it collects to OpenAI.

    One of the SDK's own classes does, unless it is known to hold an exporter from elsewhere, or the one that prints:
    where a release keeps its exporter is private, and a wrong guess would send data out.
    """
    exporters = [held for held in _attributes(processor) if callable(getattr(type(held), "export", None))]
    if any(_is_of_sdk(exporter) and type(exporter).__name__ != "ConsoleSpanExporter" for exporter in exporters):
        return True
    return _is_of_sdk(processor) and not exporters


def _attributes(value: object) -> list[object]:
    return list(getattr(value, "__dict__", {}).values())


def _is_of_sdk(value: object) -> bool:
    return type(value).__module__.partition(".")[0] == "agents"


_ADAPTER = "fluxloop_custom.openai_agents"


def is_off() -> bool:
    """Whether the SDK's tracing is switched off for the whole program: then it makes traces that tell nothing."""
    return type(tracing.get_trace_provider().create_trace("is it on?")).__name__ == "NoOpTrace"
